"""Destinations that operators have paused: nothing is claimed for them, whosever mail it is. Read again every 2 s.

Mail for them stays in the queue as it is, attempts and all, and ends like any other when its retry period is over.
"""

from __future__ import annotations

import time
from typing import Any

from psycopg import AsyncConnection

READ_EVERY_S = 2.0


class Pauses:
    def __init__(self) -> None:
        self.destinations: frozenset[str] = frozenset()
        self.are_known = False
        self._read_at = float("-inf")

    @property
    def are_due(self) -> bool:
        return time.monotonic() >= self._read_at + READ_EVERY_S

    async def read(self, connection: AsyncConnection[Any]) -> frozenset[str]:
        """Returns those that are new."""
        cursor = await connection.execute("SELECT destination FROM relay_pauseddestination")
        paused = frozenset(row[0] for row in await cursor.fetchall())
        new, self.destinations = paused - self.destinations, paused
        self.are_known, self._read_at = True, time.monotonic()
        return new
