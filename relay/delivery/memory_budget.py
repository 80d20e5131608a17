"""How many octets of large messages may be in memory at the same time, and whose. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True, eq=False)
class _Wait:
    organization_id: UUID
    octets: int
    granted: asyncio.Future[None]


class MemoryBudget:
    """One organization has at most half of it, so that its slow receivers hold up nobody else's large mail. A message that is
    larger than that goes alone."""

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._used = 0
        self._used_by = Counter[UUID]()
        self._waiting: list[_Wait] = []

    async def take(self, organization_id: UUID, octets: int) -> None:
        if self._fits(organization_id, octets):
            self._grant(organization_id, octets)
            return
        wait = _Wait(organization_id, octets, asyncio.get_running_loop().create_future())
        self._waiting.append(wait)
        try:
            await wait.granted
        except asyncio.CancelledError:
            if wait in self._waiting:
                self._waiting.remove(wait)
            else:
                self.give(organization_id, octets)
            raise

    def give(self, organization_id: UUID, octets: int) -> None:
        self._used -= octets
        self._used_by[organization_id] -= octets
        if not self._used_by[organization_id]:
            del self._used_by[organization_id]
        for wait in list(self._waiting):
            if self._fits(wait.organization_id, wait.octets):
                self._waiting.remove(wait)
                self._grant(wait.organization_id, wait.octets)
                wait.granted.set_result(None)

    def _fits(self, organization_id: UUID, octets: int) -> bool:
        used_by = self._used_by[organization_id]
        share_fits = not used_by or used_by + octets <= self._octets // 2
        return share_fits and (not self._used or self._used + octets <= self._octets)

    def _grant(self, organization_id: UUID, octets: int) -> None:
        self._used += octets
        self._used_by[organization_id] += octets
