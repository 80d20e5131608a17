"""The page Statistics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render

from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from relay.models import Message
from relay.statistics.alerts import open_alerts
from relay.statistics.charts import Chart, Series, bar_chart, line_chart
from relay.statistics.models import Dimension
from relay.statistics.reading import EVERYTHING, RANGES, Of, Range, Statistics, TopReason, names_of, statistics
from relay.statistics.words import duration, percent

DIMENSIONS = [dimension for dimension in Dimension if dimension != Dimension.ALL]
_WITH_IDS = {Dimension.DOMAIN, Dimension.SMTP_USER, Dimension.TEMPLATE}
_UNITS = {"24h": "%H:%M", "7d": "%-d %b, %H:%M"}


@dataclass(frozen=True, slots=True)
class Choice:
    title: str
    url: str
    is_chosen: bool


@member_required(Permission.READ)
def statistics_page(request: OrganizationRequest) -> HttpResponse:
    span = RANGES.get(request.GET.get("range", ""), RANGES["7d"])
    of = _wanted(request)
    by = next((one for one in DIMENSIONS if one == request.GET.get("by")), Dimension.DOMAIN)
    is_all = of == EVERYTHING
    told = statistics(request.organization, span, of, by if is_all else None)
    name = "" if is_all else names_of(request.organization, of.dimension, of.values)[of.values[0]]
    here = {} if is_all else {of.dimension.value: of.values[0]}
    context = {
        "told": told,
        "totals": told.totals,
        "has_mail": not told.totals.is_empty or Message.objects.of(request.organization).order_by("-id").exists(),
        "labels": _labels(span, [point.starts_at for point in told.points]),
        "charts": _charts(span, told),
        "by": by,
        "is_all": is_all,
        "of": of,
        "name": name,
        "alerts": open_alerts(request.organization) if is_all else [],
        "ranges": [
            Choice(one.title, _query(range=one.code, by=by.value, **here), one == span) for one in RANGES.values()
        ],
        "dimensions": [Choice(one.label, _query(range=span.code, by=one.value), one == by) for one in DIMENSIONS],
        "groups": [
            (group, _query(range=span.code, by=by.value, **{by.value: group.value}) if group.value else "")
            for group in told.groups
        ],
        "reasons": [(one, _messages_query(span, of, name, one)) for one in told.reasons],
        "everything": _query(range=span.code, by=of.dimension.value if not is_all else by.value),
    }
    return render(request, "statistics/page.html", context)


def _wanted(request: OrganizationRequest) -> Of:
    """Raises Http404 for what cannot be anything's id or name."""
    for dimension in DIMENSIONS:
        if value := request.GET.get(dimension.value):
            try:
                return Of(dimension, (str(UUID(value)) if dimension in _WITH_IDS else _text(value),))
            except ValueError:
                raise Http404 from None
    return EVERYTHING


def _text(value: str) -> str:
    """Raises ValueError for what PostgreSQL's texts cannot hold."""
    if "\0" in value:
        raise ValueError("NUL")
    return value


def _query(**values: str) -> str:
    return f"?{urlencode(values)}"


# As the message list calls what statistics are divided by; of a provider or a template it knows nothing.
_ASKED_BY = {Dimension.DOMAIN: "domain", Dimension.TAG: "tag", Dimension.SMTP_USER: "smtp_user"}


def _messages_query(span: Range, of: Of, name: str, reason: TopReason) -> str:
    """The message list with the recipients whom this reason left in such a state. Empty where the list cannot tell them."""
    if not reason.reason or not (of == EVERYTHING or of.dimension in _ASKED_BY):
        return ""
    here = {} if of == EVERYTHING else {_ASKED_BY[of.dimension]: name}
    return _query(state=reason.type, reason=reason.code, **here, last=span.code)


def _labels(span: Range, moments: list[datetime]) -> list[str]:
    return [f"{moment.astimezone(UTC):{_UNITS.get(span.code, '%-d %b')}}" for moment in moments]


def _charts(span: Range, told: Statistics) -> list[Chart]:
    """The first is the large one."""
    labels = _labels(span, [point.starts_at for point in told.points])
    figures = [point.figures for point in told.points]

    def count(value: float) -> str:
        return f"{value:,.0f}"

    return [
        bar_chart("outcomes", "Delivered and bounced", labels, [
            Series("Delivered", "ok", [one.delivered for one in figures]),
            Series("Hard bounces", "bad", [one.bounced_hard for one in figures]),
            Series("Other bounces", "warn", [one.bounced_soft for one in figures]),
        ], count),
        bar_chart("sent", "Sent", labels, [Series("Sent", "info", [one.submitted for one in figures])], count),
        line_chart("share", "Delivered of those tried", labels, [
            Series("Delivered", "ok", [one.delivered_rate for one in figures]),
        ], percent, top=1.0),
        line_chart("bounces", "Bounced of those tried", labels, [
            Series("All bounces", "warn", [one.bounce_rate for one in figures]),
            Series("Hard bounces", "bad", [one.hard_bounce_rate for one in figures]),
        ], percent),
        bar_chart("deferred", "Deferred", labels, [Series("Deferred", "warn", [one.deferred for one in figures])], count),
        line_chart("latency", "Time to delivery", labels, [
            Series("Half within", "info", [one.p50_ms for one in figures]),
            Series("95 % within", "warn", [one.p95_ms for one in figures]),
        ], duration),
        bar_chart("complaints", "Reported as spam", labels, [
            Series("Complaints", "bad", [one.complained for one in figures]),
        ], count),
    ]  # fmt: skip
