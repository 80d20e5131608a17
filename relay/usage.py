"""Periods in which messages are counted, and what was counted. `relay.submission.metering` does the counting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

from relay.models import Period, UsageCounter

KEPT = timedelta(days=2)
_LENGTHS = {Period.HOUR: timedelta(hours=1), Period.DAY: timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Usage:
    """`used` of `most` messages in a period that ends at `ends_at`."""

    period: Period
    used: int
    most: int
    ends_at: datetime

    @property
    def percent(self) -> int:
        """Full means full: 99.9 % is 99."""
        return min(100, self.used * 100 // self.most)

    @property
    def high(self) -> float:
        """From here on it is worth a look."""
        return self.most * 0.8

    @property
    def is_full(self) -> bool:
        return self.used >= self.most


def start_of(period: str, moment: datetime) -> datetime:
    """Of the period in which a moment lies."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour.replace(hour=0) if period == Period.DAY else hour


def end_of(period: str, starts_at: datetime) -> datetime:
    return starts_at + _LENGTHS[Period(period)]


def usage_of(subject_id: UUID, limits: dict[Period, int]) -> list[Usage]:
    """What is used of each limit now."""
    now = timezone.now()
    starts = {period: start_of(period, now) for period in limits}
    counters = UsageCounter.objects.filter(subject_id=subject_id, starts_at__in=starts.values())
    counted = {(row.period, row.starts_at): row.count for row in counters}
    return [
        Usage(period, counted.get((period, starts[period]), 0), most, end_of(period, starts[period]))
        for period, most in limits.items()
    ]


def forget_old() -> int:
    """Drops the counters of periods that are long over. Returns how many."""
    return UsageCounter.objects.filter(starts_at__lt=timezone.now() - KEPT).delete()[0]
