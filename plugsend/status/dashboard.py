"""The operators' dashboard: the admin's first page. Every figure is of bounded cost (`plugsend.status.facts`, rollups), and
what is read serves all who look for some seconds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from accounts.models import Membership, Organization
from plugsend.status import facts
from plugsend.status.board import board
from plugsend.status.components import COMPONENTS
from plugsend.status.models import ComponentState, Throughput
from relay.models import ExchangerGroup
from relay.statistics.alerts import THRESHOLDS, percent_in_words
from relay.statistics.charts import Chart, Series, line_chart
from relay.statistics.models import Dimension, Step
from relay.usage import start_of
from relay.webhooks.models import EndpointState, WebhookEndpoint

KEPT_S = 4.0
KEPT_LONG_S = 30.0  # what is read of every organization
MINUTES = 60
LISTED = 8
BROKER_WITHIN_S = 0.5

# Rights of Django's, by panel.
SEE_HEALTH = "status.view_componentstate"
SEE_QUEUE = "relay.view_recipient"
SEE_ORGANIZATIONS = "accounts.view_organization"
SEE_WEBHOOKS = "webhooks.view_webhookendpoint"

_RATES = """
    SELECT * FROM (
        SELECT o.id, o.name, o.suspended_at, sum(r.submitted) AS submitted, sum(r.delivered) AS delivered,
               sum(r.delivered + r.bounced_hard + r.bounced_soft) AS ended, sum(r.bounced_hard) AS hard,
               sum(r.complained) AS complained
        FROM accounts_organization o
        JOIN statistics_rollup r ON r.organization_id = o.id AND r.dimension = %(all)s AND r.step = %(hour)s
            AND r.starts_at >= %(since)s
        WHERE NOT o.is_system GROUP BY o.id
    ) rates
    WHERE (ended >= %(hard_from)s AND hard > 0) OR (delivered >= %(complained_from)s AND complained > 0)
    ORDER BY greatest(hard / %(hard_warn)s / greatest(ended, 1), complained / %(complained_warn)s / greatest(delivered, 1)) DESC
    LIMIT %(listed)s
"""

_SENT = """
    SELECT organization_id, sum(submitted) FROM statistics_rollup
    WHERE organization_id = ANY(%s) AND dimension = %s AND step = %s AND starts_at >= %s GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Outlier:
    """An organization's rates of the last 24 hours. Levels as those of alerts: empty, warn, error."""

    organization: Organization
    submitted: int
    bounces: str
    bounces_level: str
    complaints: str
    complaints_level: str


@dataclass(frozen=True, slots=True)
class SignUp:
    organization: Organization
    owner: str
    sent: int


@dataclass(frozen=True, slots=True)
class Broker:
    """`error` set: it did not answer."""

    error: str = ""
    waiting: int = 0
    memory: int = 0
    most_memory: int = 0
    clients: int = 0
    took_ms: float = 0.0


class _Kept:
    """What is read at most once in some seconds in this process, however many look."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, Any]] = {}

    def get(self, name: str, read: Callable[[], Any], seconds: float = KEPT_S) -> Any:
        known = self._values.get(name)
        if known is None or time.monotonic() - known[0] >= seconds:
            known = self._values[name] = time.monotonic(), read()
        return known[1]

    def forget(self) -> None:
        self._values.clear()


kept = _Kept()


def on_index(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Django-unfold's hook: what the admin's index shows besides its lists."""
    return context | panels(request)


@staff_member_required
def dashboard_live(request: HttpRequest) -> HttpResponse:
    """What an open dashboard asks for every few seconds."""
    return render(request, "admin/dashboard/panels.html", panels(request))


def panels(request: HttpRequest) -> dict[str, Any]:
    """Those that the reader may see."""
    may = request.user.has_perm
    shown: dict[str, Any] = {}
    if may(SEE_HEALTH):
        shown |= kept.get("health", _health) | {"board": board()}
    if may(SEE_QUEUE):
        shown |= kept.get("queue", _queue)
    if may(SEE_ORGANIZATIONS):
        shown["outliers"] = kept.get("outliers", _outliers, KEPT_LONG_S)
        shown["sign_ups"] = kept.get("sign_ups", _sign_ups)
    if may(SEE_WEBHOOKS):
        shown["failing_webhooks"] = kept.get("webhooks", _failing_webhooks)
    return {"dashboard": shown, "links": _links()}


def _links() -> dict[str, str]:
    """Addresses of the admin, where such a page is registered."""
    names = {
        "groups": "relay_exchangergroup", "recipients": "relay_recipient", "organizations": "accounts_organization",
        "incidents": "status_incident", "webhooks": "webhooks_webhookendpoint", "components": "status_componentstate",
    }  # fmt: skip
    found = {}
    for name, page in names.items():
        try:
            found[name] = reverse(f"admin:{page}_changelist")
        except NoReverseMatch:
            continue
    return found


# ---- Health ----------------------------------------------------------------------------------------------------------


def _health() -> dict[str, Any]:
    with facts.bounded() as cursor:
        engines = facts.engines(cursor)
        database = facts.database(cursor)
    total, _, free = shutil.disk_usage(settings.VAR)
    known = {one.code: one for one in ComponentState.objects.all()}
    minutes = _minutes()
    return {
        "engines": engines,
        "engines_alive": sum(one.is_alive for one in engines),
        "database": database,
        "connections_percent": 100 * database.connections / database.most_connections,
        "hits": "–" if database.hits is None else f"{100 * database.hits:.1f} %",
        "broker": _broker(),
        "disk_free": free,
        "disk_total": total,
        "disk_percent": 100 * (total - free) / total,
        "components": [(component, known.get(code)) for code, component in COMPONENTS.items()],
        "throughput": _throughput(minutes),
        "last_minute": minutes[-1] if minutes and minutes[-1] else None,
    }


