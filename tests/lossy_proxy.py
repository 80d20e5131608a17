"""Between a client and PostgreSQL: carries everything until it sees a word from the client, then loses the answer to it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

SOCKET = ".s.PGSQL.5432"
READY = b"Z\0\0\0\x05I"  # PostgreSQL manual, 54.7, ReadyForQuery: idle, so whatever was asked for is done


@dataclass
class LossyProxy:
    """`word`: what the client says with the request whose answer is lost, once; empty: nothing is. `cuts`: the
    connection ends then; otherwise it stays open and silent, as with a machine that hangs."""

    url: str
    word: bytes = b""
    cuts: bool = True
    is_done: asyncio.Event = field(default_factory=asyncio.Event)  # the server has carried out the request
    _carriers: set[asyncio.Task[None]] = field(default_factory=set)

    def lose(self, word: bytes, *, cuts: bool) -> None:
        self.word, self.cuts = word, cuts
        self.is_done.clear()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._real())
        is_lost = asyncio.Event()
        up = asyncio.create_task(self._carry_up(reader, server_writer, is_lost))
        down = asyncio.create_task(self._carry_down(server_reader, writer, is_lost))
        self._carriers |= {up, down}
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        for one in (writer, server_writer):
            one.close()

    async def _carry_up(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, is_lost: asyncio.Event
    ) -> None:
        while octets := await reader.read(65536):
            if self.word and self.word in octets:
                self.word = b""
                is_lost.set()
            server.write(octets)
            await server.drain()

    async def _carry_down(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, is_lost: asyncio.Event
    ) -> None:
        while octets := await server.read(65536):
            if not is_lost.is_set():
                writer.write(octets)
                await writer.drain()
            elif octets.endswith(READY):
                self.is_done.set()
                if self.cuts:
                    return

    def _real(self) -> str:
        return str(Path(str(conninfo_to_dict(self.url)["host"])) / SOCKET)


@asynccontextmanager
async def lossy_proxy(database_url: str) -> AsyncIterator[tuple[LossyProxy, str]]:
    """The proxy, and the database's address through it."""
    with tempfile.TemporaryDirectory(prefix="plugsend-proxy-") as place:
        proxy = LossyProxy(database_url)
        server = await asyncio.start_unix_server(proxy.carry, str(Path(place) / SOCKET))
        try:
            yield proxy, make_conninfo(database_url, host=place)
        finally:
            server.close()
            for task in proxy._carriers:
                task.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*proxy._carriers, return_exceptions=True), 5)
