"""The words for what happens to a recipient: one table, which pages, REST and docs/retries-and-reasons.md all read.

The raw facts stand beside each event, in its `detail` (`events.log.Detail`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from events.models import EventType
from events.reasons import suppresses

BounceKind = Literal["hard", "soft"]


@dataclass(frozen=True, slots=True)
class Word:
    """`is_state`: from then on it is the recipient's state, until another such event."""

    type: EventType
    meaning: str
    is_state: bool = True


_WORDS = [
    Word(EventType.SUBMITTED, "Taken and stored; it waits for its first attempt."),
    Word(EventType.SCHEDULED, "It waits for the time at which it is to be sent (`send_at`)."),
    Word(EventType.DEFERRED, "An attempt failed for now. The next one has a time (`next_attempt_at`)."),
    Word(EventType.DELIVERED, "The receiver's server took it."),
    Word(EventType.BOUNCED, "Given up. Hard: the address or its domain is dead, and is suppressed. Soft: refused for another "
         "reason, or still deferred when it expired. It may come after `delivered`, when the receiver sends it back by mail."),
    Word(EventType.IN_DOUBT, "The connection or our process ended after the message and before the answer. It is tried again."),
    Word(EventType.UNKNOWN_OUTCOME, "In doubt, and never tried again, as the organization wished or because it expired."),
    Word(EventType.SUPPRESSED, "Not tried: the address is on the suppression list."),
    Word(EventType.CANCELLED, "Taken out of the queue by somebody before it was delivered."),
    Word(EventType.HELD, "Somebody stopped it; it waits until it is released."),
    Word(EventType.RELEASED, "What was held goes on from where it was.", is_state=False),
    Word(EventType.RETRY_REQUESTED, "Somebody asked to try at once.", is_state=False),
    Word(EventType.COMPLAINED, "The recipient reported it as spam. It was delivered, and stays so.", is_state=False),
    Word(EventType.UNSUBSCRIBED, "The recipient wants no more such mail. It was delivered, and stays so.", is_state=False),
    Word(EventType.DELAYED, "A server behind the receiver's reports that it could not pass it on yet, and keeps trying. It was "
         "delivered, and stays so.", is_state=False),
    Word(EventType.AUTO_REPLIED, "The mailbox answered by itself: out of office, say. It was delivered, and stays so.",
         is_state=False),
]  # fmt: skip

WORDS = {word.type: word for word in _WORDS}
# After these the recipient's state is what it was, but for `released`, which leads back to the one before.
CHANGE_NO_STATE = tuple(word.type.value for word in _WORDS if not word.is_state and word.type is not EventType.RELEASED)
# What a recipient, or a server on their side, does who has got the message.
AFTER_THE_END = (
    EventType.COMPLAINED.value,
    EventType.UNSUBSCRIBED.value,
    EventType.DELAYED.value,
    EventType.AUTO_REPLIED.value,
)


def bounce_kind(event_type: str, reason: str) -> BounceKind | None:
    """Hard: the address or its domain is dead. None: no bounce."""
    if event_type != EventType.BOUNCED:
        return None
    return "hard" if suppresses(reason) else "soft"
