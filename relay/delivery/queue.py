"""The queue: claim, renew, settle, release. The rows of `relay_recipient` whose `next_attempt_at` is not null.

A claim counts the attempt and takes a lease by moving `next_attempt_at` to the lease's end. When that has passed and
`leased_by` still names somebody, a worker died or lost the database: the attempt is *in doubt* (`lapsed`). Claims go by lane,
many lanes in one statement, so that neither a long backlog nor many destinations make them dear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from accounts.ids import first_id_at, uuid7
from events import log as event_log
from events.models import EventType
from relay.lanes import Lane
from relay.models import RecipientState

# Open rows are of the last days only: what is older has expired (`relay.expiry` looks at all partitions), but for what was
# scheduled long ago. As long as something of that is due or about to be, statements look back as far as its day.
OPEN_DAYS = 4
_OF_OPEN_DAYS = "r.id >= %(since)s AND r.id < %(until)s"

# For connections that run these statements. Each is to go by index from few rows to few others, whatever the planner thinks of
# tables whose statistics are of another hour; and planning each time would cost more than running.
PLANNING = " ".join(
    f"-c {setting}"
    for setting in (
        "plan_cache_mode=force_generic_plan",
        *(f"enable_{way}=off" for way in ("hashjoin", "mergejoin", "material", "seqscan", "bitmapscan", "sort")),
    )
)

# Contents come along where they are small, once for each message; a large one is asked for when it is about to be sent.
_CLAIM = f"""
    WITH due AS MATERIALIZED (
        SELECT r.id
        FROM unnest(%(organizations)s::uuid[], %(destinations)s::text[], %(mosts)s::int[])
             AS lane (organization_id, destination, most)
        CROSS JOIN LATERAL (
            SELECT r.id FROM relay_recipient r
            WHERE r.destination = lane.destination AND r.organization_id = lane.organization_id
              AND r.next_attempt_at <= now() AND r.leased_by IS NULL AND {_OF_OPEN_DAYS}
            ORDER BY r.next_attempt_at LIMIT lane.most FOR UPDATE SKIP LOCKED) r),
    claimed AS (
        UPDATE relay_recipient r
        SET next_attempt_at = now() + %(lease)s, leased_by = %(worker)s, attempts = r.attempts + 1
        FROM relay_message m
        WHERE r.id = ANY(ARRAY(SELECT id FROM due)) AND m.id = r.message_id AND {_OF_OPEN_DAYS}
        RETURNING r.id, r.message_id, r.organization_id, m.domain_id, r.address, r.destination, r.attempts, r.expires_at,
                  EXISTS (SELECT FROM relay_suppression s WHERE s.organization_id = r.organization_id
                          AND s.address = lower(left(r.address, -strpos(reverse(r.address), '@'))) || '@' || r.destination
                          AND s.stream IN ('', m.stream))
                  AS is_suppressed,
                  m.size_bytes, m.stream)
    SELECT c.id, c.message_id, c.organization_id, c.domain_id, c.address, c.destination, c.attempts, c.expires_at,
           c.is_suppressed, c.size_bytes, c.stream,
           CASE WHEN c.size_bytes <= %(small)s AND row_number() OVER (PARTITION BY c.message_id ORDER BY c.id) = 1
                THEN (SELECT raw FROM relay_content WHERE id = c.message_id) END
    FROM claimed c ORDER BY c.id
"""  # noqa: S608

SMALL_OCTETS = 256 * 1024

_RENEW = """
    UPDATE relay_recipient SET next_attempt_at = now() + %(lease)s WHERE id = ANY(%(ids)s) AND leased_by = %(worker)s
    RETURNING id
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
        SELECT {event_log.VALUES} FROM {event_log.FROM_ARRAYS} AS e ({event_log.COLUMN_NAMES})
        JOIN settled ON settled.id = e.recipient_id)
    SELECT id FROM settled
