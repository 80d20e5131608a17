"""Whether the rollups are the log, counted: what no crash and no two workers at once may ever part.

Goes through the log from end to end, a day after the other, in one snapshot, and may run beside everything else. Where mail
has been forgotten meanwhile (`relay.retention`), its events are still in the rollups: there none may be missing in these.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.ids import first_id_at, time_of
from accounts.models import Organization
from relay.models import Retention
from relay.retention import days_kept
from relay.statistics.folding import COUNTERS, Admitted, Tally, fold
from relay.statistics.models import Failure, Progress, Rollup, Step
from relay.statistics.rollup import KEPT, groups_between
from relay.usage import start_of

TOLD_MOST = 1000
# The longest that a message can go on after it was accepted: scheduled 30 days ahead, retried for 3, and some.
LONGEST_COURSE = timedelta(days=34)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

Counts = Counter[str]
Row = tuple[UUID, str, str, datetime, str]  # as the keys of Rollup


def disagreements() -> list[str]:
    """One line for each, at most `TOLD_MOST`; empty when all is well."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return list(islice(_disagreements(cursor), TOLD_MOST))


def _disagreements(cursor: Any) -> Iterator[str]:
    mark = Progress.objects.filter(pk=1).values_list("counted_before", flat=True).first() or UUID(int=0)
    complete = _complete_since()
    for day in _days(cursor, mark):
        log, rollups = _of_log(cursor, day, mark), _of_rollups(day)
        for key in sorted({*log, *rollups}, key=str):
            organization, dimension, step, starts_at, value = key
            is_complete = organization in complete and day >= complete[organization]
            one, other = log.get(key, Counter()), rollups.get(key, Counter())
            for name in sorted({*one, *other}):
                if one[name] > other[name] or (is_complete and one[name] < other[name]):
                    yield (
                        f"organization {organization}, {' '.join([dimension, value]).strip()}, {step} of"
                        f" {starts_at:%Y-%m-%d %H:%M}: {other[name]} {name}, in the log {one[name]}"
                    )


def _complete_since() -> dict[UUID, datetime]:
    """By organization: of no event since then can the message have been forgotten."""
    today = start_of(Step.DAY, timezone.now())
    marks = dict(Retention.objects.values_list("organization_id", "messages_before"))
    return {
        one.pk: max(today - timedelta(days=days_kept(one.plan)[1]), time_of(marks.get(one.pk, UUID(int=0))))
        + LONGEST_COURSE
        for one in Organization.objects.select_related("plan")
    }


def _days(cursor: Any, mark: UUID) -> list[datetime]:
    """Those that have events which are counted, or rollups by hours."""
    cursor.execute("SELECT id FROM events_event WHERE id < %s ORDER BY id LIMIT 1", [mark])
    row = cursor.fetchone()
    starts = [time_of(row[0])] if row else []
    oldest = timezone.now() - KEPT[Step.HOUR] + DAY  # before it the hours are dropped
    if (
        first := Rollup.objects.filter(starts_at__gte=oldest)
        .order_by("starts_at")
        .values_list("starts_at", flat=True)
        .first()
    ):
        starts.append(first)
    if not starts:
        return []
    begin, end = start_of(Step.DAY, max(min(starts), oldest)), time_of(mark)
    return [begin + number * DAY for number in range((end - begin) // DAY + 1)]


def _of_log(cursor: Any, day: datetime, mark: UUID) -> dict[Row, Counts]:
    rows: dict[Row, Counts] = defaultdict(Counter)
    admitted: Admitted = {}
    for number in range(24):
        hour = day + number * HOUR
        groups = groups_between(cursor, first_id_at(hour), min(first_id_at(hour + HOUR), mark))
        for (organization, dimension, value), tally in fold(groups, admitted).items():
            for step, starts_at in ((Step.HOUR.value, hour), (Step.DAY.value, day)):
                rows[organization, dimension, step, starts_at, value] += _counts(tally)
    return rows


def _counts(tally: Tally) -> Counts:
    counts: Counts = Counter(tally.counts)
    counts.update({f"deliveries in bucket {bucket}": number for bucket, number in tally.latency.items()})
    counts.update({f"{type_} as {reason}": number for (type_, reason), number in tally.failures.items()})
    return counts


def _of_rollups(day: datetime) -> dict[Row, Counts]:
    rows: dict[Row, Counts] = defaultdict(Counter)
    of_day = {"starts_at__gte": day, "starts_at__lt": day + DAY}
    for row in Rollup.objects.filter(**of_day):
        counts = rows[row.organization_id, row.dimension, row.step, row.starts_at, row.value]
        counts.update({name: getattr(row, name) for name in COUNTERS})
        counts.update({f"deliveries in bucket {bucket}": number for bucket, number in enumerate(row.latency)})
    for one in Failure.objects.filter(**of_day):
        rows[one.organization_id, one.dimension, one.step, one.starts_at, one.value][f"{one.type} as {one.reason}"] += (
            one.count
        )
    return rows
