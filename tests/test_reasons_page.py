"""docs/retries-and-reasons.md says what the code does."""

from pathlib import Path

import pytest

from events.reasons import REASONS, Reason, suppresses
from relay.delivery.retry import schedule
from relay.models import RecipientState

PAGE = (Path(__file__).parent.parent / "docs" / "retries-and-reasons.md").read_text()
LINES = PAGE.splitlines()


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert f"| `{reason.code}` | {reason.title} | {reason.advice} |" in LINES


@pytest.mark.parametrize("state", RecipientState)
def test_every_state_is_explained(state: RecipientState) -> None:
    name = "outcome unknown" if state == RecipientState.UNKNOWN_OUTCOME else state.label.lower()
    assert any(line.startswith(f"| {name} | ") for line in LINES)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reasons_pauses_are_told(reason: str) -> None:
    pauses = ", ".join(duration(seconds) for seconds in schedule(reason))
    listed = [line for line in LINES if line.endswith(f" | {pauses} |")]
    assert len(listed) == 1
    assert f"`{reason}`" in listed[0] or "every other reason" in listed[0]


def test_what_suppresses_is_told() -> None:
    section = PAGE.partition("## Suppression")[2].partition("##")[0]
    assert {reason for reason in REASONS if f"`{reason}`" in section} == {r for r in REASONS if suppresses(r)}


def duration(seconds: int) -> str:
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
