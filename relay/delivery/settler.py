"""Writes outcomes as they come, all that wait in one transaction. Nothing accepted is forgotten while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from relay.delivery.queue import Outcome, Queue

logger = logging.getLogger(__name__)

DATABASE_AWAY = (psycopg.Error, PoolTimeout, OSError)
DATABASE_RETRY_S = 1.0
MOST = 200
GATHER_S = (
    0.01  # while much is in hand outcomes gather so long: nobody waits for them, and each transaction costs a flush
)


class Settler:
    """`is_busy`: whether more outcomes are about to come. `on_settled` is told of each batch that was written, or given up."""

    def __init__(
        self,
        queue: Queue,
        pool: AsyncConnectionPool,
        *,
        is_busy: Callable[[], bool],
        on_settled: Callable[[list[Outcome]], None],
    ) -> None:
        self._queue, self._pool = queue, pool
        self._is_busy, self._on_settled = is_busy, on_settled
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue()

    def settle(self, outcome: Outcome) -> None:
        self._outcomes.put_nowait(outcome)

    async def join(self) -> None:
        """Until all that was to be settled is."""
        await self._outcomes.join()

    async def run(self) -> None:
        while True:
            batch = [await self._outcomes.get()]
            if self._is_busy():
                await asyncio.sleep(GATHER_S)
            while not self._outcomes.empty() and len(batch) < MOST:
                batch.append(self._outcomes.get_nowait())
            await self._write(batch)
            self._on_settled(batch)
            for _ in batch:
                self._outcomes.task_done()

    async def _write(self, batch: list[Outcome]) -> None:
        while True:
            try:
                async with self._pool.connection() as connection:
                    settled = await self._queue.settle(connection, batch)
                break
            except (psycopg.DataError, ValueError):  # a value that PostgreSQL or psycopg cannot take
                logger.exception("An outcome could not be written; its attempt will be in doubt")
                if len(batch) > 1:
                    for outcome in batch:
                        await self._write([outcome])
                return
            except DATABASE_AWAY as error:
                logger.warning("Outcomes wait for the database: %s", error)
                await asyncio.sleep(DATABASE_RETRY_S)
        for outcome in batch:
            if outcome.claimed.id not in settled:
                logger.warning("The lease of recipient %s had run out before it was settled", outcome.claimed.id)
