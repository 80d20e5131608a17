"""Counts the event log: everything below the feed's horizon, each event once.

What is counted, and the mark that says how far, change in one transaction, under a lock that is held to its end: a process that
dies in between leaves both as they were, and two at once take turns. Below the horizon nothing comes to light any more
(`events.feed`), so no hour has to be corrected. A transaction reads some thousands of events at most, and gets an id of its own
only when it writes, so that the feed's readers hardly wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.ids import first_id_at, time_of
from events.feed import horizon
from relay.statistics.folding import (
    COUNTED,
    COUNTERS,
    EXAMPLES_MOST,
    FAILURES,
    UNTRIED,
    Admitted,
    Group,
    Key,
    Tally,
    fold,
)
from relay.statistics.latency import BOUNDS_MS
from relay.statistics.models import Dimension, Failure, Progress, Rollup, Step
from relay.statistics.providers import PROVIDERS
from relay.submission.addresses import domain_of
from relay.usage import start_of

EVENTS_AT_ONCE = 5000  # in a transaction
KEPT = {Step.HOUR: timedelta(days=35), Step.DAY: timedelta(days=400)}
LOCK = 7220
AT_A_TIME_S = 60.0
LONGEST_REST_S = 0.5

# One pass over the log; of messages and of earlier events single rows, by index. A complaint follows a delivery, in which the
# exchanger stands, and only a recipient's first one about a mail counts. What was scheduled has waited on purpose.
_GROUPS = """
    SELECT e.organization_id, e.type, e.reason, s.exchanger,
           CASE WHEN e.type = ANY(%(untried)s) THEN '' ELSE lower(split_part(e.address, '@', -1)) END AS destination,
           m.domain_id, m.smtp_user_id, m.template_id, coalesce(m.tags, '{}'), l.bucket, count(*),
           (array_agg(e.id ORDER BY e.id))[1],
           (array_agg(e.message_id ORDER BY e.id DESC) FILTER (WHERE e.type = ANY(%(failures)s)))[1:%(examples)s]
    FROM events_event e
    JOIN accounts_organization o ON o.id = e.organization_id
    LEFT JOIN relay_message m ON m.id = e.message_id
    CROSS JOIN LATERAL (SELECT coalesce(e.detail -> 'exchanger' ->> 'host', CASE WHEN e.type = 'complained' THEN (
        SELECT d.detail -> 'exchanger' ->> 'host' FROM events_event d
        WHERE d.message_id = e.message_id AND d.id >= e.message_id AND d.id < e.id
            AND d.recipient_id = e.recipient_id AND d.type = 'delivered' LIMIT 1
    ) END, '') AS exchanger) s
    CROSS JOIN LATERAL (SELECT CASE WHEN e.type = 'delivered' AND m.id IS NOT NULL THEN width_bucket(
        (extract(epoch FROM e.occurred_at - CASE WHEN m.scheduled_at <= e.occurred_at THEN m.scheduled_at
                                                 ELSE m.submitted_at END) * 1000)::float8, %(bounds)s::float8[]
        ) END AS bucket) l
    WHERE e.id >= %(low)s AND e.id < %(high)s AND e.type = ANY(%(counted)s)
        AND NOT (e.type = 'complained' AND EXISTS (
            SELECT FROM events_event c WHERE c.message_id = e.message_id AND c.id >= e.message_id AND c.id < e.id
                AND c.recipient_id = e.recipient_id AND c.type = 'complained'))
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""
# By index from few rows to few others, whatever statistics of another hour say.
_PLANNING = "SELECT " + ", ".join(
    f"set_config('enable_{way}', 'off', true)" for way in ("hashjoin", "mergejoin", "seqscan")
)

