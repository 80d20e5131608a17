"""What pages and REST tell of an organization's mail, from rollups alone: the same work however much was sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.utils import timezone

from accounts.models import Organization
from domains.models import SendingDomain, SmtpUser
from events.reasons import REASONS, Reason
from relay.models import Message, Template
from relay.statistics.folding import COUNTERS, EXAMPLES_MOST
from relay.statistics.latency import BOUNDS_MS, added, percentile
from relay.statistics.models import Dimension, Failure, Rollup, Step
from relay.statistics.providers import provider_name
from relay.statistics.rollup import counted_until
from relay.usage import start_of

GROUPS_MOST = 25
REASONS_MOST = 10


def has_delivered(organization: Organization) -> bool:
    """Whether anything was, as far as it is counted."""
    days = Rollup.objects.of(organization).filter(dimension=Dimension.ALL, step=Step.DAY)
    return days.filter(delivered__gt=0).exists()


@dataclass(frozen=True, slots=True)
class Range:
    """`back`: from the beginning of the present hour or day (`edge`) to the first moment. `every`: between points."""

    code: str
    title: str
    edge: Step
    back: timedelta
    every: timedelta

    @property
    def points_of(self) -> Step:
        return Step.DAY if self.every >= timedelta(days=1) else Step.HOUR

    def moments(self, now: datetime) -> list[datetime]:
        """The beginnings of all points that have begun, the oldest first."""
        moment = start_of(self.edge, now) - self.back
        found = []
        while moment <= now:
            found.append(moment)
            moment += self.every
        return found


DAY, HOUR = timedelta(days=1), timedelta(hours=1)
RANGES = {
    one.code: one
    for one in (
        Range("24h", "24 hours", Step.HOUR, 23 * HOUR, HOUR),
        Range("7d", "7 days", Step.DAY, 6 * DAY, 6 * HOUR),
        Range("30d", "30 days", Step.DAY, 29 * DAY, DAY),
        Range("90d", "90 days", Step.DAY, 89 * DAY, DAY),
    )
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of recipients' events of a time; rates are None where there is nothing to count."""

    submitted: int = 0
    delivered: int = 0
    bounced_hard: int = 0
    bounced_soft: int = 0
    deferred: int = 0
    complained: int = 0
    suppressed: int = 0
    cancelled: int = 0
    unknown_outcome: int = 0
    latency: Sequence[int] = ()

    def __add__(self, other: Figures) -> Figures:
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTERS}
        return Figures(**counts, latency=added(self.latency, other.latency))

    @property
    def bounced(self) -> int:
        return self.bounced_hard + self.bounced_soft

    @property
    def ended(self) -> int:
        """Of those that were tried, how many came to an end."""
        return self.delivered + self.bounced + self.unknown_outcome

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, name) for name in COUNTERS)

    @property
    def delivered_rate(self) -> float | None:
        return _rate(self.delivered, self.ended)

    @property
    def bounce_rate(self) -> float | None:
        return _rate(self.bounced, self.ended)

    @property
    def hard_bounce_rate(self) -> float | None:
        return _rate(self.bounced_hard, self.ended)

    @property
    def deferral_rate(self) -> float | None:
        """Of all attempts."""
        return _rate(self.deferred, self.deferred + self.ended)

    @property
    def complaint_rate(self) -> float | None:
        return _rate(self.complained, self.delivered)

    @property
    def p50_ms(self) -> float | None:
        return percentile(self.latency, 0.5)

    @property
    def p95_ms(self) -> float | None:
        return percentile(self.latency, 0.95)


@dataclass(frozen=True, slots=True)
class Point:
    starts_at: datetime
    figures: Figures


@dataclass(frozen=True, slots=True)
class Group:
    """`value` is empty for what is counted together (relay.statistics.folding)."""

    value: str
    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class TopReason:
    """`examples`: messages that there still are."""

    type: str
    code: str
    count: int
    examples: list[Message]

    @property
    def reason(self) -> Reason | None:
        return REASONS.get(self.code)


@dataclass(frozen=True, slots=True)
class Statistics:
    """`counted_until`: what happened later is not in it yet; None: nothing was counted so far."""

    range: Range
    since: datetime
    counted_until: datetime | None
    points: list[Point]
    reasons: list[TopReason]
    groups: list[Group] = field(default_factory=list)

    @property
    def totals(self) -> Figures:
        return sum((point.figures for point in self.points), Figures())


@dataclass(frozen=True, slots=True)
class Of:
    """All mail, or that with one of some values of a dimension."""

    dimension: Dimension = Dimension.ALL
    values: tuple[str, ...] = ("",)

    @property
    def of_rows(self) -> Q:
        return Q(dimension=self.dimension, value__in=self.values)


EVERYTHING = Of()


