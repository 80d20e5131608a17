"""The queue: claim, renew, settle, release. The rows of `relay_recipient` whose `next_attempt_at` is not null.

A claim counts the attempt and takes a lease by moving `next_attempt_at` to the lease's end, so a dead worker's recipients
come due by themselves. `leased_by` then still names the dead: that attempt is *in doubt*, and an event says so. Such lapsed
ones are looked for apart from the others, so that claiming new mail is one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from events import log as event_log
from events.models import EventType
from relay.models import RecipientState

# Contents come along where they are small, once for each message; a large one is asked for when it is about to be sent.
_CLAIM = """
    WITH due AS (
        SELECT id FROM relay_recipient
        WHERE destination = %(destination)s AND next_attempt_at <= now() AND leased_by IS {lapsed} NULL
        ORDER BY next_attempt_at LIMIT %(most)s FOR UPDATE SKIP LOCKED),
    claimed AS (
        UPDATE relay_recipient r
        SET next_attempt_at = now() + %(lease)s, leased_by = %(worker)s, attempts = r.attempts + 1
        FROM due, relay_message m
        WHERE r.id = due.id AND m.id = r.message_id
        RETURNING r.id, r.message_id, r.organization_id, m.domain_id, r.address, r.destination, r.attempts, r.expires_at,
                  m.size_bytes)
    SELECT c.id, c.message_id, c.organization_id, c.domain_id, c.address, c.destination, c.attempts, c.expires_at,
           CASE WHEN c.size_bytes <= %(small)s AND row_number() OVER (PARTITION BY c.message_id ORDER BY c.id) = 1
                THEN (SELECT raw FROM relay_content WHERE id = c.message_id) END
    FROM claimed c ORDER BY c.id
"""
_CLAIM_NEW, _CLAIM_LAPSED = _CLAIM.format(lapsed=""), _CLAIM.format(lapsed="NOT")

SMALL_OCTETS = 256 * 1024

_RENEW = """
    UPDATE relay_recipient SET next_attempt_at = now() + %(lease)s WHERE id = ANY(%(ids)s) AND leased_by = %(worker)s
"""

_SETTLE = f"""
    WITH settled AS (
        UPDATE relay_recipient r
        SET state = o.state, state_at = o.at, reason = o.reason, last_reply = o.reply,
            next_attempt_at = o.next_attempt_at, leased_by = NULL
        FROM unnest(%(ids)s::uuid[], %(attempts)s::int[], %(states)s::text[], %(ats)s::timestamptz[],
                    %(reasons)s::text[], %(replies)s::text[], %(nexts)s::timestamptz[])
             AS o (id, attempt, state, at, reason, reply, next_attempt_at)
        WHERE r.id = o.id AND r.leased_by = %(worker)s AND r.attempts = o.attempt
        RETURNING r.id),
    logged AS (
        INSERT INTO {event_log.TABLE.name} ({event_log.COLUMN_NAMES})
        SELECT e.* FROM {event_log.FROM_ARRAYS} AS e ({event_log.COLUMN_NAMES})
        JOIN settled ON settled.id = e.recipient_id)
    SELECT id FROM settled
"""  # noqa: S608

_RELEASE = """
    UPDATE relay_recipient SET next_attempt_at = now(), leased_by = NULL, attempts = attempts - 1
    WHERE id = ANY(%(ids)s) AND leased_by = %(worker)s
