"""The one statement that stores a batch: messages, contents, recipients, events, what is counted, and whom to nudge.

Whoever is on the suppression list is found by the statement itself, and enters the queue in no moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.types.json import Jsonb

from accounts.ids import uuid7
from events import log as event_log
from events.models import EventType
from events.rows import TEXTS, Row, Rows, Sought, Table, copy_rows, insert_rows
from relay.lanes import Lane
from relay.models import RecipientState
from relay.nudges import NUDGE, nudge_terms
from relay.submission.accept import Accepted
from relay.submission.metering import SHARES

COPIED_OCTETS = 256 * 1024  # contents of a batch from which COPY is cheaper
# The same few statements over and over: planning one costs more than running it, and suppressions go by index at any size.
PLANNING = (
    "plan_cache_mode = force_generic_plan",
    "enable_seqscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
)

_MESSAGES = Table(
    "relay_message",
    {
        "id": "uuid",
        "organization_id": "uuid",
        "domain_id": "uuid",
        "door": "text",
        "smtp_user_id": "uuid",
        "api_key_id": "uuid",
        "envelope_sender": "text",
        "header_from": "text",
        "subject": "text",
        "message_id_header": "text",
        "size_bytes": "int4",
        "recipient_count": "int4",
        "tags": TEXTS,
        "metadata": "jsonb",
        "submitted_at": "timestamptz",
        "scheduled_at": "timestamptz",
        "template_id": "uuid",
        "template_version": "int2",
        "stream": "text",
    },
)
_SCHEDULED = Table(
    "relay_scheduledmessage", {"message_id": "uuid", "organization_id": "uuid", "send_at": "timestamptz"}
)
_CONTENTS = Table("relay_content", {"id": "uuid", "raw": "bytea"})
_RECIPIENT_COLUMNS = {
    "id": "uuid",
    "message_id": "uuid",
    "organization_id": "uuid",
    "address": "text",
    "destination": "text",
    "state": "text",
    "attempts": "int2",
    "next_attempt_at": "timestamptz",
    "expires_at": "timestamptz",
    "leased_by": "uuid",
    "reason": "text",
    "last_reply": "text",
    "state_at": "timestamptz",
}
# Each recipient's suppression is looked up by the statement that stores it: one probe of an index, whatever the list's length.
# Who has one enters the queue in no moment.
_HIDDEN = {"state": "'suppressed'", "next_attempt_at": "NULL", "reason": "'suppressed'"}
_RECIPIENTS = Sought(
    "recipients",
    _RECIPIENT_COLUMNS | {"suppressible": "text", "stream": "text", "event_id": "uuid"},
    query="""
        SELECT r.*, s.id AS suppression_id, s.reason AS why, s.stream AS whose, s.created_at AS since
        FROM {rows} LEFT JOIN LATERAL (
            SELECT id, reason, stream, created_at FROM relay_suppression
            WHERE organization_id = r.organization_id AND address = r.suppressible AND stream IN ('', r.stream)
            LIMIT 1) s ON true""",
    insert_of=f"""
        INSERT INTO relay_recipient ({", ".join(_RECIPIENT_COLUMNS)})
        SELECT {
        ", ".join(
            f"CASE WHEN suppression_id IS NULL THEN {name} ELSE {_HIDDEN[name]} END" if name in _HIDDEN else name
            for name in _RECIPIENT_COLUMNS
        )
    } FROM recipients""",  # noqa: S608
)
_EVENTS = replace(
    event_log.TABLE,
    further="""
        SELECT event_id, organization_id, message_id, id, address, 'suppressed', state_at, 0, 'suppressed',
               jsonb_build_object('suppression', jsonb_build_object(
                   'id', suppression_id, 'reason', why, 'stream', whose, 'since', since)), ''
        FROM recipients WHERE suppression_id IS NOT NULL""",
)
_SUPPRESSED = "SELECT message_id, address FROM recipients WHERE suppression_id IS NOT NULL"
_SUPPRESSED_AND_NUDGE = f"{_SUPPRESSED} UNION ALL SELECT NULL, NULL FROM ({NUDGE}) n"  # noqa: S608
Suppressed = Mapping[UUID, list[str]]  # addresses by message


async def store(
    cursor: AsyncCursor[Any], batch: list[Accepted], shares: list[Row], nudged: Lane | None = None
) -> Suppressed:
    """In the caller's transaction; needs none when the batch is not large. Returns who is suppressed."""
    if not batch:
        await insert_rows(cursor, (SHARES, shares))
        return {}
    events = [event_log.as_row(e) for message in batch for e in _first_events(message)]
    contents: list[Row] = [(message.id, message.content) for message in batch]
    rest: list[Rows] = [
        (SHARES, shares),
        (_MESSAGES, [_message_row(message) for message in batch]),
        (_RECIPIENTS, [row for message in batch for row in _recipient_rows(message)]),
        (_EVENTS, events),
        (_SCHEDULED, [_scheduled_row(message) for message in batch if message.scheduled_at]),
    ]
    then, terms = (_SUPPRESSED_AND_NUDGE, nudge_terms(nudged)) if nudged else (_SUPPRESSED, ())
    if is_large(batch):
        await copy_rows(cursor, _CONTENTS, contents)
        await insert_rows(cursor, *rest, then=then, terms=terms)
    else:
        await insert_rows(cursor, (_CONTENTS, contents), *rest, then=then, terms=terms)
    suppressed: dict[UUID, list[str]] = {}
    for message_id, address in await cursor.fetchall():
        if message_id:
            suppressed.setdefault(message_id, []).append(address)
    return suppressed


