"""Whose deliveries are sent next, and how many at once: endpoints take turns, and organizations before them. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

IN_FLIGHT = 100  # in a process
# Endpoints that fail or are slow share so many of those, so that there is always room for the others.
IN_TROUBLE = 40
PER_ENDPOINT, PER_ENDPOINT_IN_TROUBLE = 4, 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """An endpoint with deliveries that are due."""

    endpoint_id: UUID
    organization_id: UUID
    in_flight: int
    is_in_trouble: bool  # or not known yet

    @property
    def most(self) -> int:
        return PER_ENDPOINT_IN_TROUBLE if self.is_in_trouble else PER_ENDPOINT


def share_out(waiting: Iterable[Waiting], in_flight: int, in_trouble: int) -> dict[UUID, int]:
    """How many each endpoint may begin. `in_flight`: of all endpoints; `in_trouble`: of those in trouble among them.

    Whoever has least in flight is next: the organization, then its endpoint.
    """
    room, room_in_trouble = IN_FLIGHT - in_flight, IN_TROUBLE - in_trouble
    ready = {one.endpoint_id: one for one in waiting}
    of_organization = Counter[UUID]()
    for one in ready.values():
        of_organization[one.organization_id] += one.in_flight
    shares = Counter[UUID]()
    while ready and room > 0:
        candidates = [one for one in ready.values() if room_in_trouble > 0 or not one.is_in_trouble]
        if not candidates:
            break
        one = min(candidates, key=lambda w: (of_organization[w.organization_id], w.in_flight + shares[w.endpoint_id]))
        if one.in_flight + shares[one.endpoint_id] >= one.most:
            del ready[one.endpoint_id]
            continue
        shares[one.endpoint_id] += 1
        of_organization[one.organization_id] += 1
        room -= 1
        room_in_trouble -= one.is_in_trouble
    return dict(shares)