_pool: redis.ConnectionPool | None = None


def _broker() -> Broker:
    global _pool
    if _pool is None:
        _pool = redis.ConnectionPool.from_url(
            settings.REDIS_URL, socket_timeout=BROKER_WITHIN_S, socket_connect_timeout=BROKER_WITHIN_S
        )
    client = redis.Redis(connection_pool=_pool)
    began = time.monotonic()
    try:
        told: dict[str, Any] = client.info()
        waiting: int = client.llen("celery")
    except (redis.RedisError, OSError) as error:
        return Broker(error=str(error)[:200] or type(error).__name__)
    took_ms = (time.monotonic() - began) * 1000
    return Broker("", waiting, told["used_memory"], told.get("maxmemory", 0), told["connected_clients"], took_ms)


def _minutes() -> list[Throughput | None]:
    """The last hour, minute by minute; None where nobody looked."""
    now = timezone.now().replace(second=0, microsecond=0)
    first = now - timedelta(minutes=MINUTES)
    known = {one.minute: one for one in Throughput.objects.filter(minute__gte=first)}
    return [known.get(first + timedelta(minutes=number)) for number in range(MINUTES)]


def _throughput(minutes: list[Throughput | None]) -> Chart:
    first = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=MINUTES)
    labels = [f"{first + timedelta(minutes=number):%H:%M}" for number in range(MINUTES)]
    series = [
        Series(name, tone, [None if one is None else float(getattr(one, field)) for one in minutes])
        for name, tone, field in (
            ("in", "info", "submitted"),
            ("out", "ok", "delivered"),
            ("bounced", "bad", "bounced"),
        )
    ]
    return line_chart("throughput", "Recipients per minute", labels, series, lambda value: f"{value:,.0f}")


# ---- The queue -------------------------------------------------------------------------------------------------------


def _queue() -> dict[str, Any]:
    with facts.bounded() as cursor:
        queue = facts.queue(cursor)
        ages = facts.ages(cursor)
        longest = queue.waiting[: facts.DESTINATIONS_MOST]
        counted = facts.counted(cursor, [one.destination for one in longest])
    most = max([1, *ages.counts.values()])
    return {
        "queue": queue,
        "ages": ages,
        "age_bars": [(name, count, 100 * count / most) for name, count in ages.counts.items()],
        "destinations": [(one, counted[one.destination]) for one in longest],
        "counted_most": facts.PER_DESTINATION_MOST,
        "troubled_groups": list(
            ExchangerGroup.objects.filter(suspended_since__isnull=False).order_by("suspended_since")[:LISTED]
        ),
    }


# ---- Organizations ---------------------------------------------------------------------------------------------------


def _outliers() -> list[Outlier]:
    bounces, complaints = THRESHOLDS["hard_bounces"], THRESHOLDS["complaints"]
    with facts.bounded() as cursor:
        cursor.execute(
            _RATES,
            {
                "all": Dimension.ALL.value, "hour": Step.HOUR.value,
                "since": start_of(Step.HOUR, timezone.now() - timedelta(hours=23)),
                "hard_from": bounces.judged_from, "hard_warn": bounces.warn,
                "complained_from": complaints.judged_from, "complained_warn": complaints.warn, "listed": LISTED,
            },
        )  # fmt: skip
        rows = cursor.fetchall()
    outliers = []
    for key, name, suspended_at, submitted, delivered, ended, hard, complained in rows:
        outliers.append(
            Outlier(
                Organization(pk=key, name=name, suspended_at=suspended_at),
                int(submitted),
                percent_in_words(hard / ended) if ended else "–",
                bounces.level(int(hard), int(ended)),
                percent_in_words(complained / delivered) if delivered else "–",
                complaints.level(int(complained), int(delivered)),
            )
        )
    return outliers


def _sign_ups() -> list[SignUp]:
    """Who waits for a look, held ones first, then the newest organizations: their ids are in the order of time."""
    others = Organization.objects.filter(is_system=False)
    waiting = others.filter(review_since__isnull=False).order_by("-review_cause", "review_since")
    newest = list(dict.fromkeys([*waiting[:LISTED], *others.order_by("-pk")[:LISTED]]))[:LISTED]
    keys = [one.pk for one in newest]
    places = Membership.objects.filter(organization__in=keys).select_related("user").order_by("-created_at")
    owners = {one.organization_id: one.user.email for one in places}  # the first one's stays
    with facts.bounded() as cursor:
        cursor.execute(_SENT, [keys, Dimension.ALL.value, Step.DAY.value, _week_ago()])
        sent = dict(cursor.fetchall())
    return [SignUp(one, owners.get(one.pk, ""), int(sent.get(one.pk, 0))) for one in newest]


def _week_ago() -> datetime:
    return start_of(Step.DAY, timezone.now() - timedelta(days=6))


def _failing_webhooks() -> list[WebhookEndpoint]:
    failing = WebhookEndpoint.objects.filter(
        failing_since__isnull=False, state__in=[EndpointState.ENABLED, EndpointState.PAUSED]
    )
    return list(failing.select_related("organization").order_by("failing_since")[:LISTED])