_KEY = {"organization_id": "uuid", "dimension": "text", "value": "text"}
_STEPS = "step, starts_at"
# Whatever is counted is so for its hour and for its day.
_EACH_STEP = "(VALUES ('hour', %s::timestamptz), ('day', %s::timestamptz)) AS s (step, starts_at)"
_ROLLUP_COLUMNS = {**_KEY, **dict.fromkeys(COUNTERS, "int")}
_ADD_COUNTS = f"""
    INSERT INTO statistics_rollup AS r ({", ".join(_ROLLUP_COLUMNS)}, latency, {_STEPS})
    SELECT {", ".join(_ROLLUP_COLUMNS)}, latency::int[], {_STEPS}
    FROM unnest({", ".join(f"%s::{type_}[]" for type_ in _ROLLUP_COLUMNS.values())}, %s::text[])
        AS n ({", ".join(_ROLLUP_COLUMNS)}, latency) CROSS JOIN {_EACH_STEP}
    ON CONFLICT ({", ".join(_KEY)}, {_STEPS}) DO UPDATE SET
        {", ".join(f"{name} = r.{name} + excluded.{name}" for name in COUNTERS)},
        latency = CASE WHEN excluded.latency = '{{}}' THEN r.latency ELSE ARRAY(
            SELECT coalesce(one, 0) + coalesce(other, 0)
            FROM unnest(r.latency, excluded.latency) WITH ORDINALITY u (one, other, place) ORDER BY place) END
"""  # noqa: S608
_FAILURE_KEY = {**_KEY, "type": "text", "reason": "text"}
_ADD_FAILURES = f"""
    INSERT INTO statistics_failure AS f ({", ".join(_FAILURE_KEY)}, count, examples, {_STEPS})
    SELECT {", ".join(_FAILURE_KEY)}, count, examples::uuid[], {_STEPS}
    FROM unnest({", ".join(f"%s::{type_}[]" for type_ in _FAILURE_KEY.values())}, %s::int[], %s::text[])
        AS n ({", ".join(_FAILURE_KEY)}, count, examples) CROSS JOIN {_EACH_STEP}
    ON CONFLICT ({", ".join(_FAILURE_KEY)}, {_STEPS}) DO UPDATE SET
        count = f.count + excluded.count, examples = (ARRAY(
        SELECT DISTINCT example FROM unnest(excluded.examples || f.examples) example ORDER BY example DESC))[1:{EXAMPLES_MOST}]
"""  # noqa: S608


def roll_up(seconds: float) -> bool:
    """Works for so long at most, with rests for the mail path. Returns whether all is counted that lay below the horizon when
    it began, or another process is at it: what comes meanwhile waits for the next call, since to follow the horizon step by
    step would take a transaction for every few events.
    """
    until, top = time.monotonic() + seconds, horizon()
    while True:
        began = time.monotonic()
        if not count_next(top):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(min(time.monotonic() - began, LONGEST_REST_S))


