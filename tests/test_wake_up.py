"""When a door wakes a lane through Celery, and when a nudge is enough."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from relay.lanes import Lane
from relay.submission import wake_up
from relay.submission.wake_up import AWAKE_S, RENEW_S, WakeUps

LANE, OTHER = Lane(UUID(int=1), "example.test"), Lane(UUID(int=2), "example.test")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wake_up, "time", clock)
    return clock


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(WakeUps, "_send_now", lambda self, lanes: names.extend(lanes))
    return names


def test_a_lane_at_work_is_woken_again_before_it_may_sleep_and_nudged_meanwhile(clock: Clock, sent: list[str]) -> None:
    wakes = WakeUps()

    def by_nudge(*lanes: Lane, tasks: int) -> set[Lane]:
        reached = wakes.send(set(lanes))
        deadline = time.monotonic() + 5
        while len(sent) < tasks and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(sent) == tasks
        return reached

    assert by_nudge(LANE, tasks=1) == set()  # nobody listens yet
    clock.now += RENEW_S - 0.1
    assert by_nudge(LANE, OTHER, tasks=2) == {LANE}
    clock.now += 0.2
    assert by_nudge(LANE, tasks=3) == {LANE}  # renewed, and the nudge is there long before Celery
    clock.now += AWAKE_S - 0.1
    assert wakes.is_awake(LANE)
    clock.now += 0.2
    assert not wakes.is_awake(LANE)
    assert by_nudge(LANE, tasks=4) == set()
    wakes.stop()
    assert sent == [str(LANE), str(OTHER), str(LANE), str(LANE)]


def test_the_engine_heeds_nudges_for_longer_than_a_door_relies_on_them() -> None:
    from relay.delivery import engine

    assert RENEW_S < AWAKE_S < engine.AWAKE_S
