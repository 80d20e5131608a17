"""A worker that is told to end, and one that hangs: what each had in hand reaches its recipients, by whom and how is told."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.arrivals import Arrivals
from tests.crash import SETTINGS, Ends, Load, crashing, wait_all_ended
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("worker ends")

LONG_LEASE_S = 600  # longer than the test: what waits for a lease to end fails it
SOON_S = 90.0
ENDLESS_S = 60.0  # an exchanger thinks about DATA; nobody who ends waits for that


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals(1.0, random.Random(7))


@dataclass
class Patient:
    """A platform that never takes over what another worker holds, and who gets its mail."""

    platform: Platform
    arrivals: Arrivals


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    arrivals = Arrivals(1.0, random.Random(7))
    with crashing(arrivals, LEASE_SECONDS=str(LONG_LEASE_S)) as platform:
        yield Patient(platform, arrivals)


def load_of(platform: Platform, messages: int, spread_s: float) -> Load:
    credentials = [(platform.demo["SMTP_USER"], platform.demo["SMTP_PASSWORD"])]
    return Load(platform, credentials, messages, spread_s, random.Random(7))


def terminate_worker(platform: Platform) -> float:
    """As a deployment does; returns how long it took."""
    pid, started = platform.children["worker"], time.monotonic()
    os.kill(pid, signal.SIGTERM)
    platform.wait_restarted("worker", pid)
    return time.monotonic() - started


def attempts_of_all(platform: Platform) -> set[int]:
    with platform.database() as connection:
        return {row[0] for row in connection.execute("SELECT DISTINCT attempts FROM relay_recipient")}


def test_a_worker_that_is_told_to_end_finishes_what_it_is_at_and_returns_the_rest(patient: Patient) -> None:
    platform, arrivals = patient.platform, patient.arrivals
    load = load_of(platform, 350, 6.0)
    with load.running():
        for number in (1, 2):
            wait_for(lambda n=number: arrivals.in_hand > 10 and load.messages_accepted > n * 100, "load")  # type: ignore[misc]
            terminate_worker(platform)
    wait_all_ended(platform, SOON_S)
    check_nothing_shows(patient)
    assert len(load.accepted) >= 350
    assert set(load.accepted) <= set(arrivals.of)


def stop_the_worker(platform: Platform) -> None:
    assert terminate_worker(platform) < ENDLESS_S


def stop_everything(platform: Platform) -> None:
    """As Ctrl-C does: within its ten seconds."""
    assert platform.stop() == 0
    assert "worker did not stop in time" not in platform.log.rpartition("stopping")[2]
    platform.start()


@pytest.mark.parametrize("stop", [stop_the_worker, stop_everything])
def test_what_takes_too_long_returns_to_the_queue_as_if_it_had_not_been_begun(
    patient: Patient, stop: Callable[[Platform], None]
) -> None:
    platform, arrivals = patient.platform, patient.arrivals
    arrivals.before_content_s = ENDLESS_S
    load = load_of(platform, 60, 1.0)
    with load.running():
        wait_for(lambda: arrivals.in_hand > 1 and load.is_complete, "conversations wait for the exchanger")
    arrivals.before_content_s = 0.0  # for those that come next
    stop(platform)
    wait_all_ended(platform, SOON_S)
    check_nothing_shows(patient)


def check_nothing_shows(patient: Patient) -> None:
    """All is delivered, at the first attempt, as if no worker had ended."""
    platform, arrivals = patient.platform, patient.arrivals
    ends = Ends.of(platform)
    assert set(ends.states.values()) == {"delivered"}
    assert set(arrivals.of) == set(ends.states)
    assert set(arrivals.of.values()) == {1}
    assert ends.doubts == 0
    assert attempts_of_all(platform) == {1}
    assert ends.disagreements == []


def test_what_is_delivered_while_the_database_is_away_is_told_when_it_is_back(arrivals: Arrivals) -> None:
    with crashing(arrivals) as platform:
        load = load_of(platform, 100, 1.0)
        with load.running():
            wait_for(lambda: load.is_complete and arrivals.in_hand > 3, "conversations are under way")
        away_until = time.monotonic() + 2 * float(SETTINGS["LEASE_SECONDS"])
        while time.monotonic() < away_until:
            if "postgres" in platform.children:
                platform.wait_restarted("postgres", platform.kill("postgres"))
        wait_all_ended(platform, SOON_S)
        ends = Ends.of(platform)
        assert set(ends.states.values()) == {"delivered"}
        assert set(arrivals.of.values()) == {1}
        assert ends.doubts == 0
        assert ends.disagreements == []


def test_what_a_hanging_worker_holds_is_taken_over_after_its_lease(arrivals: Arrivals) -> None:
    with crashing(arrivals, WORKER_PROCESSES="2") as platform:
        both = {platform.children["worker"], platform.children["worker-2"]}
        load = load_of(platform, 300, 3.0)
        with load.running():
            arrivals.before_content_s = 5.0  # so that it stops where all but the content is said
            wait_for(lambda: arrivals.in_hand > 10 and load.messages_accepted > 100, "load")
            hanging = platform.children["worker-2"]
            os.kill(hanging, signal.SIGSTOP)
            arrivals.before_content_s = 0.0
            wait_for(lambda: load.is_complete, "the load is taken")
        try:
            wait_all_ended(platform, SOON_S)
        finally:
            os.kill(hanging, signal.SIGCONT)
        before = dict(arrivals.of)
        ends = Ends.of(platform)
        assert set(ends.states.values()) == {"delivered"}
        assert ends.doubts > 0
        assert {address for address, count in before.items() if count > 1} <= ends.doubtful
        # When it wakes it finds its leases lost: it sends nothing of what it holds, and tells no outcome.
        wait_for(lambda: arrivals.in_hand == 0, "what it was at has ended")
        time.sleep(3)  # there is nothing to be seen of what it does not do
        assert {platform.children["worker"], platform.children["worker-2"]} == both
        assert sum(arrivals.of.values()) - sum(before.values()) <= 1  # where it stopped between the look and the dot
        assert platform.wait_event(platform.send("after@waking.test"), "delivered") == ["submitted", "delivered"]
        later = Ends.of(platform)
        assert later.states == ends.states | {"after@waking.test": "delivered"}
        assert later.doubts == ends.doubts
        assert later.disagreements == []
