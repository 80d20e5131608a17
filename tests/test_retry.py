"""When a deferred recipient is tried again."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.reasons import REASONS
from relay.delivery.retry import HORIZON, JITTER, retry_delay

CHANCES = st.floats(0, 1, exclude_max=True)
ANY_REASON = sorted({"", *REASONS})


def attempts_in_horizon(reason: str, chance: float) -> int:
    attempt, elapsed = 1, timedelta()
    while (elapsed := elapsed + retry_delay(attempt, reason, chance=chance)) <= HORIZON:
        attempt += 1
    return attempt


@given(attempt=st.integers(1, 30_000), chance=CHANCES, reason=st.sampled_from(ANY_REASON))
def test_a_delay_is_at_least_some_seconds_and_at_most_a_shift(attempt: int, chance: float, reason: str) -> None:
    assert 45 <= retry_delay(attempt, reason, chance=chance).total_seconds() <= 28800 * 1.2


@pytest.mark.parametrize("reason", ANY_REASON)
def test_delays_grow(reason: str) -> None:
    delays = [retry_delay(attempt, reason, chance=0.5) for attempt in range(1, 12)]
    assert delays == sorted(delays)
    assert delays[0] < delays[-1]


@pytest.mark.parametrize(
    ("reason", "fewest", "most"),
    [
        ("greylisted", 30, 60),
        ("", 18, 32),
        ("unreachable", 18, 32),
        ("exchanger_busy", 18, 32),
        ("outcome_unknown", 15, 30),
        ("rate_limited", 15, 30),
        ("mailbox_busy", 15, 30),
        ("mailbox_full", 8, 15),
        ("policy", 10, 20),
        ("ip_listed", 10, 20),
    ],
)
def test_neither_too_few_nor_too_many_attempts_in_72_hours(reason: str, fewest: int, most: int) -> None:
    assert fewest <= attempts_in_horizon(reason, 0.999) <= attempts_in_horizon(reason, 0) <= most


def test_every_kind_of_reply_has_its_pace() -> None:
    """Even where chance favours the slower of two."""
    paces = ["greylisted", "outcome_unknown", "rate_limited", "policy", "mailbox_full"]
    first = [(retry_delay(1, reason, chance=0), retry_delay(1, reason, chance=0.999)) for reason in paces]
    assert all(latest < earliest for (_, latest), (earliest, _) in pairwise(first))


def test_the_second_retry_passes_a_greylist_of_five_minutes() -> None:
    assert sum((retry_delay(n, "greylisted", chance=0) for n in (1, 2)), timedelta()) > timedelta(minutes=5)


@given(attempt=st.integers(1, 100), chance=CHANCES)
def test_what_may_have_arrived_is_left_alone_for_five_minutes(attempt: int, chance: float) -> None:
    assert retry_delay(attempt, "outcome_unknown", chance=chance) >= timedelta(minutes=5)


@given(chance=CHANCES, reason=st.sampled_from(ANY_REASON))
def test_jitter_keeps_within_a_fifth(chance: float, reason: str) -> None:
    middle = retry_delay(3, reason, chance=0.5)
    assert (1 - JITTER) * middle <= retry_delay(3, reason, chance=chance) <= (1 + JITTER) * middle


def test_jitter_uses_all_its_room() -> None:
    spread = retry_delay(1, "", chance=0.9999) / retry_delay(1, "", chance=0)
    assert spread == pytest.approx(1.2 / 0.8, rel=0.01)


def test_the_sandbox_shortens_all_delays() -> None:
    assert retry_delay(1, "", chance=0.5, scale=0.1) == retry_delay(1, "", chance=0.5) * 0.1