def count_next(top: UUID) -> bool:
    """One transaction: the next events, of one hour, below `top`, which must be at or below the horizon.

    Returns whether there were any and there may be more. Another process that is at it is not waited for.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
        progress = Progress.objects.filter(pk=1).first() or Progress()
        span = _next_span(cursor, progress.counted_before, top)
        if span is None:
            return False
        _write(cursor, start_of(Step.HOUR, time_of(span[0])), *span)
        progress.counted_before = span[1]
        progress.save()
    return True


def count_again(since: date) -> None:
    """Counts the log from that day (UTC) on anew: for events that were loaded with ids of before the mark. Waits for others.

    Readers see too little until it is done.
    """
    begin = datetime.combine(since, datetime.min.time(), UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        Rollup.objects.filter(starts_at__gte=begin).delete()
        Failure.objects.filter(starts_at__gte=begin).delete()
        mark = first_id_at(begin)
        Progress.objects.filter(pk=1, counted_before__gt=mark).update(counted_before=mark)
    while not roll_up(AT_A_TIME_S):
        pass


def counted_until() -> datetime | None:
    """Every event before then is in the rollups; None: nothing was counted yet."""
    mark = Progress.objects.filter(pk=1).values_list("counted_before", flat=True).first()
    return time_of(mark) if mark else None


def forget_old() -> int:
    """Drops what is too old. Returns how many rows."""
    now, gone = timezone.now(), 0
    with connection.cursor() as cursor:
        for table in ("statistics_rollup", "statistics_failure"):
            for step, kept in KEPT.items():
                cursor.execute(
                    f"DELETE FROM {table} r USING accounts_organization o, unnest(%s::text[]) d"  # noqa: S608
                    " WHERE r.organization_id = o.id AND r.dimension = d AND r.step = %s AND r.starts_at < %s",
                    [Dimension.values, step.value, now - kept],
                )
                gone += cursor.rowcount
    return gone


# ---- Reading the log -------------------------------------------------------------------------------------------------


def _next_span(cursor: Any, low: UUID, top: UUID) -> tuple[UUID, UUID] | None:
    """From the first event that is not counted, to the end of its hour, to `top`, or as many as make a transaction."""
    first = _event_from(cursor, low, top, 0)
    if first is None:
        return None
    end = min(top, first_id_at(start_of(Step.HOUR, time_of(first)) + timedelta(hours=1)))
    return first, _event_from(cursor, first, end, EVENTS_AT_ONCE) or end


def _event_from(cursor: Any, low: UUID, high: UUID, skip: int) -> UUID | None:
    cursor.execute(
        "SELECT id FROM events_event WHERE id >= %s AND id < %s ORDER BY id OFFSET %s LIMIT 1", [low, high, skip]
    )
    row = cursor.fetchone()
    return row[0] if row else None


def groups_between(cursor: Any, low: UUID, high: UUID) -> list[Group]:
    cursor.execute(_PLANNING)
    cursor.execute(
        _GROUPS,
        {
            "low": low, "high": high, "counted": [str(one) for one in COUNTED], "untried": [str(one) for one in UNTRIED],
            "failures": [str(one) for one in FAILURES],
            "examples": EXAMPLES_MOST, "bounds": BOUNDS_MS,
        },
    )  # fmt: skip
    return [_group(*row) for row in cursor.fetchall()]


def _group(
    organization: UUID, type_: str, reason: str, exchanger: str, destination: str, domain: UUID | None,
    smtp_user: UUID | None, template: UUID | None, tags: list[str], latency: int | None, number: int, first_id: UUID,
    examples: list[UUID] | None,
) -> Group:  # fmt: skip
    name = destination if destination.isascii() else domain_of(f"a@{destination}") or destination
    return Group(
        organization, type_, reason, exchanger, name, domain, smtp_user, template, tuple(tags), latency, number, first_id,
        tuple(dict.fromkeys(examples or ())),
    )  # fmt: skip


def _admitted(organizations: Iterable[UUID], day: datetime) -> Admitted:
    """What has rows of the day already."""
    rows = Rollup.objects.filter(
        organization__in=list(organizations), dimension__in=Dimension.values, step=Step.DAY, starts_at=day
    ).exclude(value="")
    admitted: Admitted = {}
    for organization_id, dimension, value in rows.values_list("organization_id", "dimension", "value"):
        if value not in PROVIDERS:
            admitted.setdefault((organization_id, dimension), set()).add(value)
    return admitted


# ---- Writing ---------------------------------------------------------------------------------------------------------


def _write(cursor: Any, hour: datetime, low: UUID, high: UUID) -> None:
    groups = groups_between(cursor, low, high)
    if not groups:
        return
    day = start_of(Step.DAY, hour)
    tallies = fold(groups, _admitted({group.organization_id for group in groups}, day))
    rows = sorted(tallies.items(), key=lambda row: row[0])
    cursor.execute(_ADD_COUNTS, [*_columns(_count_rows(rows)), hour, day])
    if failures := list(_failure_rows(rows)):
        cursor.execute(_ADD_FAILURES, [*_columns(failures), hour, day])


_Rows = Sequence[tuple[Key, Tally]]


def _count_rows(rows: _Rows) -> Iterator[Sequence[Any]]:
    for (organization, dimension, value), tally in rows:
        counts = [tally.counts[name] for name in COUNTERS]
        yield organization, dimension, value, *counts, _array(tally.buckets)


def _failure_rows(rows: _Rows) -> Iterator[Sequence[Any]]:
    for (organization, dimension, value), tally in rows:
        for (type_, reason), number in tally.failures.items():
            examples = _array(tally.examples[type_, reason])
            yield organization, dimension, value, type_, reason, number, examples


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _array(values: Iterable[object]) -> str:
    """In PostgreSQL's own form: an array of arrays would have to be rectangular."""
    return "{" + ",".join(map(str, values)) + "}"
