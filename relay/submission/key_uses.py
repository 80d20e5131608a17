"""When an API key was used last: shown to people, so a minute's precision will do, and a lost note does no harm."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

PRECISION_S = 60
KEPT_MOST = 50_000

# Rows that another process is noting are left to it.
_NOTE = """
    UPDATE accounts_apikey SET last_used_at = now() WHERE id IN (
        SELECT id FROM accounts_apikey
        WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < now() - %s * interval '1 second')
        FOR UPDATE SKIP LOCKED)
"""


class KeyUses:
    """Remembers what it noted, so that a busy key costs a statement a minute."""

    def __init__(self) -> None:
        self._noted: dict[UUID, float] = {}

    async def note(self, connection: AsyncConnection[Any], keys: set[UUID | None]) -> None:
        now = time.monotonic()
        due = [key for key in keys if key and self._noted.get(key, -PRECISION_S) <= now - PRECISION_S]
        if not due:
            return
        if len(self._noted) > KEPT_MOST:
            self._noted.clear()
        self._noted.update(dict.fromkeys(due, now))
        await connection.execute(_NOTE, (due, PRECISION_S))
