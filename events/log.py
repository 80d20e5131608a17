"""Writing the event log: its rows, and the shape of what stands in `detail`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NotRequired, TypedDict
from uuid import UUID

from psycopg.types.json import Jsonb

from accounts.ids import time_of, uuid7
from events.margin import lifted
from events.rows import Table


class Reply(TypedDict):
    """An SMTP reply (RFC 5321, 4.2) with its enhanced status code (RFC 3463; empty when the server gave none)."""

    code: int
    enhanced: str
    text: str


class Exchanger(TypedDict):
    host: str
    address: str
    port: int


class Tls(TypedDict):
    version: str  # as OpenSSL names it: TLSv1.3
    cipher: str
    verdict: NotRequired[str]  # on the certificate: of relay.delivery.verdict.Verdict
    policy: NotRequired[str]  # what ruled: of relay.delivery.tls.Source


class Dkim(TypedDict):
    domain: str
    selector: str  # of the first signature
    selectors: list[str]  # of all of them; not in events of before there could be more than one


class SuppressionFact(TypedDict):
    """Because of which a message was not sent, as it was then."""

    id: str
    reason: str  # relay.suppressing.suppressions.reason_title
    stream: str  # empty: all mail
    since: str  # ISO 8601


class Detail(TypedDict, total=False):
    """The raw facts beside an event; durations in milliseconds."""

    reply: Reply
    exchanger: Exchanger
    tls: Tls
    error: str  # where there was no reply: what failed, in words
    duration_ms: float
    phases_ms: dict[str, float]  # wait, dns, policy, connect, greeting, tls, mail, rcpt, data
    next_attempt_at: str  # ISO 8601
    send_at: str  # ISO 8601: what is scheduled waits for it
    dkim: Dkim
    return_path: str
    reported_by: str  # of what came back by mail: who reports it (Reporting-MTA, or the author)
    passed_on_to: str  # where the receiver had passed it on to, if that is what failed
    feedback: str  # of a complaint: Feedback-Type (RFC 5965)
    door: str
    client: str
    suppression: SuppressionFact
    stream: str  # that was unsubscribed from
    how: str  # one_click, page or mail
    by: str  # who asked for it: a person's address, an API key's name, or: operator


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to be."""

    organization_id: UUID
    message_id: UUID
    recipient_id: UUID
    address: str
    type: str
    occurred_at: datetime
    attempt: int = 0
    reason: str = ""
    detail: Detail = field(default_factory=Detail)
    transcript: str = ""


# Column and type, in the order of `as_row`.
_COLUMNS = {
    "id": "uuid",
    "organization_id": "uuid",
    "message_id": "uuid",
    "recipient_id": "uuid",
    "address": "text",
    "type": "text",
    "occurred_at": "timestamptz",
    "attempt": "int",
    "reason": "text",
    "detail": "jsonb",
    "transcript": "text",
}
TABLE = Table("events_event", _COLUMNS, is_read_by_id=True)

# For statements that write events together with something else: a row source `e`, to be given `as_arrays`, and what to
# insert of it.
COLUMN_NAMES = ", ".join(_COLUMNS)
VALUES = ", ".join([lifted("e.id", "%(event_oldest)s::timestamptz"), *(f"e.{name}" for name in list(_COLUMNS)[1:])])
FROM_ARRAYS = f"unnest({', '.join(f'%(event_{name})s::{type_}[]' for name, type_ in _COLUMNS.items())})"


def as_arrays(events: Sequence[NewEvent]) -> dict[str, object]:
    """The parameters of `FROM_ARRAYS` and `VALUES`, of at least one event."""
    rows = [as_row(event) for event in events]
    arrays = {f"event_{name}": list(column) for name, column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)}
    return {"event_oldest": time_of(rows[0][0]), **arrays}


def as_row(event: NewEvent) -> tuple[UUID, *tuple[object, ...]]:
    """For `TABLE`, with a new id."""
    return (
        uuid7(),
        event.organization_id,
        event.message_id,
        event.recipient_id,
        event.address,
        event.type,
        event.occurred_at,
        event.attempt,
        event.reason,
        Jsonb(event.detail),
        event.transcript,
    )
