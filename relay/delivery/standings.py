"""What workers tell each other, pages and operators about groups in trouble, by the table of `ExchangerGroup`.

A worker writes a group's row when its throttle changed, and adopts what another worker, or an operator, wrote since. Rows of
groups that are well again, or have not been used for long, are deleted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from relay.delivery.groups import DESTINATIONS_MOST, Group
from relay.delivery.throttle import Standing

EXCHANGE_EVERY_S = 2.0

_WRITE = """
    INSERT INTO relay_exchangergroup AS known
        (name, connections, messages_per_second, suspended_since, suspended_until, failures, reason, last_reply,
         destinations, written_by, changed_at)
    VALUES (%(name)s, %(connections)s, %(messages_per_second)s, %(suspended_since)s, %(suspended_until)s, %(failures)s,
            %(reason)s, %(last_reply)s, %(destinations)s, %(worker)s, %(at)s)
    ON CONFLICT (name) DO UPDATE
    SET connections = excluded.connections, messages_per_second = excluded.messages_per_second,
        suspended_since = excluded.suspended_since, suspended_until = excluded.suspended_until,
        failures = excluded.failures, reason = excluded.reason, last_reply = excluded.last_reply,
        destinations = (SELECT coalesce(array_agg(one), '{}') FROM (
            SELECT unnest(excluded.destinations) AS one UNION SELECT unnest(known.destinations) LIMIT %(most)s) all_workers),
        written_by = excluded.written_by, changed_at = excluded.changed_at
"""
_READ = """
    SELECT name, connections, messages_per_second, suspended_since, suspended_until, failures, reason, last_reply,
           changed_at, written_by
    FROM relay_exchangergroup WHERE written_by IS DISTINCT FROM %s AND changed_at > %s
"""
_DELETE = "DELETE FROM relay_exchangergroup WHERE name = ANY(%s) AND (written_by = %s OR written_by IS NULL)"


@dataclass(frozen=True, slots=True)
class _Told:
    standing: Standing
    suspended_since: datetime | None
    suspended_until: datetime | None

    def now(self) -> Standing:
        """As it stands at this moment."""
        if self.suspended_until is None:
            return self.standing
        at = datetime.now(UTC)
        left = max(0.0, (self.suspended_until - at).total_seconds())
        since = (at - self.suspended_since).total_seconds() if self.suspended_since else None
        return replace(self.standing, suspended_for_s=left, suspended_since_s=since)


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
        for name, connections, rate, since, until, failures, reason, last_reply, changed_at, writer in rows:
            self._read_until = max(self._read_until, changed_at)
            told = _Told(Standing(connections, rate, None, failures, reason, last_reply), since, until)
            if group := groups.get(name):
                group.throttle.adopt(told.now(), time.monotonic())
                if writer is None:  # an operator, who deletes nothing when it is well again
                    self._written.add(name)
                else:
                    self._written.discard(name)
            else:
                self._told[name] = told

    async def _write(self, connection: Any, groups: Mapping[str, Group]) -> None:
        changed = [one for one in groups.values() if one.throttle.is_changed or one.has_untold_destination]
        well = [group.name for group in changed if not group.throttle.is_troubled]
        for group in changed:
            standing, group.has_untold_destination = group.throttle.standing(time.monotonic()), False
            if group.name in well:
                group.destinations.clear()
                continue
            await connection.execute(_WRITE, self._row(group, standing))
            self._written.add(group.name)
        if gone := [name for name in self._written if name in well or name not in groups]:
            await connection.execute(_DELETE, (gone, self._worker))
            self._written.difference_update(gone)

    def _row(self, group: Group, standing: Standing) -> dict[str, Any]:
        at, for_s, since_s = datetime.now(UTC), standing.suspended_for_s, standing.suspended_since_s
        return {
            "name": group.name,
            "connections": standing.connections,
            "messages_per_second": standing.messages_per_second,
            "suspended_since": None if since_s is None else at - timedelta(seconds=since_s),
            "suspended_until": None if for_s is None else at + timedelta(seconds=for_s),
            "failures": standing.failures,
            "reason": standing.reason,
            "last_reply": standing.last_reply[:1000],
            "destinations": sorted(group.destinations),
            "most": DESTINATIONS_MOST,
            "worker": self._worker,
            "at": at,
        }
