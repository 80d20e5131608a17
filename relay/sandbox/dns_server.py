"""The sandbox's DNS server: UDP (RFC 1035, 4.2.1) and TCP (RFC 7766) on one port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import psycopg

from relay.sandbox.database import Connection, Database
from relay.sandbox.internet import Lookup, ZoneRows, respond

logger = logging.getLogger(__name__)

HEADER_OCTETS = 12
PLAIN_UDP_OCTETS = 512  # RFC 1035, 2.3.4; EDNS (RFC 6891) raises it
TCP_IDLE_S = 10
PORT_TRIES = 20

# Everything at the name and one row to tell whether there is anything below it.
ROWS_AT = "SELECT type, value FROM sandbox_zonerecord WHERE name = %s ORDER BY type, value"
ANY_BELOW = "SELECT EXISTS (SELECT FROM sandbox_zonerecord WHERE right(name, %s) = %s)"


class DnsServer:
    """A running server. `port` is the one that both protocols have."""

    def __init__(
        self, udp: asyncio.DatagramTransport, tcp: asyncio.Server, port: int, database: Database | None
    ) -> None:
        self._udp, self._tcp, self._database = udp, tcp, database
        self.port = port

    async def close(self) -> None:
        self._udp.close()
        self._tcp.close()
        if self._database:
            await self._database.close()


async def serve_dns(host: str, port: int, *, database_url: str = "", lookup: Lookup | None = None) -> DnsServer:
    """Serves until closed; returns once the port (0: any free one) is bound. The zone is the database's,
    or `lookup`'s."""
    database = None
    if lookup is None:
        database = Database(database_url)
        lookup = _zone_of(database)
    answer = _answerer(lookup)
    udp, tcp, port = await _bind(host, port, answer)
    return DnsServer(udp, tcp, port, database)


Answer = Callable[[bytes, bool], Awaitable[bytes | None]]  # the packet, whether over TCP


async def _bind(host: str, port: int, answer: Answer) -> tuple[asyncio.DatagramTransport, asyncio.Server, int]:
    """Both protocols on the same port; when any will do, one that is free for both."""
    loop = asyncio.get_running_loop()
    for attempt in range(PORT_TRIES):
        tcp = await asyncio.start_server(lambda reader, writer: _converse(reader, writer, answer), host, port)
        bound: int = tcp.sockets[0].getsockname()[1]
        try:
            udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(answer), local_addr=(host, bound))
        except OSError:
            tcp.close()
            if port or attempt == PORT_TRIES - 1:
                raise
            continue
        return udp, tcp, bound
    raise AssertionError("unreachable")


def _zone_of(database: Database) -> Lookup:
    async def lookup(name: str) -> ZoneRows:
        async def read(connection: Connection) -> ZoneRows:
            rows = await (await connection.execute(ROWS_AT, [name])).fetchall()
            if rows:
                return ZoneRows(tuple((type_, value) for type_, value in rows))
            if "_" not in name:
                return ZoneRows()  # such names exist anyhow
            below = await (await connection.execute(ANY_BELOW, [len(name) + 1, "." + name])).fetchone()
            return ZoneRows(has_below=bool(below and below[0]))

        return await database.run(read)

    return lookup


# ---- Packets ---------------------------------------------------------------------------------------------------------


def _answerer(lookup: Lookup) -> Answer:
    async def answer(packet: bytes, over_tcp: bool) -> bytes | None:
        """The packet to send back; None for what deserves none."""
        # RFC 1035, 4.1.1: QR marks a response; to answer those would go on for ever.
        if len(packet) < HEADER_OCTETS or packet[2] & 0x80:
            return None
        try:
            query = dns.message.from_wire(packet)
        except (dns.exception.DNSException, ValueError):
            return _bare_reply(packet, dns.rcode.FORMERR)
        # RFC 2181, 9: what does not fit a datagram is cut, TC is set, and the client asks again over TCP.
        limit = 65535 if over_tcp else max(query.payload, PLAIN_UDP_OCTETS)
        try:
            return (await respond(query, lookup)).to_wire(max_size=limit, prefer_truncation=True)
        except (psycopg.Error, OSError, dns.exception.DNSException) as error:
            # The database is away, or a row of the zone cannot be put on the wire.
            logger.warning("no answer for %s: %s", query.question[0] if query.question else "?", error)
            return _bare_reply(packet, dns.rcode.SERVFAIL)

    return answer


def _bare_reply(packet: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: the client's id and opcode, QR, and the code (RFC 1035, 4.1.1)."""
    return packet[:2] + bytes([0x80 | packet[2] & 0x79, 0x80 | rcode]) + bytes(8)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, addr: tuple[Any, ...]) -> None:
        reply = await self._answer(data, False)
        if reply is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """RFC 7766, 8: each message is preceded by its length in two octets."""
    try:
        while True:
            async with asyncio.timeout(TCP_IDLE_S):
                length = int.from_bytes(await reader.readexactly(2))
                packet = await reader.readexactly(length)
            reply = await answer(packet, True)
            if reply is None:
                break
            writer.write(len(reply).to_bytes(2) + reply)
            await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
