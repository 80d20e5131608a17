"""Periods in which messages are counted, and what was counted. `relay.submission.metering` does the counting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from relay.models import Period, UsageCounter, UsageShare

KEPT = {Period.HOUR: timedelta(days=2), Period.DAY: timedelta(days=40), Period.MONTH: timedelta(days=400)}
SHARES_KEPT = timedelta(days=3)
HISTORY_DAYS = 30
WARN_PERCENT = 80

# In one statement, so that reserved and used are of the same moment.
USED = """
    SELECT c.subject_id, c.period, c.starts_at, c.count - coalesce((
        SELECT sum(s.granted - s.used) FROM relay_usageshare s
        WHERE s.subject_id = c.subject_id AND s.starts_at >= c.starts_at
            AND s.starts_at < c.starts_at + ('1 ' || c.period)::interval
    ), 0)
    FROM relay_usagecounter c
    JOIN unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS w (subject_id, period, starts_at)
        USING (subject_id, period, starts_at)
"""
# Who changes counters of a subject holds its longer one, so that nobody waits for others in a circle.
LOCK_COUNTERS = """
    SELECT c.subject_id, c.period, c.starts_at, c.count FROM relay_usagecounter c
    JOIN unnest(%s::uuid[], %s::text[], %s::timestamptz[]) WITH ORDINALITY AS w (subject_id, period, starts_at, number)
        USING (subject_id, period, starts_at)
    ORDER BY w.number FOR UPDATE OF c
"""
# Takes what is not used from shares, and off the counters of both their periods. The shares are locked by a statement of its
# own before: so it is sure to find them as they are.
_SPARE = """
    WITH wanted AS (
        SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
            AS w (subject_id, short, long, long_at, before)
    ), spare AS MATERIALIZED (
        SELECT s.holder_id, s.subject_id, s.starts_at, short, long, long_at, s.granted - s.used AS number
        FROM relay_usageshare s JOIN wanted w
            ON s.subject_id = w.subject_id AND s.period = w.short AND s.starts_at >= w.long_at AND s.starts_at < w.before
        WHERE s.granted > s.used AND coalesce(s.holder_id = %s, true)
        ORDER BY s.subject_id, s.holder_id, s.starts_at{}
    )
"""
LOCK_SHARES = _SPARE.format(" FOR UPDATE OF s") + "SELECT FROM spare"
TAKE_BACK = f"""
    {_SPARE.format("")}, closed AS (
        UPDATE relay_usageshare s SET granted = s.used FROM spare
        WHERE (s.holder_id, s.subject_id, s.starts_at) = (spare.holder_id, spare.subject_id, spare.starts_at)
    ), freed AS (
        SELECT subject_id, short AS period, starts_at, sum(number) AS number FROM spare GROUP BY 1, 2, 3
        UNION ALL SELECT subject_id, long, long_at, sum(number) FROM spare GROUP BY 1, 2, 3
    )
    UPDATE relay_usagecounter c SET count = c.count - freed.number FROM freed
    WHERE (c.subject_id, c.period, c.starts_at) = (freed.subject_id, freed.period, freed.starts_at)
    RETURNING c.subject_id, c.period, c.starts_at, freed.number
"""  # noqa: S608
LONGER = {Period.HOUR: Period.DAY, Period.DAY: Period.MONTH}  # the other period of a subject whose shorter one it is

Counter = tuple[UUID, str, datetime]  # subject, period, its begin


@dataclass(frozen=True, slots=True)
class Usage:
    """`used` of `most` messages in a period that ends at `ends_at`; None: there is no limit."""

    period: Period
    used: int
    most: int | None
    ends_at: datetime

    @property
    def percent(self) -> int:
        """Full means full: 99.9 % is 99."""
        return percent_of(self.used, self.most)

    @property
    def high(self) -> float:
        """From here on it is worth a look."""
        return (self.most or 0) * WARN_PERCENT / 100

    @property
    def is_full(self) -> bool:
        return self.most is not None and self.used >= self.most


def percent_of(used: int, most: int | None) -> int:
    if most is None:
        return 0
    return min(100, used * 100 // most) if most else 100


def start_of(period: str, moment: datetime) -> datetime:
    """Of the period in which a moment lies."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return hour
    return hour.replace(hour=0) if period == "day" else hour.replace(hour=0, day=1)


def end_of(period: str, starts_at: datetime) -> datetime:
    if period == "month":
        return (starts_at + timedelta(days=31)).replace(day=1)
    return starts_at + (timedelta(hours=1) if period == "hour" else timedelta(days=1))


def usage_of(subject_id: UUID, limits: Mapping[Period, int | None]) -> list[Usage]:
    """What is used of each limit now."""
    now = timezone.now()
    starts = {period: start_of(period, now) for period in limits}
    used = used_by([(subject_id, period.value, starts_at) for period, starts_at in starts.items()])
    return [
        Usage(period, used.get((subject_id, period, starts[period]), 0), most, end_of(period, starts[period]))
        for period, most in limits.items()
    ]


def days_of(subject_id: UUID) -> list[tuple[datetime, int]]:
    """How many messages a subject sent on each of the last days, the oldest first, today last."""
    today = start_of(Period.DAY, timezone.now())
    days = [today - timedelta(days=back) for back in range(HISTORY_DAYS - 1, -1, -1)]
    used = used_by([(subject_id, Period.DAY.value, day) for day in days])
    return [(day, used.get((subject_id, Period.DAY, day), 0)) for day in days]


def used_by(keys: list[Counter]) -> dict[Counter, int]:
    """What was accepted, by subject, period and its begin; nothing where nothing was."""
    with connection.cursor() as cursor:
        cursor.execute(USED, [[key[part] for key in keys] for part in range(3)])
        return {(row[0], row[1], row[2].astimezone(UTC)): int(row[3]) for row in cursor.fetchall()}


def settle() -> int:
    """Takes back what processes reserved for periods that are over and did not use, such as those that died.

    Returns from how many subjects' periods.
    """
    now = timezone.now()
    query = UsageShare.objects.filter(granted__gt=F("used"), starts_at__lt=start_of(Period.HOUR, now))
    shares = query.values_list("subject_id", "period", "starts_at").distinct()
    over = sorted(key for key in shares if end_of(key[1], key[2]) < now)
    for subject_id, period, starts_at in over:
        long = LONGER[Period(period)].value
        long_at = start_of(long, starts_at)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(LOCK_COUNTERS, ([subject_id], [long], [long_at]))
            before = end_of(period, starts_at)
            terms = ([subject_id], [period], [long], [long_at], [before], None)
            cursor.execute(LOCK_SHARES, terms)
            cursor.execute(TAKE_BACK, terms)
    return len(over)


def forget_old() -> int:
    """Drops what was counted in periods that are long over. Returns how many counters."""
    now = timezone.now()
    UsageShare.objects.filter(starts_at__lt=now - SHARES_KEPT, granted=F("used")).delete()
    return sum(
        UsageCounter.objects.filter(period=period, starts_at__lt=now - kept).delete()[0]
        for period, kept in KEPT.items()
    )
