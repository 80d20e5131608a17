"""One PostgreSQL connection for an asyncio server, opened at need and opened anew after a database restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECT_TIMEOUT_S = 2


class Database:
    """Runs one piece of work at a time, in autocommit mode."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Does `work` on the connection. A connection that turns out to be broken is replaced once, so `work` must bear
        repetition. Raises psycopg.OperationalError when the database is away."""
        async with self._lock:
            fresh = self._connection is None
            try:
                return await work(await self._connected())
            except psycopg.OperationalError:
                await self._drop()
                if fresh:
                    raise
            except BaseException:
                await self._drop()  # its state is unknown
                raise
            return await work(await self._connected())

    async def close(self) -> None:
        async with self._lock:
            await self._drop()

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            )
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
