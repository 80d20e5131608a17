"""A small internet of DNS servers on loopback addresses, for tests: authorities that have zones and manners, resolvers that
look into all zones, remember and validate. Real packets over UDP and TCP, all servers at one port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rrset
from dns.edns import EDECode
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType

from tests.sandbox_servers import running

TTL_S = 300
NEGATIVE_TTL_S = 60  # the SOA's minimum; its TTL is 900
Packets = bytes | list[bytes] | None
Manner = Callable[[Message, Message], Message | Packets]  # query and honest reply: what is sent


@dataclass(frozen=True)
class Asked:
    """A record to ask for."""

    type: str
    name: str
    id: str = "it"


@dataclass
class Server:
    """`zones`: apexes of those it has. `manner`: what becomes of its honest replies. `asked`: `name TYPE` in their order."""

    address: str
    zones: tuple[str, ...] = ()
    manner: Manner = lambda query, reply: reply
    asked: list[str] = field(default_factory=list)
    over_tcp: int = 0
    most_udp_octets: int = 1232


@dataclass
class Resolver(Server):
    """`remembered`: rows that it repeats whatever the zones hold by now, with their remaining seconds. `bogus`: apexes of zones
    that it does not believe, with the EDE that it gives, if any."""

    remembered: dict[str, tuple[list[str], int]] = field(default_factory=dict)
    bogus: dict[str, tuple[EDECode, str] | None] = field(default_factory=dict)


class World:
    """`zones`: by apex, rows of values by `name TYPE`; `*` as in zone files. A zone's NS rows at its apex are the delegation,
    too."""

    def __init__(self, zones: dict[str, dict[str, list[str]]], servers: Iterable[Server]) -> None:
        self.zones, self.servers = zones, list(servers)
        self.port = 0
        self._closers: list[Callable[[], None]] = []

    @contextmanager
    def running(self) -> Iterator[World]:
        with running(self._start()):
            yield self

    async def _start(self) -> World:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            tcp = await asyncio.start_server(_converser(self, server), server.address, self.port)
            self.port = tcp.sockets[0].getsockname()[1]
            udp, _ = await loop.create_datagram_endpoint(
                lambda server=server: _Datagrams(self, server),  # type: ignore[misc]
                local_addr=(server.address, self.port),
            )
            self._closers += [tcp.close, udp.close]
        return self

    async def close(self) -> None:
        for close in self._closers:
            close()

    # ---- Answers -------------------------------------------------------------------------------------------------

    def respond(self, server: Server, packet: bytes, *, over_tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(packet)
        [question] = query.question
        server.asked.append(f"{_text(question.name)} {question.rdtype.name}")
        server.over_tcp += over_tcp
        reply = dns.message.make_response(query)
        (self._resolve if isinstance(server, Resolver) else self._tell)(server, query, reply)  # type: ignore[operator]
        said = server.manner(query, reply)
        if isinstance(said, Message):
            most = 65535 if over_tcp else server.most_udp_octets
            return [said.to_wire(max_size=most, prefer_truncation=True)]
        return said if isinstance(said, list) else [said] if said is not None else []

    def _tell(self, server: Server, query: Message, reply: Message) -> None:
        name, type_ = query.question[0].name, query.question[0].rdtype
        apex = self._apex(name, server.zones)
        if apex is None:
            reply.set_rcode(dns.rcode.REFUSED)
            return
        cut = self._apex(name)
        while cut and cut != apex and self._apex(_parent(cut)) != apex:
            cut = self._apex(_parent(cut))
        if cut and cut != apex:
            names = self.zones[cut].get(f"{cut} NS", [])
            reply.authority.append(_rrset(cut, RdataType.NS, names))
            reply.additional += [one for host in names for one in self._addresses(host)]
            return
        reply.flags |= dns.flags.AA
        self._answer(
            self.zones[apex], apex, name, type_, reply, follow=lambda end: self._apex(end, server.zones) == apex
        )

    def _resolve(self, server: Resolver, query: Message, reply: Message) -> None:
        name, type_ = query.question[0].name, query.question[0].rdtype
        reply.flags |= dns.flags.RA
        apex = self._apex(name) or "."
        if apex in server.bogus and not query.flags & dns.flags.CD:
            reply.set_rcode(dns.rcode.SERVFAIL)
            if ede := server.bogus[apex]:
                reply.use_edns(0, 0, 1232, options=[dns.edns.EDEOption(*ede)])
            return
        if (key := f"{_text(name)} {type_.name}") in server.remembered:
            values, ttl_s = server.remembered[key]
            if values:
                reply.answer.append(_rrset(_text(name), type_, values, ttl_s))
            else:
                reply.authority.append(_soa(apex, ttl_s))
                reply.set_rcode(dns.rcode.NXDOMAIN)
            return
        for _ in range(8):
            apex = self._apex(name) or "."
            self._answer(self.zones.get(apex, {}), apex, name, type_, reply, follow=lambda _: False)
            end = reply.answer[-1] if reply.answer else None
            if end is None or end.rdtype != RdataType.CNAME or type_ == RdataType.CNAME:
                return
            name = end[0].target

    def _answer(
        self,
        rows: dict[str, list[str]],
        apex: str,
        name: Name,
        type_: RdataType,
        reply: Message,
        follow: Callable[[Name], bool],
    ) -> None:
        """RFC 1034, 4.3.2."""
        owner = self._owner(rows, apex, _text(name))
        if owner and (values := rows.get(f"{owner} {type_.name}")):
            reply.answer.append(_rrset(_text(name), type_, values))
        elif owner and (target := rows.get(f"{owner} CNAME")):
            reply.answer.append(_rrset(_text(name), RdataType.CNAME, target))
            if follow(end := dns.name.from_text(target[0])):
                self._answer(rows, apex, end, type_, reply, follow)
        else:
            reply.authority.append(_soa(apex, 900))
            if not owner:
                reply.set_rcode(dns.rcode.NXDOMAIN)

    def _owner(self, rows: dict[str, list[str]], apex: str, name: str) -> str:
        """The name whose rows are this name's: itself, or a wildcard (RFC 4592); empty when there is no such name."""
        names = {key.partition(" ")[0] for key in rows}
        at = name
        while at != apex and not any(one == at or one.endswith("." + at) for one in names):
            at = _parent(at)
        return name if at == name else f"*.{at}" if f"*.{at}" in names else ""

    def _apex(self, name: Name | str, among: Iterable[str] | None = None) -> str | None:
        text = name if isinstance(name, str) else _text(name)
        above = [apex for apex in (self.zones if among is None else among) if text == apex or text.endswith("." + apex)]
        return max(above, key=len, default=None)

    def _addresses(self, host: str) -> list[dns.rrset.RRset]:
        name = host.rstrip(".")
        rows = self.zones.get(self._apex(name) or "", {})
        return [_rrset(name, type_, rows[key]) for type_ in (RdataType.A,) if (key := f"{name} {type_.name}") in rows]


