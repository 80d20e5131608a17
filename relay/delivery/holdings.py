"""What is claimed and not settled: how much of it, whose, and until when it is ours for certain."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from relay.delivery.messages import Messages
from relay.delivery.queue import Claim, Claimed, Queue
from relay.delivery.schedule import Schedule


class Holdings:
    """An engine's recipients in hand, under leases that are renewed together. Keeps `Schedule` and `Messages` told."""

    def __init__(self, queue: Queue, lease: timedelta, schedule: Schedule, messages: Messages) -> None:
        self._queue, self._lease_s = queue, lease.total_seconds()
        self._schedule, self._messages = schedule, messages
        self._held: dict[UUID, Claimed] = {}
        self._of = Counter[UUID]()  # organization
        self._sure_until = time.monotonic() + self._lease_s  # no lease of what is held has run out

    def __len__(self) -> int:
        return len(self._held)

    def of(self, organization_id: UUID) -> int:
        """How much of it is this organization's."""
        return self._of[organization_id]

    def take(self, claim: Claim) -> None:
        self._messages.take(claim)
        for claimed in claim.recipients:
            if lapsed := self._held.get(claimed.id):  # and claimed by us once more
                self.let_go(lapsed)
            self._held[claimed.id] = claimed
            self._of[claimed.organization_id] += 1
            self._schedule.state(claimed.lane).held += 1

    def let_go(self, claimed: Claimed) -> None:
        """Settled, or given back. Once: whoever gave it back may settle it no more."""
        if self._held.get(claimed.id) is not claimed:
            return
        del self._held[claimed.id]
        self._messages.done(claimed)
        self._schedule.state(claimed.lane).held -= 1
        self._of[claimed.organization_id] -= 1
        if not self._of[claimed.organization_id]:
            del self._of[claimed.organization_id]

    def is_ours(self, claimed: Claimed) -> bool:
        """Whether its lease cannot have run out: it may, when the database was away for long, or we stood still."""
        return self._held.get(claimed.id) is claimed and time.monotonic() < self._sure_until

    async def make_sure(self, connection: AsyncConnection[Any]) -> None:
        """After the database was away for long."""
        if time.monotonic() >= self._sure_until:
            await self.renew(connection)

    async def renew(self, connection: AsyncConnection[Any]) -> None:
        """Every lease; what was lost meanwhile is let go."""
        started, held = time.monotonic(), dict(self._held)
        ours = await self._queue.renew(connection, list(held))
        for lost in held.keys() - ours:
            self.let_go(held[lost])
        self._sure_until = started + self._lease_s

    def be_sure(self) -> None:
        """Nothing is held, so no lease can have run out."""
        assert not self._held
        self._sure_until = time.monotonic() + self._lease_s
