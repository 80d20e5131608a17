"""How many messages a second an organization's plan lets in, counted with the requests' rates (`accounts.rest.rates`).

A second's worth may come at once; over any longer time no more come in than the plan says. Tokens are taken from Valkey some at
a time, so that a busy organization costs few questions; those that are not used within a second are gone.
"""

from __future__ import annotations

import time
from functools import lru_cache
from uuid import UUID

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.rest.rates import LoopLimiter, Rate

ASKED = 20  # times a second at most, unless the rate is used up
KEPT_S = 1.0
KEPT_MOST = 10_000


class Pace:
    """For what runs on one event loop."""

    def __init__(self, limiter: LoopLimiter) -> None:
        self._limiter = limiter
        self._held: dict[UUID, tuple[int, float]] = {}  # tokens, and until when they hold

    async def check(self, credential: Credential, messages: int = 1) -> None:
        """All of them or none. More than a second's at once are let in after a pause, and then counted in full.

        Raises `Refused`.
        """
        if credential.messages_per_second is None:
            return
        organization_id, per_second = credential.organization_id, max(1, credential.messages_per_second)
        if self._take(organization_id, messages):
            return
        ahead = max(messages, per_second // ASKED)
        standing = await self._limiter.take(_rate(organization_id, per_second, ahead))
        if standing.is_refused and ahead > messages:
            ahead = messages
            standing = await self._limiter.take(_rate(organization_id, per_second, ahead))
        if standing.is_refused:
            if self._take(organization_id, messages):  # left over by another, who asked meanwhile
                return
            raise Refused("rate_of_messages_exceeded", retry_after_s=standing.retry_after_s, most=f"{per_second:,}")
        self._keep(organization_id, ahead - messages)

    def _take(self, organization_id: UUID, messages: int) -> bool:
        tokens, until = self._held.get(organization_id, (0, 0.0))
        if tokens < messages or until < time.monotonic():
            return False
        self._held[organization_id] = tokens - messages, until
        return True

    def _keep(self, organization_id: UUID, more: int) -> None:
        if len(self._held) >= KEPT_MOST:
            self._held.clear()
        now = time.monotonic()
        tokens, until = self._held.get(organization_id, (0, 0.0))
        self._held[organization_id] = (tokens if until > now else 0) + more, now + KEPT_S


@lru_cache(maxsize=10_000)
def _rate(organization_id: UUID, per_second: int, messages: int) -> Rate:
    return Rate("messages", str(organization_id), per_second, burst=per_second, cost=messages)
