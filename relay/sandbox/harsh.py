"""The harsh exchangers: one server with an address of loopback for each way to misbehave (`relay.sandbox.misbehaviours`).

They keep no mail. What they make of a message is seen in its timeline, and counted here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from relay.sandbox.misbehaviours import MISBEHAVIOURS, Kind, Manner, Misbehaviour, Phase, refusal
from relay.sandbox.script import script_for

logger = logging.getLogger(__name__)

LONGEST_S = 900.0  # a session; clients give up sooner (RFC 5321, 4.5.3.2.6: ten minutes)
PACE_S = 1.0  # between the octets of a dripped answer
LATE_S = 0.3
LINGER_S = 1.0
IDLE_S = 0.05  # from a message's end to the trouble that comes between messages
PACKET_S = 0.002  # long enough for a packet of its own
PORT_TRIES = 20

SIZE_LIMIT = 50 * 1024 * 1024
COMMAND_OCTETS = 64 * 1024
END_OF_DATA = b"\r\n.\r\n"
# Python takes the superscripts for digits; a server that speaks something else may send anything.
GARBAGE = "²²² ½\0".encode() + b"\xff\xfe\r\n"
HALF_A_SERVER_HELLO = bytes.fromhex("160303007a020000760303")  # RFC 8446, 5.1 and 4.1.3: 122 octets announced
CLEAR_TEXT = b"250 2.0.0 What handshake?\r\n"


class HarshExchanger:
    """Running. `misbehaved` counts how often each did what its name says, `dots` the ends of data that each has heard."""

    def __init__(self, tls: ssl.SSLContext, pace_s: float) -> None:
        self.port = 0
        self.misbehaved: Counter[str] = Counter()
        self.dots: Counter[str] = Counter()
        self.tls, self.pace_s = tls, pace_s
        self._servers: list[asyncio.Server] = []
        self._sessions: set[asyncio.Task[None]] = set()

    async def listen(self, listening: socket.socket, misbehaviour: Misbehaviour) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
            with contextlib.suppress(asyncio.CancelledError):  # by close(); Python 3.11's streams would log it
                await Session(self, misbehaviour, reader, writer).run()

        self._servers.append(await asyncio.start_server(serve, sock=listening))
        self.port = listening.getsockname()[1]

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)


async def serve_harsh(
    port: int,
    *,
    certificate: tuple[Path, Path],
    misbehaviours: Iterable[Misbehaviour] = tuple(MISBEHAVIOURS.values()),
    pace_s: float = PACE_S,
) -> HarshExchanger:
    """Serves each at its address until closed; returns once the port (0: one that is free at all of them) is bound.

    Raises OSError where loopback has no such addresses (only Linux routes all of 127.0.0.0/8), or the port is in use.
    """
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    exchanger = HarshExchanger(tls, pace_s)
    served = list(misbehaviours)
    for misbehaviour, listening in zip(served, _bind([one.address for one in served], port), strict=True):
        await exchanger.listen(listening, misbehaviour)
    return exchanger


def _bind(addresses: list[str], port: int) -> list[socket.socket]:
    """A socket at each address, all with the same port."""
    for attempt in range(PORT_TRIES):
        bound: list[socket.socket] = []
        try:
            for address in addresses:
                bound.append(socket.create_server((address, bound[0].getsockname()[1] if bound else port)))
            return bound
        except OSError as error:
            for one in bound:
                one.close()
            if port or error.errno != errno.EADDRINUSE or attempt == PORT_TRIES - 1:
                raise
    raise AssertionError("unreachable")


class _Ended(Exception):
    """The session is over."""


class Session:
    """One connection to one of them."""

    def __init__(
        self,
        exchanger: HarshExchanger,
        misbehaviour: Misbehaviour,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._exchanger, self._misbehaviour = exchanger, misbehaviour
        self._reader, self._writer = reader, writer
        self._heard = bytearray()  # and not yet obeyed
        self._owed = bytearray()  # answers held back
        self._secure = False
        self._recipients = 0

    async def run(self) -> None:
        """Until either side ends it."""
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._answer(Phase.GREETING, f"220 {self._misbehaviour.host} ESMTP: {self._misbehaviour.name}")
                while True:
                    await self._obey(await self._command())
        except (_Ended, OSError, ssl.SSLError, TimeoutError):
            pass
        finally:
            if self._secure:  # TCP's end without TLS's: half-closed
                self._writer.transport.abort()
            else:
                self._writer.close()

    # ---- Commands ----------------------------------------------------------------------------------------------------

    async def _obey(self, command: bytes) -> None:
        verb, argument = command[:4].upper(), command[4:].decode("utf-8", "replace")
        if self._manner is Manner.SYNCHRONOUS and self._heard:
            self._count()
            await self._say("554 5.5.1 Wait for each answer: PIPELINING is not offered here")
            raise _Ended
        match verb:
            case b"EHLO":
                await self._answer(Phase.EHLO, *self._offers())
            case b"HELO":
                await self._say(f"250 {self._misbehaviour.host}")
            case b"STAR" if self._misbehaviour.tls and not self._secure:
                await self._start_tls()
            case b"MAIL":
                await self._mail(argument)
            case b"RCPT":
                await self._rcpt(argument)
            case b"DATA":
                await self._data()
            case b"RSET":
                self._recipients = 0
                await self._answer(Phase.RSET, "250 2.0.0 Ok")
            case b"NOOP":
                await self._say("250 2.0.0 Ok")
            case b"QUIT":
                await self._say("221 2.0.0 Goodbye")
                raise _Ended
            case _:
                await self._say("500 5.5.2 Not known here")

    def _offers(self) -> list[str]:
        offers = [f"SIZE {SIZE_LIMIT}", "ENHANCEDSTATUSCODES"]
        if self._manner is not Manner.SYNCHRONOUS:
            offers.append("PIPELINING")
        if self._manner is not Manner.SEVEN_BIT:
            offers += ["8BITMIME", "SMTPUTF8"]
        if self._misbehaviour.tls and not self._secure:
            offers.append("STARTTLS")
        return [f"250-{self._misbehaviour.host}", *(f"250-{one}" for one in offers[:-1]), f"250 {offers[-1]}"]

    async def _start_tls(self) -> None:
        await self._answer(Phase.STARTTLS, "220 2.0.0 Go ahead")
        if self._misbehaviour.phase is Phase.STARTTLS:
            return
        if self._misbehaviour.phase is Phase.HANDSHAKE:
            await self._fill()  # the client's hello
            await self._misbehave(Phase.HANDSHAKE, HALF_A_SERVER_HELLO * 2)
        await self._writer.start_tls(self._exchanger.tls)
        self._secure = True
        self._heard.clear()  # RFC 3207, 4.2

    async def _mail(self, argument: str) -> None:
        self._recipients = 0
        if self._manner is Manner.SEVEN_BIT and "BODY=8BITMIME" in argument.upper():
            await self._say("555 5.5.4 BODY is not known here")
        else:
            await self._answer(Phase.MAIL, "250 2.1.0 Ok")

    async def _rcpt(self, argument: str) -> None:
        script = script_for(argument.partition("<")[2].partition(">")[0])
        if self._manner is Manner.DEAF:
            await self._say("550 5.1.1 No such mailbox here")
        elif script.refusal and not script.once:
            await self._say(script.refusal)
        elif self._manner is Manner.PAIRS and self._recipients >= 2:
            self._count()
            await self._say("452 4.5.3 Too many recipients")
        else:
            self._recipients += 1
            await self._answer(Phase.RCPT, "250 2.1.5 Ok")

    async def _data(self) -> None:
        if not self._recipients and self._manner is not Manner.DEAF:
            await self._say("503 5.5.1 RCPT comes first")
            return
        if self._is_at(Phase.DATA) and self._misbehaviour.kind in {Kind.WRONG, Kind.TEMPORARY, Kind.PERMANENT}:
            await self._answer(Phase.DATA, "354 Go on")
            return  # and no content follows
        if self._manner is Manner.EAGER:
            self._count()
            await self._say("354 Go on", "250 2.0.0 Ok: taken already")
        else:
            await self._answer(Phase.DATA, "354 Go on")
        if self._is_at(Phase.CONTENT):
            await self._fill()
            await self._misbehave(Phase.CONTENT, b"")
        has_eight_bit = await self._content()
        self._exchanger.dots[self._misbehaviour.name] += 1
        if self._manner is Manner.EAGER:
            return
        if self._manner is Manner.SEVEN_BIT and has_eight_bit:
            self._count()
            await self._say("554 5.6.3 8-bit content is not taken here")
        else:
            await self._answer(Phase.FINAL, "250 2.0.0 Ok: taken, and thrown away")
        if self._is_at(Phase.IDLE):
            await asyncio.sleep(IDLE_S)
            await self._misbehave(Phase.IDLE, b"250 2.0.0 Are you still there?\r\n")

    # ---- Trouble -----------------------------------------------------------------------------------------------------

    async def _answer(self, phase: Phase, *lines: str) -> None:
        """As is due, or with trouble where this is the phase for it."""
        if self._is_at(phase):
            await self._misbehave(phase, "".join(f"{line}\r\n" for line in lines).encode())
        else:
            await self._say(*lines)

    def _is_at(self, phase: Phase) -> bool:
        begun = self._secure or not self._misbehaviour.tls or phase in {Phase.STARTTLS, Phase.HANDSHAKE}
        return begun and phase is self._misbehaviour.phase

    async def _misbehave(self, phase: Phase, due: bytes) -> None:
        """In place of the answer that is due. The session goes on after some kinds, and ends with others."""
        self._count()
        match self._misbehaviour.kind:
            case Kind.SILENT:
                await self._ignore_the_client(reading=phase is not Phase.CONTENT)
            case Kind.CUT:
                await self._write(due[: len(due) // 2])
            case Kind.CLOSING:
                await self._say(refusal(phase, Kind.CLOSING))
                if phase is Phase.CONTENT:
                    await self._linger()
            case Kind.GARBAGE:
                await self._write({Phase.HANDSHAKE: CLEAR_TEXT, Phase.IDLE: due}.get(phase, GARBAGE))
                return
            case Kind.WRONG:
                await self._say("250 2.0.0 Ok" if phase is Phase.DATA else "354 Go on")
                return
            case Kind.DRIP:
                await self._drip(due)
            case Kind.LINES | Kind.LINE:
                await self._flood(due[:3], lines=self._misbehaviour.kind is Kind.LINES)
            case Kind.TEMPORARY | Kind.PERMANENT as kind:
                await self._say(refusal(phase, kind))
                if phase is not Phase.CONTENT:
                    return
                await self._linger()
        raise _Ended

    async def _ignore_the_client(self, *, reading: bool) -> None:
        while reading:  # or its goodbye would not be noticed
            self._heard.clear()
            await self._fill()
        await asyncio.sleep(LONGEST_S)

    async def _linger(self) -> None:
        """What was said last gets lost where the rest of the content meets a closed connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._ignore_the_client(reading=True)

    async def _drip(self, due: bytes) -> None:
        dripping = iter(due.rstrip())
        while True:
            await self._write(bytes([next(dripping, ord("."))]))
            await asyncio.sleep(self._exchanger.pace_s)

    async def _flood(self, code: bytes, *, lines: bool) -> None:
        packet = (code + b"-and so on, and so on\r\n") * 100 if lines else code + b" and so on, and so on" * 100
        while True:
            await self._write(packet)
            await asyncio.sleep(PACKET_S)  # others want to be served, too

    def _count(self) -> None:
        self._exchanger.misbehaved[self._misbehaviour.name] += 1

    # ---- Octets ------------------------------------------------------------------------------------------------------

    @property
    def _manner(self) -> Manner:
        return self._misbehaviour.manner

    async def _command(self) -> bytes:
        while b"\n" not in self._heard:
            if len(self._heard) > COMMAND_OCTETS:
                raise _Ended
            await self._fill()
        line, _, rest = self._heard.partition(b"\n")
        self._heard = rest
        return bytes(line).rstrip(b"\r")

    async def _content(self) -> bool:
        """Reads up to the final dot; returns whether an octet beyond ASCII was among it."""
        self._heard[:0] = b"\r\n"  # so that a dot that comes first is at a line's begin, too
        has_eight_bit = False
        while (end := self._heard.find(END_OF_DATA)) < 0:
            has_eight_bit = has_eight_bit or not self._heard.isascii()
            del self._heard[: -len(END_OF_DATA)]
            await self._fill()
        has_eight_bit = has_eight_bit or not self._heard[:end].isascii()
        del self._heard[: end + len(END_OF_DATA)]
        return has_eight_bit

    async def _fill(self) -> None:
        """Hears more. Answers held back go out together when the client has said no more for a while."""
        if self._owed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_S):
                    self._take(await self._reader.read(65536))
                return
            owed, self._owed = self._owed, bytearray()
            self._writer.write(owed)
        self._take(await self._reader.read(65536))

    def _take(self, octets: bytes) -> None:
        if not octets:
            raise _Ended
        self._heard += octets

    async def _say(self, *lines: str) -> None:
        octets = "".join(f"{line}\r\n" for line in lines).encode()
        match self._manner:
            case Manner.LATE:
                self._count()
                self._owed += octets
            case Manner.SPLIT:
                self._count()
                for octet in octets:
                    await self._write(bytes([octet]))
                    await asyncio.sleep(PACKET_S)
            case _:
                await self._write(octets)

    async def _write(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()
