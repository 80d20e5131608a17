"""What the engines tell of themselves, and how the queue stands: for probes and for the operators' dashboard.

Every query is bounded: by the queue's partial indexes, which hold open rows only, by how many lanes are looked at, and by how
many rows are counted. Nothing here counts a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.ids import first_id_at, time_of
from relay.database import ENGINE_NAME
from relay.delivery.queue import OPEN_DAYS
from relay.models import ExchangerGroup, RecipientState

LANES_MOST = 1000
ROWS_MOST = 5000
HELD_MOST = 20_000  # an engine holds 5,000
PER_DESTINATION_MOST = 1000
DESTINATIONS_MOST = 10
SILENT_AFTER_S = 45.0  # engines look at the queue every 10 s
LATE_AFTER_S = 60.0

# By index, whatever the planner thinks of tables whose statistics are of another hour. Local to the transaction.
_BOUNDED = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in (
        ("statement_timeout", "3s"),
        *((f"enable_{way}", "off") for way in ("hashjoin", "mergejoin", "material", "seqscan", "bitmapscan", "sort")),
    )
)

# A loose index scan: a probe for each lane. What an engine holds, or what waits for its next try, is due later than now.
_LANES = f"""
    WITH RECURSIVE lane AS (
        (SELECT destination, organization_id, next_attempt_at, 1 AS number FROM relay_recipient
         WHERE next_attempt_at IS NOT NULL AND id >= %(low)s
         ORDER BY destination, organization_id, next_attempt_at LIMIT 1)
        UNION ALL
        SELECT next.*, lane.number + 1 FROM lane CROSS JOIN LATERAL (
            SELECT destination, organization_id, next_attempt_at FROM relay_recipient
            WHERE next_attempt_at IS NOT NULL AND id >= %(low)s
              AND (destination, organization_id) > (lane.destination, lane.organization_id)
            ORDER BY destination, organization_id, next_attempt_at LIMIT 1) next
        WHERE lane.number < {LANES_MOST})
    SELECT destination, organization_id, extract(epoch FROM now() - next_attempt_at)::float8 FROM lane
"""  # noqa: S608

# Orders leave only one index to go by: of several with the same condition, statistics of another hour choose the wrong one.
_HELD = """
    SELECT destination, organization_id FROM relay_recipient
    WHERE leased_by IS NOT NULL AND next_attempt_at > now() AND id >= %s ORDER BY next_attempt_at LIMIT %s
"""

_ENGINES = """
    SELECT application_name,
           extract(epoch FROM clock_timestamp() - max(greatest(query_start, state_change)))::float8
    FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, %s) GROUP BY 1 ORDER BY 1
"""

_FIRST_TO_EXPIRE = """
    SELECT id, state FROM relay_recipient WHERE next_attempt_at IS NOT NULL AND id >= %s ORDER BY expires_at LIMIT %s
"""

_WAITING_FOR = """
    SELECT d.name, (SELECT count(*) FROM (
        SELECT FROM relay_recipient WHERE destination = d.name AND next_attempt_at IS NOT NULL AND id >= %s
        ORDER BY destination, organization_id, next_attempt_at LIMIT %s) one)
    FROM unnest(%s::text[]) d (name)
"""

_DATABASE = """
    SELECT pg_database_size(current_database()),
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           current_setting('max_connections')::int,
           (SELECT blks_hit::float8 / nullif(blks_hit + blks_read, 0) FROM pg_stat_database WHERE datname = current_database()),
           (SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float8 FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()),
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'),
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
              AND clock_timestamp() - query_start > interval '1 second' AND backend_type = 'client backend')
"""


@contextmanager
def bounded() -> Iterator[Any]:
    """A cursor in a transaction whose statements go by index and end after seconds."""
    is_ours = not connection.in_atomic_block  # else the settings would outlast us
    with transaction.atomic(), connection.cursor() as cursor:
        if is_ours:
            cursor.execute(_BOUNDED)
        yield cursor


# ---- Engines ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """`silent_s`: since it last asked the database something."""

    worker: str
    silent_s: float

    @property
    def is_alive(self) -> bool:
        return self.silent_s < SILENT_AFTER_S


def engines(cursor: Any) -> list[EngineSeen]:
    """Those that are connected to the database."""
    cursor.execute(_ENGINES, [f"{ENGINE_NAME} "])
    return [EngineSeen(name.removeprefix(f"{ENGINE_NAME} "), silent_s or 0.0) for name, silent_s in cursor.fetchall()]


# ---- The queue -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """Mail for a destination that is due. `is_worked_on`: an engine holds some of it. `reason`: of the receiver's trouble."""

    destination: str
    due_s: float
    is_worked_on: bool
    reason: str

    @property
    def is_neglected(self) -> bool:
        return self.due_s > LATE_AFTER_S and not self.is_worked_on and not self.reason


