"""A queue that is fair between organizations: weighted round robin, first in first out within each. No I/O."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")


class _Share(Generic[T]):
    __slots__ = ("credit", "items", "weight")

    def __init__(self, weight: int) -> None:
        self.items: deque[T] = deque()
        self.weight = self.credit = weight


class FairQueue(Generic[T]):
    """Each organization's turn is as long as its weight; who has nothing waiting has no turn. All in constant time."""

    def __init__(self) -> None:
        self._shares: OrderedDict[UUID, _Share[T]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for share in self._shares.values():
            yield from share.items

    def push(self, organization_id: UUID, item: T, weight: int = 1) -> None:
        share = self._shares.get(organization_id)
        if share is None:
            share = self._shares[organization_id] = _Share(weight)
        share.weight = weight
        share.items.append(item)
        self._length += 1

    def pop(self) -> T:
        """Raises `IndexError` when empty."""
        if not self._length:
            raise IndexError("nothing waits")
        organization_id, share = next(iter(self._shares.items()))
        item = share.items.popleft()
        self._length -= 1
        share.credit -= 1
        if not share.items:
            del self._shares[organization_id]
        elif share.credit <= 0:
            share.credit = share.weight
            self._shares.move_to_end(organization_id)
        return item

    def peek(self) -> T:
        """What `pop` will take."""
        return next(iter(self._shares.values())).items[0]

    def has(self, organization_id: UUID) -> bool:
        return organization_id in self._shares

    def clear(self) -> list[T]:
        """Takes all that waits."""
        items = list(self)
        self._shares.clear()
        self._length = 0
        return items
