"""Which lanes to claim from, and when. No I/O; the caller brings the time (`time.monotonic()` seconds).

A lane is *ready* when something may be due in it. Ready lanes are taken in turn between organizations. Who takes one says
afterwards what was found: more (ready again), or nothing more. Lanes with something due later wait in a heap of timers.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

from relay.delivery.fair import FairQueue
from relay.lanes import Lane


@dataclass(slots=True, eq=False)
class LaneState:
    lane: Lane
    is_queued: bool = False  # ready, parked, or just being claimed from
    is_woken: bool = False  # again, while it was being claimed from
    due_at: float | None = None  # a timer stands for this moment
    looks_ahead: bool = False  # once it is at rest: there may be more in it that has its time soon
    awake_until: float = 0.0  # so long further mail needs a nudge only
    held: int = 0  # recipients in our hands


class Schedule:
    def __init__(self) -> None:
        self._lanes: dict[Lane, LaneState] = {}
        self._ready: FairQueue[LaneState] = FairQueue()
        self._timers: list[tuple[float, int, LaneState]] = []
        self._numbers = itertools.count()

    def __contains__(self, lane: Lane) -> bool:
        return lane in self._lanes

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def ready(self) -> int:
        """How many lanes are."""
        return len(self._ready)

    def state(self, lane: Lane) -> LaneState:
        state = self._lanes.get(lane)
        if state is None:
            state = self._lanes[lane] = LaneState(lane)
        return state

    def wake(self, lane: Lane, weight: int, awake_until: float = 0.0) -> None:
        """Something may be due in it now."""
        state = self.state(lane)
        state.awake_until = max(state.awake_until, awake_until)
        if state.is_queued:
            state.is_woken = True
        else:
            self.make_ready(state, weight)

    def look_ahead(self, lane: Lane) -> None:
        """Only the first of what waits in it is known."""
        self.state(lane).looks_ahead = True

    def wake_at(self, lane: Lane, moment: float) -> None:
        """Something will be due in it then."""
        state = self.state(lane)
        if state.due_at is None or moment < state.due_at:
            state.due_at = moment
            heapq.heappush(self._timers, (moment, next(self._numbers), state))

    def make_ready(self, state: LaneState, weight: int) -> None:
        state.is_queued, state.is_woken = True, False
        self._ready.push(state.lane.organization_id, state, weight)

    def pop_ready(self) -> LaneState:
        """The next in turn, to be claimed from, parked, or handed to `rest`. It counts as queued until then."""
        state = self._ready.pop()
        state.is_woken = False
        return state

    def rest(self, state: LaneState, weight: int) -> None:
        """Nothing more was found in it; unless it was woken meanwhile it waits for the next wake-up."""
        state.is_queued = False
        if state.is_woken:
            self.make_ready(state, weight)

    def pop_due(self, now: float) -> list[Lane]:
        """The lanes whose timers have run out."""
        due = []
        while self._timers and self._timers[0][0] <= now:
            moment, _, state = heapq.heappop(self._timers)
            if state.due_at == moment:
                state.due_at, state.looks_ahead = None, True
                due.append(state.lane)
        return due

    def next_timer(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def forget_idle(self, now: float) -> None:
        """Lanes that wait for nothing take no room."""
        for lane, state in list(self._lanes.items()):
            if not (state.is_queued or state.held or state.due_at is not None or state.awake_until > now):
                del self._lanes[lane]