# ---- Manners ---------------------------------------------------------------------------------------------------------


def silent(query: Message, reply: Message) -> None:
    return None


def refusing(code: dns.rcode.Rcode) -> Manner:
    def manner(query: Message, reply: Message) -> Message:
        refusal = dns.message.make_response(query)
        refusal.set_rcode(code)
        return refusal

    return manner


def lame(query: Message, reply: Message) -> Message:
    reply.flags &= ~dns.flags.AA
    return reply


# ---- Packets ---------------------------------------------------------------------------------------------------------


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _parent(name: str) -> str:
    return name.partition(".")[2]


def _rrset(name: str, type_: RdataType, values: list[str], ttl_s: int = TTL_S) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(dns.name.from_text(name), ttl_s, dns.rdataclass.IN, type_, values)


def _soa(apex: str, ttl_s: int) -> dns.rrset.RRset:
    return _rrset(apex, RdataType.SOA, [f"ns.invalid. x.invalid. 1 3600 600 86400 {NEGATIVE_TTL_S}"], ttl_s)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, world: World, server: Server) -> None:
        self._world, self._server = world, server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for packet in self._world.respond(self._server, data, over_tcp=False):
            self._transport.sendto(packet, addr)


def _converser(world: World, server: Server) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            packet = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            for reply in world.respond(server, packet, over_tcp=True):
                writer.write(len(reply).to_bytes(2) + reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return converse
