"""How many connections to a group are worth having: doubled while that brings more messages a second. No I/O.

Connections hide the time that an exchanger takes over a message. Beyond what hides it they only cost: where we ourselves, or
the exchanger, are at our limit already, more of them bring nothing. So each doubling has to show its worth in the round
after it (twice as many messages as there are connections), or it is taken back for a while.
"""

from __future__ import annotations

FIRST = 5
SHORTEST_ROUND_S = 0.25
WORTH = 1.3  # the rate must grow so much for a doubling to be kept
CONTENT_S = 5.0  # after a doubling that was not worth it


class Concurrency:
    def __init__(self, most: int) -> None:
        self.wanted = min(FIRST, most)
        self._most = most
        self._before: tuple[int, float] | None = None  # connections and rate before the last doubling
        self._content_until = 0.0
        self._round_start: float | None = None
        self._count = 0

    def completed(self, now: float, *, is_behind: bool) -> None:
        """A transaction ended. `is_behind`: more waits than these connections work off soon."""
        if not is_behind or self._round_start is None:
            self._round_start, self._count = now, 0
            return
        self._count += 1
        elapsed = now - self._round_start
        if self._count < 2 * self.wanted or elapsed < SHORTEST_ROUND_S:
            return
        rate = self._count / elapsed
        self._round_start, self._count = now, 0
        if self._before is not None and rate < self._before[1] * WORTH:
            self.wanted, self._before = self._before[0], None
            self._content_until = now + CONTENT_S
        elif now >= self._content_until and self.wanted < self._most:
            self._before = (self.wanted, rate)
            self.wanted = min(self.wanted * 2, self._most)
        else:
            self._before = None
