"""When and from where an API key was used last: shown to people, so a minute's precision will do, and a lost note does no harm.

Used is a key that was let in: by signing in, by each message of a session, by any REST request. What was refused because the
key is disabled, or came from a wrong network, is no use.
"""

from __future__ import annotations

import asyncio
import logging
import time
from ipaddress import ip_address
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

logger = logging.getLogger(__name__)

PRECISION_S = 60
KEPT_MOST = 50_000

# Rows that another process is noting are left to it.
_NOTE = """
    UPDATE accounts_apikey k SET last_used_at = now(), last_used_from = due.client FROM (
        SELECT id, client FROM accounts_apikey JOIN unnest(%s::uuid[], %s::inet[]) AS used (id, client) USING (id)
        WHERE last_used_at IS NULL OR last_used_at < now() - %s * interval '1 second'
        FOR UPDATE OF accounts_apikey SKIP LOCKED) due
    WHERE k.id = due.id
"""


class KeyUses:
    """On one event loop. Remembers what it noted, so that a busy key costs a statement a minute, and no request waits."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._noted: dict[UUID, float] = {}
        self._due: dict[UUID, str] = {}
        self._writing: asyncio.Task[None] | None = None

    def is_due(self, key: UUID | None) -> bool:
        """May be asked from any thread."""
        return key is not None and self._noted.get(key, -PRECISION_S) <= time.monotonic() - PRECISION_S

    def note(self, key: UUID | None, client: str) -> None:
        """`client`: the IP address, or empty."""
        if key is None or not self.is_due(key):
            return
        if len(self._noted) > KEPT_MOST:
            self._noted.clear()
        self._noted[key] = time.monotonic()
        self._due[key] = client
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def stop(self) -> None:
        if self._writing:
            await self._writing

    async def _write(self) -> None:
        while self._due:
            due, self._due = self._due, {}
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(
                        _NOTE, (list(due), [_address(client) for client in due.values()], PRECISION_S)
                    )
            except (psycopg.Error, PoolTimeout, OSError) as error:
                logger.warning("Could not note the use of %d API keys: %s", len(due), error)
        self._writing = None


def _address(client: str) -> str | None:
    try:
        return str(ip_address(client.partition("%")[0]))  # RFC 4007, 11: a zone is of no use elsewhere
    except ValueError:
        return None
