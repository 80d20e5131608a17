"""A recipient's course told as a story: how long each step of an attempt took, what happens next, when and why. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from events.models import Event, EventType
from events.reasons import REASONS
from relay.delivery.retry import retry_delay
from relay.models import ExchangerGroup, Recipient, RecipientState

# In the order in which they come: word in `phases_ms`, name, what it is.
PHASES = {
    "wait": ("Waiting", "for its turn, at the pace that the receiver bears"),
    "dns": ("DNS", "addresses of the exchangers; MX records are known before an attempt begins"),
    "policy": ("TLS policy", "what MTA-STS and DANE ask for"),
    "connect": ("Connect", "TCP"),
    "greeting": ("Greeting", "the server's first line, and EHLO"),
    "tls": ("TLS", "STARTTLS, the handshake, and EHLO once more"),
    "mail": ("MAIL", "the sender is named"),
    "rcpt": ("RCPT", "the recipients are named"),
    "data": ("DATA", "the message, and the answer to it"),
}
PREPARING = ("Preparing", "reading and signing the message, and all that is not measured apart")
FROM_HERE = ("mail", "rcpt", "data")  # most of it happens before these
SHOWN_FROM = 0.005  # the share of the whole from which on what is left over is told


@dataclass(frozen=True, slots=True)
class Phase:
    """`start`, `share`: of the whole attempt, in percent."""

    name: str
    meaning: str
    milliseconds: float
    start: float
    share: float


def phases(durations: dict[str, float], duration_ms: float | None) -> list[Phase]:
    """The steps of an attempt one after the other, and what is left of its time. `durations`: `phases_ms` of its event.

    Steps may repeat (several exchangers), so each is told as the sum.
    """
    order = [*sorted(durations.keys() - PHASES.keys()), *(name for name in PHASES if name in durations)]
    steps = [(*PHASES.get(name, (name, "")), durations[name]) for name in order]
    measured = sum(durations.values())
    rest = (duration_ms or 0) - measured
    if rest > 0 and rest > SHOWN_FROM * (duration_ms or 0):
        place = sum(name not in FROM_HERE for name in order)
        steps.insert(place, (*PREPARING, round(rest, 2)))
    whole = max(measured, duration_ms or 0) or 1.0
    told, start = [], 0.0
    for name, meaning, milliseconds in steps:
        share = 100 * milliseconds / whole
        told.append(Phase(name, meaning, milliseconds, round(start, 2), round(share, 2)))
        start += share
    return told


Step = Literal["delivering", "sends", "paused", "probe", "retries", "waits", "held"]


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next for a recipient that has not ended.

    `because` completes “because …”; empty: there is nothing to explain. `then`: how long after `at` another attempt would
    follow, should that one fail; None where the retry period would be over, or where that is not how it goes on.
    """

    step: Step
    at: datetime | None
    because: str
    until: datetime
    attempt: int = 0  # the number of that attempt
    then: timedelta | None = None

    @property
    def is_last(self) -> bool:
        return self.step == "retries" and self.then is None


def what_next(
    recipient: Recipient,
    events: Sequence[Event],
    suspension: ExchangerGroup | None,
    now: datetime,
    *,
    scale: float,
    names_people: bool = True,
    is_paused: bool = False,
) -> Next | None:
    """None: it has ended.

    `is_paused`: operators let nothing go to its destination. `scale`: of all pauses. `names_people`: whether to tell who asked
    for something.
    """
    at, until = recipient.next_attempt_at, recipient.expires_at
    if at is None:
        return None
    if recipient.state == RecipientState.HELD:
        return Next("held", None, "", until)
    if recipient.leased_by is not None:
        return Next("delivering", None, "", until, recipient.attempts)
    if recipient.state == RecipientState.SCHEDULED and at > now:
        return Next("sends", at, "", until)
    attempt = recipient.attempts + 1
    if is_paused:
        return Next("paused", None, "", until, attempt)
    if suspension and suspension.suspended_until and suspension.suspended_until > at:
        return Next("probe", suspension.suspended_until, _because(suspension.reason), until, attempt)
    asked = _who_asked(events, names_people=names_people)
    if not recipient.attempts:
        return Next("waits", None, asked, until, attempt)
    pause = retry_delay(attempt, recipient.reason, chance=0.5, scale=scale)
    then = pause if at + pause <= until else None
    return Next("retries", at, asked or _because(recipient.reason), until, attempt, then)


@dataclass(frozen=True, slots=True)
class CameBack:
    """A bounce that came by mail. `after`: how long after a server had taken the message; None where that was not known."""

    reported_by: str
    after: timedelta | None


def came_back(events: Sequence[Event]) -> CameBack | None:
    """None: it did not."""
    delivered_at: datetime | None = None
    for event in events:
        if event.type == EventType.DELIVERED:
            delivered_at = event.occurred_at
        elif event.type == EventType.BOUNCED and "reported_by" in event.detail:
            return CameBack(event.detail["reported_by"], event.occurred_at - delivered_at if delivered_at else None)
    return None


def _because(reason: str) -> str:
    return REASONS[reason].because if reason in REASONS else ""


def _who_asked(events: Sequence[Event], *, names_people: bool) -> str:
    """Of what comes next, where it was a person's or a program's wish."""
    last = events[-1] if events else None
    if last is None or last.type not in (EventType.RETRY_REQUESTED, EventType.RELEASED):
        return ""
    by: Any = last.detail.get("by", "")
    who = "an operator of PlugSend" if by == "operator" else by if by and names_people else "the sender"
    return f"{who} {'released it' if last.type == EventType.RELEASED else 'asked for it'}"
