"""What follows from a look at a domain's records: tables of looks over time. No database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.course import (
    Seen,
    Sight,
    Standing,
    Step,
    Turn,
    sight_of,
    step,
    stops_at,
    watched_every,
)

START = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
WHOLE, LOST, UNCLEAR = Sight.WHOLE, Sight.LOST, Sight.UNCLEAR


def after(text: str) -> timedelta:
    """`10m`, `72h`, `3d`."""
    return timedelta(**{{"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[text[-1]]: float(text[:-1])})


@pytest.mark.parametrize(
    ("statuses", "sight"),
    [
        (["found", "found"], WHOLE),
        (["found", "missing"], LOST),
        (["different", "unreachable"], LOST),
        (["found", "unreachable"], UNCLEAR),
        (["found", "propagating"], UNCLEAR),
        (["found", "unchecked"], UNCLEAR),
        ([], UNCLEAR),
    ],
)
def test_required_records_are_seen_together(statuses: list[str], sight: Sight) -> None:
    assert sight_of(statuses) == sight


# (when, what is seen) -> what happens and what the status is then
Look = tuple[str, Sight, Turn | None, str]

COURSES: dict[str, tuple[str, list[Look]]] = {
    "it waits until all is there": ("pending", [
        ("1m", LOST, None, "pending"),
        ("2m", UNCLEAR, None, "pending"),
        ("3m", WHOLE, Turn.VERIFIED, "verified"),
        ("27h", WHOLE, None, "verified"),
    ]),
    "one bad look is no loss": ("verified", [
        ("1h", LOST, Turn.FAILING, "verified"),
        ("70m", WHOLE, Turn.RECOVERED, "verified"),
        ("26h", LOST, Turn.FAILING, "verified"),
    ]),
    "two bad looks that follow each other closely are one": ("verified", [
        ("1h", LOST, Turn.FAILING, "verified"),
        ("61m", LOST, None, "verified"),
        ("69.9m", LOST, None, "verified"),
        ("70m", LOST, Turn.WARNED, "verified"),
    ]),
    "it stops 72 h after the first bad look": ("verified", [
        ("0h", LOST, Turn.FAILING, "verified"),
        ("10m", LOST, Turn.WARNED, "verified"),
        ("71.9h", LOST, None, "verified"),
        ("72h", LOST, Turn.STOPPED, "stopped"),
        ("73h", LOST, None, "stopped"),
        ("80h", WHOLE, Turn.VERIFIED, "verified"),
        ("104h", WHOLE, None, "verified"),
    ]),
    "silence never stops it, and brings nothing back": ("verified", [
        ("0h", UNCLEAR, None, "verified"),
        ("90h", UNCLEAR, None, "verified"),
        ("100h", LOST, Turn.FAILING, "verified"),
        ("101h", UNCLEAR, None, "verified"),
        ("102h", LOST, Turn.WARNED, "verified"),
        ("173h", UNCLEAR, None, "verified"),
        ("174h", UNCLEAR, None, "verified"),
        ("175h", LOST, Turn.STOPPED, "stopped"),
        ("176h", UNCLEAR, None, "stopped"),
    ]),
    "owners who were warned late have a day": ("verified", [
        ("0h", LOST, Turn.FAILING, "verified"),
        ("90h", LOST, Turn.WARNED, "verified"),
        ("91h", LOST, None, "verified"),
        ("114h", LOST, Turn.STOPPED, "stopped"),
    ]),
    "what was warned of and is back is all forgotten": ("verified", [
        ("0h", LOST, Turn.FAILING, "verified"),
        ("10m", LOST, Turn.WARNED, "verified"),
        ("71h", WHOLE, Turn.RECOVERED, "verified"),
        ("73h", LOST, Turn.FAILING, "verified"),
        ("74h", LOST, Turn.WARNED, "verified"),
        ("75h", LOST, None, "verified"),
    ]),
    "what was taken over comes back when all is there": ("taken_over", [
        ("1h", LOST, None, "taken_over"),
        ("2h", WHOLE, Turn.VERIFIED, "verified"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", COURSES)
def test_course_of_looks(name: str) -> None:
    status, looks = COURSES[name]
    standing = Standing(status, START)
    for when, sight, turn, then in looks:
        taken = step(standing, Seen(sight, START + after(when)))
        assert (taken.turn, taken.standing.status) == (turn, then), when
        standing = taken.standing


def test_times_of_a_loss_are_shortened_together() -> None:
    standing = Standing("verified", START)
    seen = [(at, step_) for at, step_ in _by_itself(standing, LOST, until=after("2h"), scale=0.01) if step_.turn]
    assert [(step_.turn, at - START) for at, step_ in seen] == [
        (Turn.FAILING, after("0s")),
        (Turn.WARNED, after("6s")),
        (Turn.STOPPED, after("2592s")),
    ]


def test_by_itself_it_looks_after_ten_minutes_then_hourly_and_when_it_is_to_stop() -> None:
    gaps = [step_.next_check_at - at for at, step_ in _by_itself(Standing("verified", START), LOST, until=after("71h"))]
    assert gaps[:3] == [after("10m"), after("1h"), after("1h")]
    turns = [
        (step_.turn, at - START) for at, step_ in _by_itself(Standing("verified", START), LOST, until=after("73h"))
    ]
    assert (Turn.STOPPED, after("72h")) in turns


def _by_itself(
    standing: Standing, sight: Sight, *, until: timedelta, scale: float = 1.0
) -> list[tuple[datetime, Step]]:
    """Each look when it is due."""
    at, looks = START, []
    while at <= START + until:
        taken = step(standing, Seen(sight, at), scale=scale)
        looks.append((at, taken))
        standing, at = taken.standing, taken.next_check_at
    return looks


# ---- When next -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "age", "wait"),
    [
        ("pending", "0s", "15s"),
        ("pending", "5m", "15s"),
        ("pending", "1h", "3m"),
        ("pending", "20h", "1h"),
        ("pending", "5d", "6h"),
        ("pending", "30d", "1d"),
        ("stopped", "0s", "15s"),
        ("stopped", "1h", "3m"),
        ("taken_over", "400d", "1d"),
    ],
)
def test_looks_at_what_waits_grow_rarer_and_never_end(status: str, age: str, wait: str) -> None:
    taken = step(Standing(status, START), Seen(LOST, START + after(age)))
    assert taken.next_check_at - (START + after(age)) == after(wait)


@pytest.mark.parametrize(
    ("status", "visible", "wait"),
    [
        ("pending", "4m", "4m"),
        ("pending", "2s", "15s"),
        ("pending", "3d", "1h"),
        ("verified", "20m", "20m"),
        ("verified", "3d", "1h"),
    ],
)
def test_what_is_published_is_looked_for_when_caches_have_forgotten(status: str, visible: str, wait: str) -> None:
    taken = step(Standing(status, START), Seen(UNCLEAR, START, START + after(visible)))
    assert taken.next_check_at - START == after(wait)


def test_verified_domains_are_spread_over_the_day() -> None:
    waits = [
        step(Standing("verified", START), Seen(WHOLE, START), chance=chance).next_check_at - START
        for chance in (0.0, 0.5, 0.999)
    ]
    assert waits[0] == after("24h")
    assert sorted(set(waits), reverse=True) == waits
    assert waits[2] > after("21h")


@pytest.mark.parametrize(
    ("open_for", "every"), [("0s", "5s"), ("5m", "5s"), ("30m", "30s"), ("3h", "3m"), ("9d", "5m")]
)
def test_a_page_that_stays_open_slows_down(open_for: str, every: str) -> None:
    assert watched_every(after(open_for)) == after(every)


# ---- Whatever comes --------------------------------------------------------------------------------------------------

LOOKS = st.lists(st.tuples(st.sampled_from(list(Sight)), st.integers(1, 200 * 3600)), max_size=30)


@given(LOOKS, st.sampled_from(["pending", "verified", "stopped", "taken_over"]))
def test_nothing_stops_without_a_warning_and_its_time(looks: list[tuple[Sight, int]], status: str) -> None:
    standing, at = Standing(status, START), START
    for sight, gap_s in looks:
        at += timedelta(seconds=gap_s)
        before, taken = standing, step(standing, Seen(sight, at))
        standing = taken.standing
        assert taken.next_check_at > at
        assert (taken.turn is None) == (standing == before)
        if taken.turn == Turn.STOPPED:
            assert sight == LOST
            assert before.warned_at
            assert before.failing_since
            assert before.warned_at - before.failing_since >= timedelta(minutes=10)
            assert at - before.failing_since >= timedelta(hours=72)
            assert at - before.warned_at >= timedelta(hours=24)
        if standing.status == "verified" and before.status != "verified":
            assert sight == WHOLE
        if standing.status == "verified" and standing.warned_at is None:
            assert stops_at(standing) is None
