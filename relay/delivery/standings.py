"""What workers tell each other, pages and operators about groups in trouble, by the table of `ExchangerGroup`.

A worker writes a group's row when its throttle changed, and adopts what another worker, or an operator, wrote since. Rows of
groups that are well again are deleted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from relay.delivery.groups import Group
from relay.delivery.throttle import Standing

EXCHANGE_EVERY_S = 2.0
DESTINATIONS_MOST = 1000  # named in a row

_WRITE = """
    INSERT INTO relay_exchangergroup (name, connections, messages_per_second, suspended_until, failures, reason, last_reply,
                                      destinations, written_by, changed_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (name) DO UPDATE
    SET connections = excluded.connections, messages_per_second = excluded.messages_per_second,
        suspended_until = excluded.suspended_until, failures = excluded.failures, reason = excluded.reason,
        last_reply = excluded.last_reply, destinations = excluded.destinations, written_by = excluded.written_by,
        changed_at = excluded.changed_at
"""
_READ = """
    SELECT name, connections, messages_per_second, suspended_until, failures, reason, last_reply, changed_at
    FROM relay_exchangergroup WHERE written_by IS DISTINCT FROM %s AND changed_at > %s
"""
_DELETE = "DELETE FROM relay_exchangergroup WHERE name = ANY(%s) AND written_by = %s"


@dataclass(frozen=True, slots=True)
class _Told:
    standing: Standing
    suspended_until: datetime | None

    def now(self) -> Standing:
        """As it stands at this moment."""
        if self.suspended_until is None:
            return self.standing
        left = max(0.0, (self.suspended_until - datetime.now(UTC)).total_seconds())
        return replace(self.standing, suspended_for_s=left)


class Standings:
    def __init__(self, pool: AsyncConnectionPool, worker: UUID) -> None:
        self._pool, self._worker = pool, worker
        self._told: dict[str, _Told] = {}  # by others, of groups that we have not met yet
        self._written: set[str] = set()
        self._read_until = datetime.now(UTC) - timedelta(hours=1)
        self._exchanged_at = 0.0

    def introduce(self, group: Group) -> None:
        """A group that this worker meets for the first time: what others know of it counts."""
        if told := self._told.pop(group.name, None):
            group.throttle.adopt(told.now(), time.monotonic())

    async def exchange(self, groups: Mapping[str, Group]) -> None:
        """Reads what others wrote, writes what changed."""
        now = time.monotonic()
        if now - self._exchanged_at < EXCHANGE_EVERY_S:
            return
        self._exchanged_at = now
        async with self._pool.connection() as connection:
            await self._read(connection, groups)
            await self._write(connection, groups)

    async def _read(self, connection: Any, groups: Mapping[str, Group]) -> None:
        rows = await (await connection.execute(_READ, (self._worker, self._read_until))).fetchall()
        for name, connections, rate, suspended_until, failures, reason, last_reply, changed_at in rows:
            self._read_until = max(self._read_until, changed_at)
            suspended = 0.0 if suspended_until else None
            told = _Told(Standing(connections, rate, suspended, failures, reason, last_reply), suspended_until)
            if group := groups.get(name):
                group.throttle.adopt(told.now(), time.monotonic())
                self._written.discard(name)
            else:
                self._told[name] = told

    async def _write(self, connection: Any, groups: Mapping[str, Group]) -> None:
        changed = [group for group in groups.values() if group.throttle.is_changed]
        well = [group.name for group in changed if not group.throttle.is_troubled]
        for group in changed:
            standing = group.throttle.standing(time.monotonic())
            if group.name in well:
                group.destinations.clear()
                continue
            at = datetime.now(UTC)
            until = None if standing.suspended_for_s is None else at + timedelta(seconds=standing.suspended_for_s)
            destinations = sorted(group.destinations)[:DESTINATIONS_MOST]
            await connection.execute(
                _WRITE,
                (
                    group.name, standing.connections, standing.messages_per_second, until, standing.failures, standing.reason,
                    standing.last_reply[:1000], destinations, self._worker, at,
                ),
            )  # fmt: skip
            self._written.add(group.name)
        if gone := [name for name in well if name in self._written]:
            await connection.execute(_DELETE, (gone, self._worker))
            self._written.difference_update(gone)