"""

# A loose index scan: one probe for each destination with open rows, whatever the length of their backlogs.
_DUE_DESTINATIONS = """
    WITH RECURSIVE open AS (
        (SELECT destination FROM relay_recipient WHERE next_attempt_at IS NOT NULL ORDER BY destination LIMIT 1)
        UNION ALL
        SELECT (SELECT r.destination FROM relay_recipient r
                WHERE r.next_attempt_at IS NOT NULL AND r.destination > open.destination
                ORDER BY r.destination LIMIT 1)
        FROM open WHERE open.destination IS NOT NULL)
    SELECT destination FROM open
    WHERE destination IS NOT NULL AND EXISTS (
        SELECT 1 FROM relay_recipient r WHERE r.destination = open.destination AND r.next_attempt_at <= now())
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A recipient in our hands until its lease ends."""

    id: UUID
    message_id: UUID
    organization_id: UUID
    domain_id: UUID
    address: str
    destination: str
    attempt: int  # 1 is the first
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    recipients: list[Claimed]
    contents: dict[UUID, bytes]  # small ones, by message id


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, ready to be written."""

    claimed: Claimed
    state: RecipientState
    event: EventType
    at: datetime
    reason: str = ""
    reply: str = ""
    next_attempt_at: datetime | None = None  # None: the state is final
    detail: event_log.Detail | None = None
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue as one worker sees it."""

    worker: UUID
    lease: timedelta

    async def claim(self, connection: AsyncConnection[Any], destination: str, most: int) -> Claim:
        """Takes up to `most` due recipients that nobody holds, the longest due first. One statement."""
        cursor = await connection.execute(_CLAIM_NEW, self._terms(destination, most), binary=True)
        return _read_claim(await cursor.fetchall())

    async def claim_lapsed(self, connection: AsyncConnection[Any], destination: str, most: int) -> Claim:
        """Takes recipients whose lease ran out, and notes that the attempts before are in doubt."""
        async with connection.transaction(), connection.cursor(binary=True) as cursor:
            await cursor.execute(_CLAIM_LAPSED, self._terms(destination, most))
            claim = _read_claim(await cursor.fetchall())
            await event_log.append(cursor, [_in_doubt(claimed) for claimed in claim.recipients])
        return claim

    def _terms(self, destination: str, most: int) -> dict[str, object]:
        return {
            "destination": destination,
            "most": most,
            "lease": self.lease,
            "worker": self.worker,
            "small": SMALL_OCTETS,
        }

    async def renew(self, connection: AsyncConnection[Any], ids: Sequence[UUID]) -> None:
        await connection.execute(_RENEW, {"ids": list(ids), "lease": self.lease, "worker": self.worker})

    async def settle(self, connection: AsyncConnection[Any], outcomes: Sequence[Outcome]) -> set[UUID]:
        """Writes states and events in one statement. Returns the recipients settled: all whose lease was still ours."""
        cursor = await connection.execute(
            _SETTLE,
            {
                "worker": self.worker,
                "ids": [o.claimed.id for o in outcomes],
                "attempts": [o.claimed.attempt for o in outcomes],
                "states": [o.state.value for o in outcomes],
                "ats": [o.at for o in outcomes],
                "reasons": [o.reason for o in outcomes],
                "replies": [o.reply for o in outcomes],
                "nexts": [o.next_attempt_at for o in outcomes],
                **event_log.as_arrays([_event(o) for o in outcomes]),
            },
        )
        return {row[0] for row in await cursor.fetchall()}

    async def release(self, connection: AsyncConnection[Any], ids: Sequence[UUID]) -> None:
        """Gives back what was claimed and not begun, as if it had not been claimed."""
        await connection.execute(_RELEASE, {"ids": list(ids), "worker": self.worker})

    async def due_destinations(self, connection: AsyncConnection[Any]) -> list[str]:
        cursor = await connection.execute(_DUE_DESTINATIONS)
        return [row[0] for row in await cursor.fetchall()]


def _read_claim(rows: list[tuple[Any, ...]]) -> Claim:
    return Claim([Claimed(*row[:-1]) for row in rows], {row[1]: bytes(row[-1]) for row in rows if row[-1] is not None})


def _in_doubt(claimed: Claimed) -> event_log.NewEvent:
    """The attempt before this claim: its worker died or lost the database before it could tell the outcome."""
    return event_log.NewEvent(
        organization_id=claimed.organization_id,
        message_id=claimed.message_id,
        recipient_id=claimed.id,
        address=claimed.address,
        type=EventType.IN_DOUBT.value,
        occurred_at=datetime.now(UTC),
        attempt=claimed.attempt - 1,
        reason="outcome_unknown",
        detail={"error": "The process that was delivering ended before it could tell the outcome."},
    )


def _event(outcome: Outcome) -> event_log.NewEvent:
    claimed = outcome.claimed
    return event_log.NewEvent(
        organization_id=claimed.organization_id,
        message_id=claimed.message_id,
        recipient_id=claimed.id,
        address=claimed.address,
        type=outcome.event.value,
        occurred_at=outcome.at,
        attempt=claimed.attempt,
        reason=outcome.reason,
        detail=outcome.detail or {},
        transcript=outcome.transcript,
    )
