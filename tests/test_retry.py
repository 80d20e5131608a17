"""When a deferred recipient is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.retry import retry_delay

CHANCES = st.floats(0, 1, exclude_max=True)


@given(
    attempt=st.integers(1, 200), chance=CHANCES, reason=st.sampled_from(["", "greylisted", "policy", "mailbox_full"])
)
def test_a_delay_is_positive_and_at_most_a_shift(attempt: int, chance: float, reason: str) -> None:
    assert 0 < retry_delay(attempt, reason, chance=chance).total_seconds() <= 28800 * 1.2


@pytest.mark.parametrize("reason", ["", "greylisted", "policy", "mailbox_full", "rate_limited"])
def test_delays_grow(reason: str) -> None:
    delays = [retry_delay(attempt, reason, chance=0.5) for attempt in range(1, 12)]
    assert delays == sorted(delays)
    assert delays[0] < delays[-1]


def test_greylisting_is_tried_again_sooner_than_a_full_mailbox() -> None:
    assert retry_delay(1, "greylisted", chance=0.99) < retry_delay(1, "mailbox_full", chance=0)


@given(chance=CHANCES)
def test_jitter_keeps_within_a_fifth(chance: float) -> None:
    middle = retry_delay(3, "", chance=0.5)
    assert 0.8 * middle <= retry_delay(3, "", chance=chance) <= 1.2 * middle


def test_the_sandbox_shortens_all_delays() -> None:
    assert retry_delay(1, "", chance=0.5, scale=0.1) == retry_delay(1, "", chance=0.5) * 0.1
