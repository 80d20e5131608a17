"""One question to one DNS server, in packets: UDP with EDNS, TCP where the reply is cut, so many at once and until a deadline.

Servers may be anybody's. A reply counts only when it comes from where the question went and repeats its id and its question;
all else is passed over, little of it is read, and no reply may be large.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.rcode
from dns.name import Name
from dns.rdatatype import RdataType

from domains.dns.evidence import Failure
from domains.dns.resolver import UDP_PAYLOAD, Endpoint

UDP_TRIES_S = (0.9, 1.6)  # how long each packet is waited for
TCP_TIMEOUT_S = 2.5
STAGGER_S = 0.6  # after which the next server is asked too, while the one before keeps silent
AT_ONCE = 200  # sockets
AT_ONCE_PER_SERVER = 8
STRANGE_PACKETS = 20  # that a question bears; then it is given up
HEADER_OCTETS = 12
# The TXT records of a well-filled domain are some 5 kB.
LONGEST_REPLY = 16 * 1024
# dnspython takes 3 ms for a record that holds a name of 120 labels, and 0.2 ms for one that only is at such a name.
MOST_RECORDS = 128
MOST_WITH_NAMES = 24
WITHOUT_NAMES = {RdataType.A, RdataType.AAAA, RdataType.TXT, RdataType.OPT}

Reply = dns.message.Message
T = TypeVar("T")


class NoAnswer(Exception):
    """`dnssec`: where the failure is BOGUS, in whatever words there are for it."""

    def __init__(self, failure: Failure, dnssec: str = "") -> None:
        super().__init__(failure.value)
        self.failure, self.dnssec = failure, dnssec


@dataclass(slots=True)
class _Line:
    """To a resolver, or to the authority of a zone."""

    patience: int
    has_spoken: bool = False
    in_vain: int = 0  # questions, while none was answered

    @property
    def is_dead(self) -> bool:
        return self.in_vain >= self.patience


class Exchange:
    """The questions of one call, on one event loop. After `within_s` every question is unanswered at once."""

    def __init__(self, within_s: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + within_s
        self._places = asyncio.Semaphore(AT_ONCE)
        self._places_at: defaultdict[tuple[Endpoint, bool], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE_PER_SERVER)
        )
        self._lines: dict[tuple[Endpoint, Name | None], _Line] = {}

    async def ask(
        self, at: Endpoint, name: Name, type_: RdataType, *, zone: Name | None = None, unchecked: bool = False
    ) -> Reply:
        """Whatever the reply's code is. Of an authority of `zone` (RD=0), or else of a resolver, which with `unchecked` shall
        not validate (CD=1). Raises NoAnswer: TIMEOUT (also: nobody there, no way there), MALFORMED."""
        flags = (0 if zone else dns.flags.RD) | (dns.flags.CD if unchecked else 0)
        line = self._line(at, zone)
        try:
            async with asyncio.timeout_at(self._deadline), self._places_at[at, zone is None], self._places:
                reply = Failure.TIMEOUT if line.is_dead else await _converse(at, name, type_, flags)
        except OSError:  # a TimeoutError is one
            reply = Failure.TIMEOUT
        if isinstance(reply, Failure):
            line.in_vain += reply == Failure.TIMEOUT and not line.has_spoken
            raise NoAnswer(reply)
        line.has_spoken, line.in_vain = True, 0
        return reply

    def liveliest_first(self, servers: Iterable[Endpoint], *, zone: Name | None = None) -> list[Endpoint]:
        """Those that have answered in this call before those that have not."""
        return sorted(servers, key=lambda server: not self._line(server, zone).has_spoken)

    def _line(self, at: Endpoint, zone: Name | None) -> _Line:
        # A resolver that is there may keep silent for as long as the servers of a zone do.
        return self._lines.setdefault((at, zone), _Line(patience=1 if zone else AT_ONCE_PER_SERVER))


async def first_answer(asks: Sequence[Callable[[], Awaitable[T]]]) -> T:
    """What the first to succeed returns. Each is begun when the one before failed or has kept silent for STAGGER_S.

    Raises NoAnswer, that of the first, when all fail; TIMEOUT when there are none.
    """
    running: set[asyncio.Task[T]] = set()
    failures: list[NoAnswer] = []
    waiting = iter(asks)
    try:
        while True:
            if (ask := next(waiting, None)) is not None:
                running.add(asyncio.ensure_future(ask()))
            elif not running:
                raise failures[0] if failures else NoAnswer(Failure.TIMEOUT)
            done, running = await asyncio.wait(
                running, timeout=STAGGER_S if ask else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    return task.result()
                except NoAnswer as failure:
                    failures.append(failure)
    finally:
        for task in running:
            task.cancel()


# ---- Packets ---------------------------------------------------------------------------------------------------------

# RFC 6891, 6.2.2 and 7: servers from before EDNS. RFC 8906, 3.2.1: BADVERS is no answer to version 0.
NO_EDNS = {dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS}


async def _converse(at: Endpoint, name: Name, type_: RdataType, flags: int) -> Reply | Failure:
    """Raises OSError."""
    query = dns.message.make_query(name, type_, use_edns=0, payload=UDP_PAYLOAD, flags=flags)
    reply = await _over_udp_or_tcp(at, query)
    if isinstance(reply, Reply) and reply.rcode() in NO_EDNS:
        return await _over_udp_or_tcp(at, dns.message.make_query(name, type_, use_edns=False, flags=flags))
    return reply


async def _over_udp_or_tcp(at: Endpoint, query: Reply) -> Reply | Failure:
    reply: Reply | Failure = Failure.TIMEOUT
    for timeout_s in UDP_TRIES_S:
        reply = await _over_udp(at, query, timeout_s)
        if reply != Failure.TIMEOUT:
            break
    if isinstance(reply, Reply) and reply.flags & dns.flags.TC:
        return await _over_tcp(at, query)  # RFC 7766, 5
    return reply


async def _over_udp(at: Endpoint, query: Reply, timeout_s: float) -> Reply | Failure:
    """From a socket, and so a port, of its own (RFC 5452, 9.2), connected: only packets from there come in."""
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_datagram_endpoint(
        lambda: _Waiting(query, loop.create_future()), remote_addr=(at.address, at.port)
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await waiting.reply
    except TimeoutError:
        return Failure.MALFORMED if waiting.has_nonsense else Failure.TIMEOUT
    finally:
        transport.abort()


class _Waiting(asyncio.DatagramProtocol):
    """Sends a query; `reply` is done with what answers it."""

    def __init__(self, query: Reply, reply: asyncio.Future[Reply | Failure]) -> None:
        self.query, self.reply = query, reply
        self.has_nonsense = False
        self._strange = 0

    def connection_made(self, transport: Any) -> None:
        transport.sendto(self.query.to_wire())

    def datagram_received(self, data: bytes, _: object) -> None:
        if self.reply.done():
            return
        if (reply := read_reply(data, self.query)) is not None:
            self.reply.set_result(reply)
            return
        self._strange += 1
        self.has_nonsense |= data[:2] == self.query.id.to_bytes(2)
        if self._strange == STRANGE_PACKETS:
            self.reply.set_result(Failure.MALFORMED)

    def error_received(self, _: Exception) -> None:
        self.connection_lost(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.reply.done():
            self.reply.set_result(Failure.TIMEOUT)


async def _over_tcp(at: Endpoint, query: Reply) -> Reply | Failure:
    """RFC 7766, 8. Raises OSError."""
    async with asyncio.timeout(TCP_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(at.address, at.port, limit=LONGEST_REPLY)
        try:
            wire = query.to_wire()
            writer.write(len(wire).to_bytes(2) + wire)
            length = int.from_bytes(await reader.readexactly(2))
            reply = read_reply(await reader.readexactly(length), query) if length <= LONGEST_REPLY else None
        except asyncio.IncompleteReadError:
            return Failure.MALFORMED
        finally:
            writer.transport.abort()
    return Failure.MALFORMED if reply is None or reply.flags & dns.flags.TC else reply


def read_reply(packet: bytes, query: Reply) -> Reply | None:
    """The reply in a packet; None when it is none to this query, or cannot be read. Of a cut one there is only the question."""
    if not HEADER_OCTETS <= len(packet) <= LONGEST_REPLY or packet[:2] != query.id.to_bytes(2):
        return None
    is_cut = bool(int.from_bytes(packet[2:4]) & dns.flags.TC)
    try:
        if not is_cut and not _is_bearable(packet):
            return None
        reply = dns.message.from_wire(packet, question_only=is_cut, ignore_trailing=True)
        return reply if query.is_response(reply) else None
    except Exception:  # strangers choose these octets: whatever a parser makes of them, it is no reply
        return None


def _is_bearable(packet: bytes) -> bool:
    """Whether reading it cannot take long. Raises IndexError and struct.error, where it cannot be read at all."""
    questions, *records = struct.unpack_from("!4H", packet, 4)
    if questions > 1 or sum(records) > MOST_RECORDS:
        return False
    at, with_names = HEADER_OCTETS, 0
    for _ in range(questions):
        at = _after_name(packet, at) + 4
    for _ in range(sum(records)):
        at = _after_name(packet, at)
        type_, _, _, length = struct.unpack_from("!HHIH", packet, at)
        with_names += type_ not in WITHOUT_NAMES
        at += 10 + length
    return with_names <= MOST_WITH_NAMES


def _after_name(packet: bytes, at: int) -> int:
    """RFC 1035, 4.1.4: labels, up to an empty one or a pointer."""
    while length := packet[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1