"""  # noqa: S608

_SUPPRESS = """
    INSERT INTO relay_suppression (id, organization_id, address, reason, message_id, reply, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (organization_id, address, stream) DO NOTHING
"""

# The attempt, too: meanwhile ours may have lapsed, and have become ours once more.
_RELEASE = """
    UPDATE relay_recipient r SET next_attempt_at = now(), leased_by = NULL, attempts = r.attempts - 1
    FROM unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS o (id, attempt)
    WHERE r.id = o.id AND r.leased_by = %(worker)s AND r.attempts = o.attempt
"""

# Ours for a lease, as if we had claimed them; should we die too, they lapse again. One statement: it runs every few seconds.
_TAKE_LAPSED = """
    WITH lapsed AS MATERIALIZED (
        SELECT r.id, r.leased_by, m.domain_id, m.size_bytes, m.stream, o.never_twice
        FROM relay_recipient r JOIN relay_message m ON m.id = r.message_id
        JOIN accounts_organization o ON o.id = r.organization_id
        WHERE r.leased_by IS NOT NULL AND r.next_attempt_at <= now()
        ORDER BY r.next_attempt_at LIMIT %(most)s FOR UPDATE OF r SKIP LOCKED)
    UPDATE relay_recipient r SET leased_by = %(worker)s, next_attempt_at = now() + %(lease)s
    FROM lapsed WHERE r.id = lapsed.id
    RETURNING r.id, r.message_id, r.organization_id, lapsed.domain_id, r.address, r.destination, r.attempts, r.expires_at,
              false, lapsed.size_bytes, lapsed.stream, lapsed.never_twice
"""

# A loose index scan: one probe for each lane with open rows, whatever the length of its backlog.
_OPEN_LANES = f"""
    WITH RECURSIVE open AS (
        (SELECT r.destination, r.organization_id, r.next_attempt_at FROM relay_recipient r
         WHERE r.next_attempt_at IS NOT NULL AND {_OF_OPEN_DAYS}
         ORDER BY r.destination, r.organization_id, r.next_attempt_at LIMIT 1)
        UNION ALL
        SELECT next.* FROM open CROSS JOIN LATERAL (
            SELECT r.destination, r.organization_id, r.next_attempt_at FROM relay_recipient r
            WHERE r.next_attempt_at IS NOT NULL AND {_OF_OPEN_DAYS}
              AND (r.destination, r.organization_id) > (open.destination, open.organization_id)
            ORDER BY r.destination, r.organization_id, r.next_attempt_at LIMIT 1) next)
    SELECT organization_id, destination, extract(epoch FROM next_attempt_at - now())::float8 FROM open
    WHERE next_attempt_at <= now() + %(ahead)s
"""  # noqa: S608

# By the index on `send_at`: among the rows that are due for now, which are few, and not among all by their age.
_OLDEST_IN_PLAY = """
    WITH due AS MATERIALIZED (SELECT message_id FROM relay_scheduledmessage WHERE send_at <= now() + %(ahead)s)
    SELECT message_id FROM due ORDER BY message_id LIMIT 1
"""

# One probe a lane. What is leased or due already is found by other ways.
_NEXT_DUE = f"""
    SELECT lane.organization_id, lane.destination, extract(epoch FROM r.next_attempt_at - now())::float8
    FROM unnest(%(organizations)s::uuid[], %(destinations)s::text[]) AS lane (organization_id, destination)
    CROSS JOIN LATERAL (
        SELECT r.next_attempt_at FROM relay_recipient r
        WHERE r.destination = lane.destination AND r.organization_id = lane.organization_id AND r.leased_by IS NULL
          AND r.next_attempt_at > now() AND r.next_attempt_at <= now() + %(ahead)s AND {_OF_OPEN_DAYS}
        ORDER BY r.next_attempt_at LIMIT 1) r
"""  # noqa: S608


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
    is_suppressed: bool
    size_bytes: int
    stream: str = ""  # from which its recipients may unsubscribe; empty: none

    @property
    def lane(self) -> Lane:
        return Lane(self.organization_id, self.destination)

    @property
    def on_the_wire(self) -> str:
        """The address with its domain in A-label form."""
        return f"{self.address.rpartition('@')[0]}@{self.destination}"

    @property
    def suppressible(self) -> str:
        """The address as `relay.models.Suppression` has it."""
        return f"{self.address.rpartition('@')[0].lower()}@{self.destination}"


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
    suppresses: bool = False  # the address is not to be mailed again
    detail: event_log.Detail | None = None
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class Lapsed:
    """An attempt whose worker died or lost the database before it could tell the outcome. Ours now, to be settled."""

    claimed: Claimed
    never_twice: bool


@dataclass(slots=True)
class Queue:
    """The queue as one worker sees it. How far back it sees is settled by each `open_lanes`."""

    worker: UUID
    lease: timedelta
    _oldest: UUID | None = None  # message that was scheduled and is in play now

    async def claim(
        self, connection: AsyncConnection[Any], lanes: Mapping[Lane, int], *, with_contents: bool = True
    ) -> Claim:
        """Takes up to so many due recipients of each lane that nobody holds, the longest due first. One statement."""
        terms = {
            "organizations": [lane.organization_id for lane in lanes],
            "destinations": [lane.destination for lane in lanes],
            "mosts": list(lanes.values()),
            "lease": self.lease,
            "worker": self.worker,
            "small": SMALL_OCTETS if with_contents else -1,
            **self._open_days(),
        }
        cursor = await connection.execute(_CLAIM, terms, binary=True)
        rows = await cursor.fetchall()
        contents = {row[1]: bytes(row[-1]) for row in rows if row[-1] is not None}
        return Claim([Claimed(*row[:-1]) for row in rows], contents)

    async def take_lapsed(self, connection: AsyncConnection[Any], most: int) -> list[Lapsed]:
        """Attempts in doubt, taken over for another lease so that `settle` may write what becomes of them."""
        terms = {"most": most, "lease": self.lease, "worker": self.worker}
        cursor = await connection.execute(_TAKE_LAPSED, terms, binary=True)
        return [Lapsed(Claimed(*row[:-1]), never_twice=row[-1]) for row in await cursor.fetchall()]

    async def renew(self, connection: AsyncConnection[Any], ids: Sequence[UUID]) -> set[UUID]:
        """Returns those that are ours still."""
        cursor = await connection.execute(_RENEW, {"ids": list(ids), "lease": self.lease, "worker": self.worker})
        return {row[0] for row in await cursor.fetchall()}

    async def settle(self, connection: AsyncConnection[Any], outcomes: Sequence[Outcome]) -> set[UUID]:
        """Writes states, events and suppressions together. Returns the recipients settled: all whose lease was still ours."""
        suppressing = [outcome for outcome in outcomes if outcome.suppresses]
        if not suppressing:
            return await self._settle(connection, outcomes)
        async with connection.transaction(), connection.cursor() as cursor:
            settled = await self._settle(connection, outcomes)
            # In one order, so that two workers cannot wait for each other.
            ordered = sorted(suppressing, key=lambda o: (o.claimed.organization_id.bytes, o.claimed.suppressible))
            await cursor.executemany(_SUPPRESS, [_suppression_row(o) for o in ordered if o.claimed.id in settled])
        return settled

    async def _settle(self, connection: AsyncConnection[Any], outcomes: Sequence[Outcome]) -> set[UUID]:
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

    async def release(self, connection: AsyncConnection[Any], recipients: Sequence[Claimed]) -> None:
        """Gives back what was claimed and not begun, as if it had not been claimed."""
        ids, attempts = [claimed.id for claimed in recipients], [claimed.attempt for claimed in recipients]
        await connection.execute(_RELEASE, {"ids": ids, "attempts": attempts, "worker": self.worker})

    async def open_lanes(self, connection: AsyncConnection[Any], ahead: timedelta) -> dict[Lane, float]:
        """The lanes with something due now or within `ahead`, with the seconds until then (negative: due since)."""
        cursor = await connection.execute(_OLDEST_IN_PLAY, {"ahead": ahead}, binary=True)
        row = await cursor.fetchone()
        self._oldest = row[0] if row else None
        cursor = await connection.execute(_OPEN_LANES, {"ahead": ahead, **self._open_days()}, binary=True)
        return {Lane(row[0], row[1]): row[2] for row in await cursor.fetchall()}

    async def next_due(
        self, connection: AsyncConnection[Any], lanes: Sequence[Lane], ahead: timedelta
    ) -> dict[Lane, float]:
        """Of these lanes, those with something that becomes due within `ahead`, with the seconds until then."""
        terms = {
            "organizations": [lane.organization_id for lane in lanes],
            "destinations": [lane.destination for lane in lanes],
            "ahead": ahead,
            **self._open_days(),
        }
        cursor = await connection.execute(_NEXT_DUE, terms, binary=True)
        return {Lane(row[0], row[1]): row[2] for row in await cursor.fetchall()}

    def _open_days(self) -> dict[str, UUID]:
        """Bounds by which PostgreSQL leaves out partitions that cannot hold open rows."""
        now = datetime.now(UTC)
        since = first_id_at(now - timedelta(days=OPEN_DAYS))
        return {"since": min(since, self._oldest or since), "until": first_id_at(now + timedelta(hours=1))}


def _suppression_row(outcome: Outcome) -> tuple[object, ...]:
    claimed = outcome.claimed
    return (
        uuid7(), claimed.organization_id, claimed.suppressible, outcome.reason, claimed.message_id, outcome.reply, outcome.at,
    )  # fmt: skip


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
