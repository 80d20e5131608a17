"""How pages speak of what can be done with mail in the queue. No I/O."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from relay.acting.actions import Acted, Action
from relay.finding.filters import OPEN, OPEN_STATES, RecipientFilter
from relay.models import RecipientState


@dataclass(frozen=True, slots=True)
class Words:
    label: str  # of the button that asks
    confirm: str  # of the button that does
    icon: str
    question: str  # completed by whom it is about, and a question mark
    meaning: str
    done: str  # completes “3 recipients are …”
    idle: str  # nothing to do: why
    tone: str = "button-primary"
    label_for_all: str = ""  # empty: the label, and "all"

    @property
    def for_all(self) -> str:
        return self.label_for_all or f"{self.label} all"


WORDS = {
    Action.RETRY: Words(
        "Retry now", "Retry now", "rotate-cw", "Retry",
        "Delivery is tried at once, and not only when the next try is due. Where the receiver has asked us to come back "
        "later, trying again and again makes it more suspicious.",
        "tried again now", "None of them waits for a later try.", label_for_all="Retry all now",
    ),
    Action.HOLD: Words(
        "Hold", "Hold", "circle-pause", "Hold",
        "Nothing is tried until you release it. What is still held when its time is over ends as expired.",
        "held", "None of them is in the queue and not held already.",
    ),
    Action.RELEASE: Words(
        "Release", "Release", "circle-play", "Release",
        "Delivery goes on at once, or at the time for which it is scheduled.",
        "released", "None of them is held by somebody; what PlugSend holds goes on by itself when its reason is gone.",
    ),
    Action.CANCEL: Words(
        "Cancel", "Cancel delivery", "circle-slash", "Cancel delivery to",
        "It is never delivered. This cannot be undone; what has been delivered already cannot be called back.",
        "cancelled", "None of them is in the queue any more.", tone="button-danger",
    ),
}  # fmt: skip

# Of recipients that wait for their time, a retry means this.
SEND_NOW = Words(
    "Send now", "Send now", "send", "Send now to",
    "It is sent at once, and not only at the time for which it is scheduled.",
    "sent now", "None of them waits for its time.", label_for_all="Send all now",
)  # fmt: skip

STATE_CHOICES = [("", "Any state"), (OPEN, "In the queue"), *((s.value, s.label) for s in RecipientState)]


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody has just done, told on the page."""

    text: str
    is_good: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """An action with its words."""

    action: Action
    words: Words


def words_for(action: Action, *, scheduled: bool) -> Words:
    """`scheduled`: it is about recipients that wait for their time."""
    return SEND_NOW if scheduled and action is Action.RETRY else WORDS[action]


def in_order(actions: Set[Action], *, scheduled: bool = False) -> list[Offer]:
    """As their buttons stand beside each other."""
    return [Offer(action, words_for(action, scheduled=scheduled)) for action in Action if action in actions]


def actions_for(wanted: RecipientFilter) -> list[Offer]:
    """What may apply to recipients that match; none where nothing is asked for, lest somebody cancels everything."""
    if not wanted:
        return []
    if wanted.state == RecipientState.HELD:
        return in_order({Action.RELEASE, Action.CANCEL})
    if wanted.state in OPEN_STATES:
        return in_order({Action.RETRY, Action.HOLD, Action.CANCEL}, scheduled=wanted.state == RecipientState.SCHEDULED)
    return in_order(frozenset(Action)) if wanted.state in {"", OPEN} else []


def recipients(number: int, *, is_cut: bool = False) -> str:
    noun = "recipient" if number == 1 else "recipients"
    return f"more than {number - 1:,} {noun}" if is_cut else f"{number:,} {noun}"


def notice(action: Action, acted: Acted, *, scheduled: bool = False) -> Notice:
    """In words: what changed, what did not, and why."""
    words, verb = words_for(action, scheduled=scheduled), "is" if acted.changed == 1 else "are"
    text = f"{recipients(acted.changed).capitalize()} {verb} {words.done}."
    if not acted.changed:
        text = "Nothing was changed." if acted.busy else f"Nothing was changed. {words.idle}"
    if acted.busy:
        verb = "is" if acted.busy == 1 else "are"
        text += f" {recipients(acted.busy).capitalize()} {verb} being delivered right now and {verb} not touched."
    return Notice(text, is_good=acted.changed > 0)
