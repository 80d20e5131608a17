"""docs/retries-and-reasons.md says what the code does; its tables of events and reasons are made of it (`test_docs.py`)."""

import re
from pathlib import Path

import pytest

from events.models import EventType
from events.reasons import REASONS, Reason, suppresses
from events.vocabulary import WORDS
from relay.delivery.retry import schedule
from relay.models import RecipientState

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "retries-and-reasons.md").read_text()
LINES = PAGE.splitlines()


@pytest.mark.parametrize("state", RecipientState)
def test_every_state_is_explained(state: RecipientState) -> None:
    name = "outcome unknown" if state == RecipientState.UNKNOWN_OUTCOME else state.label.lower()
    assert any(line.startswith(f"| {name} | ") for line in LINES)


def test_there_is_a_word_for_every_event_and_every_state() -> None:
    assert set(WORDS) == set(EventType)
    states = {word.type.value for word in WORDS.values() if word.is_state}
    assert states == set(RecipientState.values)


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_every_reason_has_advice_and_can_be_given_as_a_cause(reason: Reason) -> None:
    assert re.search(r"\w{3,}.*\.$", reason.advice)
    assert reason.advice != reason.title
    assert re.match(r"(the|a|an|no|our|its|it|we|encryption|DNS) .*", reason.because)
    assert not reason.because.endswith(".")


def test_reasons_that_code_gives_are_in_the_table() -> None:
    """Whatever is written as a reason anywhere in the mail path."""
    code = "\n".join(path.read_text() for path in (ROOT / "relay").rglob("*.py"))
    raised = r"(?:RoutingFailed|ConversationFailed|SenderGone|Refusal|_HandshakeFailed)\(\s*\"([a-z_]+)\""
    given = set(re.findall(raised, code)) | set(re.findall(r"\breason[:= ]+\"([a-z_0-9]+)\"", code))
    assert {"unreachable", "tls_required", "sender_gone", "outcome_unknown"} <= given
    assert given - {"manual", "complaint"} <= set(REASONS)


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