@dataclass(frozen=True, slots=True)
class Queue:
    """`lanes`: looked at; `is_all`: there are no more. `waiting`: the destinations with something due, the longest first."""

    lanes: int
    waiting: list[Waiting]

    @property
    def is_all(self) -> bool:
        return self.lanes < LANES_MOST

    @property
    def oldest_due_s(self) -> float:
        """Zero: nothing is due."""
        return max((one.due_s for one in self.waiting), default=0.0)

    @property
    def neglected_s(self) -> float:
        """How long the oldest is due that no engine is at, and for whose receiver no trouble is known. Zero: there is none."""
        return max((one.due_s for one in self.waiting if one.is_neglected), default=0.0)


def queue(cursor: Any) -> Queue:
    cursor.execute(_LANES, {"low": _low()})
    rows = cursor.fetchall()
    cursor.execute(_HELD, [_low(), HELD_MOST])
    held = set(cursor.fetchall())
    troubled = {
        destination: group.reason or "slowed down"
        for group in ExchangerGroup.objects.only("reason", "destinations")
        for destination in group.destinations
    }
    longest: dict[str, Waiting] = {}
    for destination, organization_id, due_s in rows:
        if due_s > 0 and (destination not in longest or longest[destination].due_s < due_s):
            is_worked_on = (destination, organization_id) in held
            longest[destination] = Waiting(destination, due_s, is_worked_on, troubled.get(destination, ""))
    return Queue(len(rows), sorted(longest.values(), key=lambda one: one.due_s, reverse=True))


def counted(cursor: Any, destinations: list[str]) -> dict[str, int]:
    """Open recipients of each, at most `PER_DESTINATION_MOST`."""
    cursor.execute(_WAITING_FOR, [_low(), PER_DESTINATION_MOST, destinations])
    return dict(cursor.fetchall())


AGES = (
    ("under a minute", 60),
    ("1 to 10 min", 600),
    ("10 to 60 min", 3600),
    ("1 to 6 h", 6 * 3600),
    ("6 to 24 h", 86400),
)
OLDER = "over a day"
NOT_ON_THE_WAY = {RecipientState.SCHEDULED, RecipientState.HELD}


@dataclass(frozen=True, slots=True)
class Ages:
    """How many recipients have been under way for how long. `is_all`: there are no more than were counted."""

    counts: dict[str, int]
    held: int
    scheduled: int
    is_all: bool

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def ages(cursor: Any) -> Ages:
    """Of those that expire first."""
    cursor.execute(_FIRST_TO_EXPIRE, [_low(), ROWS_MOST])
    rows = cursor.fetchall()
    counts = dict.fromkeys([*(name for name, _ in AGES), OLDER], 0)
    now = timezone.now()
    for key, state in rows:
        if state not in NOT_ON_THE_WAY:
            age_s = (now - time_of(key)).total_seconds()
            counts[next((name for name, limit in AGES if age_s < limit), OLDER)] += 1
    states = [state for _, state in rows]
    return Ages(
        counts, states.count(RecipientState.HELD), states.count(RecipientState.SCHEDULED), len(rows) < ROWS_MOST
    )


def _low() -> Any:
    return first_id_at(timezone.now() - timedelta(days=OPEN_DAYS))


# ---- The database ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Database:
    """`hits`: the share of blocks that were found in memory. `slow`: statements that run for more than a second now."""

    size_octets: int
    connections: int
    most_connections: int
    hits: float | None
    longest_transaction_s: float
    lock_waits: int
    slow: int


def database(cursor: Any) -> Database:
    cursor.execute(_DATABASE)
    size, connections, most, hits, longest_s, waits, slow = cursor.fetchone()
    return Database(size, connections, most, hits, longest_s or 0.0, waits, slow)
