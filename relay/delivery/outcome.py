"""From the end of an attempt to what is written: final or not, why, and when next. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from events.log import Detail, Dkim
from events.models import EventType
from events.reasons import suppresses
from relay.delivery.queue import Claimed, Lapsed, Outcome
from relay.delivery.replies import Reply, classify_reply
from relay.delivery.retry import retry_delay
from relay.delivery.routing import Hop, Route, RoutingFailed
from relay.delivery.trace import Trace
from relay.delivery.wire import ConversationFailed, Rejected
from relay.models import RecipientState

MOST_RECIPIENTS = 100  # in one transaction; RFC 5321, 4.5.3.1.8: so many every server takes


@dataclass(slots=True)
class Envelope:
    """Recipients of one message at one destination, who are handed over together."""

    message_id: UUID
    domain_id: UUID
    organization_id: UUID
    destination: str
    route: Route
    recipients: list[Claimed]


@dataclass(slots=True)
class Attempt:
    """What is gathered while an attempt goes on."""

    trace: Trace = field(default_factory=Trace)
    never_twice: bool = False
    hop: Hop | None = None
    return_path: str = ""
    dkim: Dkim | None = None

    def detail(self) -> Detail:
        detail: Detail = {"duration_ms": self.trace.duration_ms, "phases_ms": self.trace.phases_ms}
        if self.hop:
            detail["exchanger"] = {"host": self.hop.host, "address": self.hop.address, "port": self.hop.port}
        if self.trace.tls:
            detail["tls"] = self.trace.tls
        if self.return_path:
            detail["return_path"] = self.return_path
        if self.dkim:
            detail["dkim"] = self.dkim
        return detail


class CannotSign(Exception):
    """The message could not be prepared; our own fault, so it is tried again."""


class SenderGone(Exception):
    """The sending domain was removed or taken over: no mail may leave as it any more. `reason` as in events.reasons."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Chances:
    """What decides when to try again: `chance` draws from [0, 1)."""

    chance: Callable[[], float]
    scale: float  # of all delays


def delivered(attempt: Attempt, claimed: Claimed, reply: Reply) -> Outcome:
    return _outcome(attempt, claimed, RecipientState.DELIVERED, EventType.DELIVERED, reply=reply)


def suppressed(claimed: Claimed) -> Outcome:
    """Nothing was tried: the address is on the organization's list."""
    return Outcome(claimed, RecipientState.SUPPRESSED, EventType.SUPPRESSED, datetime.now(UTC), "suppressed")


def expired(claimed: Claimed) -> Outcome:
    """Its time was over before it could be tried (once more)."""
    return Outcome(claimed, RecipientState.BOUNCED, EventType.BOUNCED, datetime.now(UTC), "expired")


def sender_gone(claimed: Claimed, loss: SenderGone) -> Outcome:
    """No mail may leave as its sending domain any more."""
    return _outcome(Attempt(), claimed, RecipientState.BOUNCED, EventType.BOUNCED, loss.reason, error=str(loss))


def failed(attempt: Attempt, claimed: Claimed, error: Exception, chances: Chances) -> Outcome:
    """`error`: RoutingFailed, Rejected, ConversationFailed, CannotSign or SenderGone; others count as our own fault."""
    reply: Reply | None = None
    permanent = in_doubt = False
    text = str(error)
    match error:
        case Rejected(reply=reply):
            reason, permanent, text = classify_reply(reply), reply.is_permanent, ""
            if error.phase == "greeting":  # a refusal of us, not of the recipient: to be tried again, elsewhere first
                reason, permanent = "temporary_failure" if reason == "permanent_failure" else reason, False
        case RoutingFailed(reason=reason, permanent=permanent):
            pass
        case ConversationFailed(reason=reason, in_doubt=in_doubt, permanent=permanent):
            pass
        case SenderGone(reason=reason):
            permanent = True
        case _:
            reason = "cannot_sign" if isinstance(error, CannotSign) else "temporary_failure"
    if in_doubt:
        return _in_doubt(attempt, claimed, text, attempt.never_twice, chances)
    if permanent:
        return _outcome(attempt, claimed, RecipientState.BOUNCED, EventType.BOUNCED, reason, reply, text)
    next_attempt_at = _next(claimed, reason, chances)
    if next_attempt_at > claimed.expires_at:
        return _outcome(attempt, claimed, RecipientState.BOUNCED, EventType.BOUNCED, "expired", reply, text)
    return _outcome(attempt, claimed, RecipientState.DEFERRED, EventType.DEFERRED, reason, reply, text, next_attempt_at)


def lapsed(one: Lapsed, chances: Chances) -> Outcome:
    """The worker that had it died or lost the database."""
    text = "The process that was delivering ended before it could tell the outcome."
    outcome = _in_doubt(Attempt(), one.claimed, text, one.never_twice, chances)
    detail: Detail = {"error": text}
    if outcome.next_attempt_at:
        detail["next_attempt_at"] = outcome.next_attempt_at.isoformat()
    return replace(outcome, detail=detail)


def _next(claimed: Claimed, reason: str, chances: Chances) -> datetime:
    delay = retry_delay(claimed.attempt, reason, chance=chances.chance(), scale=chances.scale)
    return datetime.now(UTC) + delay


def _in_doubt(attempt: Attempt, claimed: Claimed, text: str, never_twice: bool, chances: Chances) -> Outcome:
    next_attempt_at = _next(claimed, "outcome_unknown", chances)
    if never_twice or next_attempt_at > claimed.expires_at:
        state, event = RecipientState.UNKNOWN_OUTCOME, EventType.UNKNOWN_OUTCOME
        return _outcome(attempt, claimed, state, event, "outcome_unknown", None, text)
    state, event = RecipientState.IN_DOUBT, EventType.IN_DOUBT
    return _outcome(attempt, claimed, state, event, "outcome_unknown", None, text, next_attempt_at)


def _outcome(
    attempt: Attempt,
    claimed: Claimed,
    state: RecipientState,
    event: EventType,
    reason: str = "",
    reply: Reply | None = None,
    error: str = "",
    next_attempt_at: datetime | None = None,
) -> Outcome:
    detail = attempt.detail()
    if reply:
        detail["reply"] = {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}
    if error:
        detail["error"] = error
    if next_attempt_at:
        detail["next_attempt_at"] = next_attempt_at.isoformat()
    return Outcome(
        claimed=claimed,
        state=state,
        event=event,
        at=datetime.now(UTC),
        reason=reason,
        reply=str(reply) if reply else error,
        next_attempt_at=next_attempt_at,
        suppresses=state == RecipientState.BOUNCED and suppresses(reason),
        detail=detail,
        transcript=attempt.trace.transcript_for(claimed.on_the_wire),
    )
