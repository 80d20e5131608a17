"""Writing the event log: rows for COPY, and the shape of what stands in `detail`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.types.json import Jsonb

from accounts.ids import uuid7


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


class Detail(TypedDict, total=False):
    """The raw facts beside an event; durations in milliseconds."""

    reply: Reply
    exchanger: Exchanger
    tls: Tls
    error: str  # where there was no reply: what failed, in words
    duration_ms: float
    phases_ms: dict[str, float]  # dns, connect, greeting, tls, mail, rcpt, data
    next_attempt_at: str  # ISO 8601
    dkim: dict[str, str]  # domain, selector
    return_path: str
    door: str
    client: str


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


COPY_EVENTS = (
    "COPY events_event (id, organization_id, message_id, recipient_id, address, type, occurred_at, attempt, reason,"
    " detail, transcript) FROM STDIN"
)


async def append(cursor: AsyncCursor[Any], events: Sequence[NewEvent]) -> None:
    """Writes the events in the caller's transaction, so that no state changes without its event."""
    if not events:
        return
    async with cursor.copy(COPY_EVENTS) as copy:
        for event in events:
            await copy.write_row(
                (
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
            )
