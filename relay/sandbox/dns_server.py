"""The sandbox's DNS server: UDP (RFC 1035, 4.2.1) and TCP (RFC 7766) on one port, at each name server's address."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import psycopg

from relay.sandbox.database import Database
from relay.sandbox.internet import FURTHER_ADDRESSES, Arrival, Lookup, respond
from relay.sandbox.zone_lookup import zone_of

logger = logging.getLogger(__name__)

HEADER_OCTETS = 12
PLAIN_UDP_OCTETS = 512  # RFC 1035, 2.3.4; EDNS (RFC 6891) raises it
TCP_IDLE_S = 10
PORT_TRIES = 20


class DnsServer:
    """A running server. `port` is the one that it has at all addresses, for both protocols."""

    def __init__(self, listening: list[Listening], database: Database | None) -> None:
        self._listening, self._database = listening, database
        self.port = listening[0].port

    async def close(self) -> None:
        for one in self._listening:
            one.close()
        if self._database:
            await self._database.close()


async def serve_dns(host: str, port: int, *, database_url: str = "", lookup: Lookup | None = None) -> DnsServer:
    """Serves until closed; returns once the port (0: any free one) is bound. The zone is the database's,
    or `lookup`'s."""
    database = None
    if lookup is None:
        database = Database(database_url)
        lookup = zone_of(database)
    return DnsServer(await _bind_all({1: host, **_further_addresses()}, port, _answerer(lookup)), database)


Answer = Callable[[bytes, Arrival], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Listening:
    """Both protocols at one address."""

    udp: asyncio.DatagramTransport
    tcp: asyncio.Server

    @property
    def port(self) -> int:
        return int(self.tcp.sockets[0].getsockname()[1])

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


async def _bind_all(addresses: dict[int, str], port: int, answer: Answer) -> list[Listening]:
    """Every name server, by number, at its address, all with the same port; when any will do, one that is free everywhere."""
    for attempt in range(PORT_TRIES):
        bound: list[Listening] = []
        try:
            for number, address in addresses.items():
                arrival = Arrival(server=number, apart=len(addresses) > 1)
                bound.append(await _bind(address, bound[0].port if bound else port, arrival, answer))
            return bound
        except OSError as error:
            for one in bound:
                one.close()
            if port or error.errno != errno.EADDRINUSE or attempt == PORT_TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _further_addresses() -> dict[int, str]:
    """Of the name servers but the first, which stands for all where loopback has no such addresses."""
    try:
        for address in FURTHER_ADDRESSES.values():
            socket.create_server((address, 0)).close()
    except OSError as error:
        logger.warning(
            "All name servers are at one address: %s. Those that differ need 127.0.2.0/24, which Linux has by itself.",
            error.strerror or error,
        )
        return {}
    return FURTHER_ADDRESSES


async def _bind(address: str, port: int, arrival: Arrival, answer: Answer) -> Listening:
    loop = asyncio.get_running_loop()
    over_tcp = replace(arrival, over_tcp=True)
    tcp = await asyncio.start_server(lambda reader, writer: _converse(reader, writer, over_tcp, answer), address, port)
    try:
        bound = tcp.sockets[0].getsockname()[1]
        udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(arrival, answer), local_addr=(address, bound))
    except OSError:
        tcp.close()
        raise
    return Listening(udp, tcp)


# ---- Packets ---------------------------------------------------------------------------------------------------------


def _answerer(lookup: Lookup) -> Answer:
    async def answer(packet: bytes, arrival: Arrival) -> bytes | None:
        """The packet to send back; None for what deserves none."""
        # RFC 1035, 4.1.1: QR marks a response; to answer those would go on for ever.
        if len(packet) < HEADER_OCTETS or packet[2] & 0x80:
            return None
        try:
            query = dns.message.from_wire(packet)
        except (dns.exception.DNSException, ValueError):
            return _bare_reply(packet, dns.rcode.FORMERR)
        # RFC 2181, 9: what does not fit a datagram is cut, TC is set, and the client asks again over TCP.
        limit = 65535 if arrival.over_tcp else max(query.payload, PLAIN_UDP_OCTETS)
        try:
            response = await respond(query, lookup, arrival)
            return response.to_wire(max_size=limit, prefer_truncation=True) if response else None
        except (psycopg.Error, OSError, dns.exception.DNSException) as error:
            # The database is away, or a row of the zone cannot be put on the wire.
            logger.warning("no answer for %s: %s", query.question[0] if query.question else "?", error)
            return _bare_reply(packet, dns.rcode.SERVFAIL)

    return answer


def _bare_reply(packet: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: the client's id and opcode, QR, and the code (RFC 1035, 4.1.1)."""
    return packet[:2] + bytes([0x80 | packet[2] & 0x79, 0x80 | rcode]) + bytes(8)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, arrival: Arrival, answer: Answer) -> None:
        self._arrival, self._answer = arrival, answer
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, addr: tuple[Any, ...]) -> None:
        reply = await self._answer(data, self._arrival)
        if reply is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, arrival: Arrival, answer: Answer
) -> None:
    """RFC 7766, 8: each message is preceded by its length in two octets."""
    try:
        while True:
            async with asyncio.timeout(TCP_IDLE_S):
                length = int.from_bytes(await reader.readexactly(2))
                packet = await reader.readexactly(length)
            reply = await answer(packet, arrival)
            if reply is not None:
                writer.write(len(reply).to_bytes(2) + reply)
                await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
