"""From the end of an attempt to what is written: final or not, why, and when next. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from events.log import Detail, Dkim, Tls
from events.models import EventType
from relay.delivery.conversation import ConversationFailed, Rejected, Trace
from relay.delivery.queue import Claimed, Outcome
from relay.delivery.replies import Reply, classify_reply
from relay.delivery.retry import retry_delay
from relay.delivery.routing import Hop, RoutingFailed
from relay.models import RecipientState


@dataclass(slots=True)
class Attempt:
    """What is gathered while an attempt goes on."""

    claimed: Claimed
    trace: Trace
    hop: Hop | None = None
    tls: Tls | None = None
    return_path: str = ""
    dkim: Dkim | None = None

    def detail(self) -> Detail:
        detail: Detail = {"duration_ms": self.trace.duration_ms, "phases_ms": self.trace.phases_ms}
        if self.hop:
            detail["exchanger"] = {"host": self.hop.host, "address": self.hop.address, "port": self.hop.port}
        if self.tls:
            detail["tls"] = self.tls
        if self.return_path:
            detail["return_path"] = self.return_path
        if self.dkim:
            detail["dkim"] = self.dkim
        return detail


class CannotSign(Exception):
    """The message could not be prepared; our own fault, so it is tried again."""


def delivered(attempt: Attempt, reply: Reply) -> Outcome:
    return _outcome(attempt, RecipientState.DELIVERED, EventType.DELIVERED, datetime.now(UTC), reply=reply)


def failed(attempt: Attempt, error: Exception, *, chance: Callable[[], float], scale: float) -> Outcome:
    """`error` is one of RoutingFailed, Rejected, ConversationFailed, CannotSign; others count as our own fault."""
    reply: Reply | None = None
    permanent = in_doubt = False
    text = str(error)
    match error:
        case Rejected(reply=reply):
            reason, permanent, text = classify_reply(reply), reply.is_permanent, ""
        case RoutingFailed(reason=reason, permanent=permanent):
            pass
        case ConversationFailed(reason=reason, in_doubt=in_doubt):
            pass
        case _:
            reason = "cannot_sign" if isinstance(error, CannotSign) else "temporary_failure"
    now = datetime.now(UTC)
    next_attempt_at = now + retry_delay(attempt.claimed.attempt, reason, chance=chance(), scale=scale)
    if permanent:
        return _outcome(attempt, RecipientState.BOUNCED, EventType.BOUNCED, now, reason, reply, text)
    if next_attempt_at > attempt.claimed.expires_at:
        return _outcome(attempt, RecipientState.BOUNCED, EventType.BOUNCED, now, "expired", reply, text)
    state, event = (
        (RecipientState.IN_DOUBT, EventType.IN_DOUBT) if in_doubt else (RecipientState.DEFERRED, EventType.DEFERRED)
    )
    return _outcome(attempt, state, event, now, reason, reply, text, next_attempt_at)


def _outcome(
    attempt: Attempt,
    state: RecipientState,
    event: EventType,
    at: datetime,
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
        claimed=attempt.claimed,
        state=state,
        event=event,
        at=at,
        reason=reason,
        reply=str(reply) if reply else error,
        next_attempt_at=next_attempt_at,
        detail=detail,
        transcript=attempt.trace.transcript,
    )