def is_large(batch: list[Accepted]) -> bool:
    return sum(len(message.content) for message in batch) >= COPIED_OCTETS


def _message_row(message: Accepted) -> Row:
    submission, credential, template = message.submission, message.submission.credential, message.submission.template
    return (
        message.id,
        credential.organization_id,
        message.domain_id,
        submission.door,
        credential.smtp_user_id,
        credential.api_key_id,
        submission.envelope_sender,
        message.header_from,
        message.subject,
        message.message_id_header,
        len(message.content),
        len(message.recipients),
        list(message.options.tags),
        Jsonb(dict(message.options.metadata)),
        message.submitted_at,
        message.scheduled_at,
        template.template_id if template else None,
        template.version if template else None,
        message.stream,
    )


def _scheduled_row(message: Accepted) -> Row:
    return message.id, message.submission.credential.organization_id, message.scheduled_at


def _recipient_rows(message: Accepted) -> Iterable[Row]:
    state = RecipientState.SCHEDULED if message.scheduled_at else RecipientState.SUBMITTED
    for recipient in message.recipients:
        yield (
            recipient.id,
            message.id,
            message.submission.credential.organization_id,
            recipient.address,
            recipient.destination,
            state.value,
            0,
            message.scheduled_at or message.submitted_at,
            message.expires_at,
            None,
            "",
            "",
            message.submitted_at,
            f"{recipient.address.rpartition('@')[0].lower()}@{recipient.destination}",
            message.stream,
            uuid7(),  # of the event that tells of its suppression, should there be one: after its others
        )


def _first_events(message: Accepted) -> Iterable[event_log.NewEvent]:
    submission = message.submission
    for recipient in message.recipients:
        submitted = event_log.NewEvent(
            organization_id=submission.credential.organization_id,
            message_id=message.id,
            recipient_id=recipient.id,
            address=recipient.address,
            type=EventType.SUBMITTED.value,
            occurred_at=message.submitted_at,
            detail={"door": submission.door, "client": submission.client},
        )
        yield submitted
        if message.scheduled_at:
            detail = event_log.Detail(send_at=message.scheduled_at.isoformat())
            yield replace(submitted, type=EventType.SCHEDULED.value, detail=detail)
