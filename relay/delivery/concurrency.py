"""How many connections to a group are worth having: doubled while that brings more messages a second. No I/O.

Connections hide the time that an exchanger takes over a message. Beyond what hides it they only cost: where we ourselves, or
the exchanger, are at our limit already, each transaction takes longer the more there are. So each doubling has to show its
worth in the round after it (as many messages as there are connections), or it is taken back for a while. The rate is told
from connections and the time that a transaction takes (Little's law): counted, it would jump with each cluster of replies.
"""

from __future__ import annotations

FIRST = 5
SHORTEST_ROUND_S = 0.25
WORTH = 0.3  # of what a doubling promises must come true
CONTENT_S = 5.0  # after a doubling that was not worth it


class Concurrency:
    def __init__(self, most: int) -> None:
        self.wanted = min(FIRST, most)
        self._most = most
        self._before: tuple[int, float] | None = None  # connections and rate before the last doubling
        self._content_until = 0.0
        self._round_start: float | None = None
        self._count = 0

    def completed(self, now: float, *, connections: int, pace_s: float, is_behind: bool) -> None:
        """A transaction ended. `pace_s`: what one takes. `is_behind`: more waits than these connections work off soon."""
        if not is_behind or self._round_start is None:
            self._round_start, self._count = now, 0
            return
        self._count += 1
        if self._count < connections or now - self._round_start < SHORTEST_ROUND_S:
            return
        self._round_start, self._count = now, 0
        rate = connections / pace_s
        if self._before is not None and not self._was_worth_it(connections, rate):
            self.wanted, self._before = self._before[0], None
            self._content_until = now + CONTENT_S
        elif connections >= self.wanted:  # else there are more to be opened yet
            self._before = None
            if now >= self._content_until and connections < self._most:
                self._before = (connections, rate)
                self.wanted = min(connections * 2, self._most)

    def _was_worth_it(self, connections: int, rate: float) -> bool:
        assert self._before is not None
        connections_before, rate_before = self._before
        return rate >= rate_before * (1 + WORTH * (connections / connections_before - 1))
