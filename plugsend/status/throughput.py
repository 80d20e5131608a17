"""How many recipients come in and go out in a minute, from the rollups, which `relay.statistics` makes every ten seconds.

The log itself would have to be counted for it. Here one row an organization is read, once a minute, and what the last reading
found is taken off.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection

from plugsend.status.models import Throughput
from relay.statistics.models import Dimension, Step
from relay.usage import start_of

COUNTS = ("submitted", "delivered", "bounced", "deferred")

# From each organization to its rows by the primary key.
_HOURS = """
    SELECT r.starts_at, sum(r.submitted), sum(r.delivered), sum(r.bounced_hard + r.bounced_soft), sum(r.deferred)
    FROM accounts_organization o
    JOIN statistics_rollup r ON r.organization_id = o.id AND r.dimension = %s AND r.step = %s AND r.starts_at >= %s
    GROUP BY 1
"""
Reading = dict[datetime, tuple[int, ...]]


class Sampler:
    """Of one process. The first reading is what later ones are compared with."""

    def __init__(self) -> None:
        self._last: Reading | None = None
        self._minute: datetime | None = None

    def sample(self, now: datetime) -> None:
        """Once a minute: writes what the minute before brought."""
        minute = now.replace(second=0, microsecond=0)
        if minute == self._minute:
            return
        reading = _read(start_of(Step.HOUR, now) - timedelta(hours=1))
        if self._last is not None and self._minute is not None:
            counts = difference(self._last, reading)
            Throughput.objects.update_or_create(minute=self._minute, defaults=dict(zip(COUNTS, counts, strict=True)))
        self._last, self._minute = reading, minute


def difference(before: Reading, after: Reading) -> tuple[int, ...]:
    """What came to the hours of `after` that were counted before, or are new. Rollups that were made anew count as nothing."""
    zero = (0,) * len(COUNTS)
    sums = [0] * len(COUNTS)
    for hour, counts in after.items():
        if hour in before or hour >= max(before, default=hour):
            for place, (one, other) in enumerate(zip(counts, before.get(hour, zero), strict=True)):
                sums[place] += max(0, one - other)
    return tuple(sums)


def _read(since: datetime) -> Reading:
    with connection.cursor() as cursor:
        cursor.execute(_HOURS, [Dimension.ALL.value, Step.HOUR.value, since])
        return {hour: tuple(map(int, counts)) for hour, *counts in cursor.fetchall()}