def statistics(
    organization: Organization,
    span: Range,
    of: Of = EVERYTHING,
    by: Dimension | None = None,
    now: datetime | None = None,
) -> Statistics:
    """`by`: with the groups of that dimension; of all mail only."""
    moments = span.moments(now or timezone.now())
    return Statistics(
        range=span,
        since=moments[0],
        counted_until=counted_until(),
        points=_points(organization, span, moments, of),
        reasons=_reasons(organization, span, moments[0], of),
        groups=_groups(organization, span, moments[0], by) if by else [],
    )


def names_of(organization: Organization, dimension: Dimension, values: Iterable[str]) -> dict[str, str]:
    """What people call them. Of what is gone meanwhile there is a word that says so."""
    wanted = list(values)
    if dimension in {Dimension.PROVIDER, Dimension.TAG, Dimension.ALL}:
        names = {value: provider_name(value) if dimension == Dimension.PROVIDER else value for value in wanted}
    else:
        ids = [UUID(value) for value in wanted if value]
        rows: dict[UUID, Any] = {
            Dimension.DOMAIN: SendingDomain,
            Dimension.SMTP_USER: SmtpUser,
            Dimension.TEMPLATE: Template,
        }[dimension].objects.of(organization).in_bulk(ids)  # fmt: skip
        told = {key: getattr(row, "display_name", "") or str(row) for key, row in rows.items()}
        names = {value: told.get(UUID(value), f"Removed ({value[-6:]})") for value in wanted if value}
    return names | ({"": "Others together"} if "" in wanted else {})


# ---- Reading ---------------------------------------------------------------------------------------------------------


def _points(organization: Organization, span: Range, moments: list[datetime], of: Of) -> list[Point]:
    rows = Rollup.objects.of(organization).filter(of.of_rows, step=span.points_of, starts_at__gte=moments[0])
    figures = dict.fromkeys(moments, Figures())
    for row in rows:
        moment = moments[0] + (row.starts_at - moments[0]) // span.every * span.every
        if moment in figures:  # not what an id of another machine's faster clock has brought to a time to come
            figures[moment] += Figures(**{name: getattr(row, name) for name in COUNTERS}, latency=row.latency)
    return [Point(moment, figures[moment]) for moment in moments]


def _within(span: Range, since: datetime) -> Q:
    """Rollups of the whole time: days where it begins with one."""
    return Q(step=span.edge, starts_at__gte=since)


def _groups(organization: Organization, span: Range, since: datetime, by: Dimension) -> list[Group]:
    """Those with the most mail, and last what is counted together."""
    rows: QuerySet[Any, Any] = Rollup.objects.of(organization).filter(_within(span, since), dimension=by)
    sums = {name: Sum(name) for name in COUNTERS}
    summed = list(rows.values("value").annotate(**sums))
    found = [(one["value"], Figures(**{name: one[name] for name in COUNTERS})) for one in summed]
    found.sort(key=lambda one: (-max(one[1].submitted, one[1].ended), one[0]))
    own = [one for one in found if one[0]]
    shown = own[:GROUPS_MOST]
    rest = sum((figures for _, figures in [*own[GROUPS_MOST:], *(one for one in found if not one[0])]), Figures())
    buckets = _latencies(rows.filter(value__in=[value for value, _ in shown]))
    names = names_of(organization, by, [value for value, _ in shown])
    groups = [Group(value, names[value], figures + Figures(latency=buckets.get(value, ()))) for value, figures in shown]
    return groups if rest.is_empty else [*groups, Group("", "Others together", rest)]


def _latencies(rows: QuerySet[Any, Any]) -> dict[str, list[int]]:
    """By value, bucket by bucket."""
    sums = {
        f"b{number}": Sum(RawSQL(f"coalesce(latency[{number + 1}], 0)", ()))  # noqa: S611 - our own number
        for number in range(len(BOUNDS_MS) + 1)
    }
    return {
        row["value"]: [row[f"b{number}"] for number in range(len(BOUNDS_MS) + 1)]
        for row in rows.exclude(latency=[]).values("value").annotate(**sums)
    }


def _reasons(organization: Organization, span: Range, since: datetime, of: Of) -> list[TopReason]:
    rows = Failure.objects.of(organization).filter(_within(span, since), of.of_rows)
    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], set[UUID]] = {}
    for type_, reason, count, ids in rows.values_list("type", "reason", "count", "examples"):
        counts[type_, reason] = counts.get((type_, reason), 0) + count
        examples.setdefault((type_, reason), set()).update(ids)
    top = sorted(counts, key=lambda one: (one[0] == "deferred", -counts[one], one))[:REASONS_MOST]
    newest = {what: sorted(examples[what], reverse=True)[:EXAMPLES_MOST] for what in top}
    wanted = {message_id for ids in newest.values() for message_id in ids}
    messages = Message.objects.of(organization).in_bulk(list(wanted)) if wanted else {}
    return [TopReason(*what, counts[what], [messages[one] for one in newest[what] if one in messages]) for what in top]


def _rate(count: int, of: int) -> float | None:
    return count / of if of else None
