"""Watches the rates of bounces and complaints of each sending domain against what Gmail and Yahoo ask of senders.

The same thresholds as on a domain's page (`relay.domain_health`), over the last 24 hours, in which a bad list shows at once,
and over 7 days, in which small senders have enough mail to be judged. An alert is raised once for a crossing, and once more
when it gets worse; it ends when the rate is well below the threshold, so that one that sways about it does not alert each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.audit import SYSTEM, note
from accounts.models import Organization
from accounts.notices import notify_owners
from domains.models import SendingDomain
from relay.domain_health import COMPLAINTS_JUDGED_FROM, JUDGED_FROM
from relay.statistics.models import Alert, Dimension, Step
from relay.usage import start_of

ENDS_BELOW = 0.75  # of the threshold at which it warns
LEVELS = ("", "warn", "error")  # in their order
_SPANS = (
    (1, Step.HOUR, timedelta(hours=23)),
    (7, Step.DAY, timedelta(days=6)),
)  # days, and how far back the first one begins


@dataclass(frozen=True, slots=True)
class Threshold:
    """`warn`, `error`: rates. `judged_from`: of fewer recipients a rate says little."""

    measure: str
    title: str
    warn: float
    error: float
    judged_from: int
    meaning: str
    advice: str

    def level(self, count: int, of: int) -> str:
        if of < self.judged_from:
            return ""
        return "error" if count >= of * self.error else "warn" if count >= of * self.warn else ""

    def has_ended(self, count: int, of: int) -> bool:
        return of < self.judged_from or count < of * self.warn * ENDS_BELOW


THRESHOLDS = {
    one.measure: one
    for one in (
        Threshold(
            "complaints", "Complaints", 0.001, 0.003, COMPLAINTS_JUDGED_FROM,
            "Gmail and Yahoo ask senders to stay below 0.1 % of complaints, and never to reach 0.3 %: from there on they put "
            "mail into spam or refuse it.",
            "Stop sending to people who did not ask for it, make leaving easy, and look at which template or tag the "
            "complaints came from.",
        ),
        Threshold(
            "hard_bounces", "Hard bounces", 0.02, 0.05, JUDGED_FROM,
            "Receivers take a sender with many addresses that do not exist for a spammer. Keep it under 2 %; from 5 % on "
            "they slow down or refuse mail.",
            "Stop the sending that the addresses came from, and clean that list. Addresses that bounced are suppressed "
            "already; check how new ones come in, and confirm them by a first mail.",
        ),
    )
}  # fmt: skip

_RATES = """
    SELECT r.organization_id, r.value::uuid, sum(r.delivered), sum(r.delivered + r.bounced_hard + r.bounced_soft),
           sum(r.complained), sum(r.bounced_hard)
    FROM accounts_organization o
    JOIN statistics_rollup r ON r.organization_id = o.id AND r.dimension = %s AND r.step = %s AND r.starts_at >= %s
    WHERE r.value <> '' AND NOT o.is_system
    GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a measure of a domain in the last `days`."""

    organization_id: UUID
    domain_id: UUID
    measure: str
    days: int
    count: int
    of: int

    @property
    def level(self) -> str:
        return THRESHOLDS[self.measure].level(self.count, self.of)


def watch() -> int:
    """Raises alerts, makes them worse, ends them. Returns how many changed. Two at once do no harm."""
    by_subject: dict[tuple[UUID, UUID, str], list[Rate]] = {}
    for rate in _rates():
        by_subject.setdefault((rate.organization_id, rate.domain_id, rate.measure), []).append(rate)
    still_open = {
        (one.organization_id, one.domain_id, one.measure): one for one in Alert.objects.filter(ended_at__isnull=True)
    }
    changed = 0
    for subject in {*by_subject, *still_open}:
        rates = by_subject.get(subject, [])
        worst = max(rates, key=lambda one: (LEVELS.index(one.level), one.days), default=None)
        alert = still_open.get(subject)
        if worst and worst.level and (alert is None or LEVELS.index(worst.level) > LEVELS.index(alert.level)):
            changed += _raise(worst)
        elif alert and all(THRESHOLDS[one.measure].has_ended(one.count, one.of) for one in rates):
            changed += Alert.objects.filter(pk=alert.pk, ended_at__isnull=True).update(ended_at=timezone.now())
    return changed


def open_alerts(organization: Organization) -> list[dict[str, Any]]:
    """What a page tells of those that are open: the alert, its threshold, its domain. The worst first."""
    alerts = Alert.objects.of(organization).filter(ended_at__isnull=True).order_by("level", "-raised_at")
    domains = SendingDomain.objects.of(organization).in_bulk([alert.domain_id for alert in alerts])
    return [
        {"alert": alert, "threshold": THRESHOLDS[alert.measure], "domain": domains[alert.domain_id]}
        for alert in alerts
        if alert.domain_id in domains
    ]


def _rates() -> Iterable[Rate]:
    now = timezone.now()
    with connection.cursor() as cursor:
        for days, step, back in _SPANS:
            cursor.execute(_RATES, [Dimension.DOMAIN.value, step.value, start_of(step, now - back)])
            for organization, domain, delivered, ended, complained, hard in cursor.fetchall():
                yield Rate(organization, domain, "complaints", days, int(complained), int(delivered))
                yield Rate(organization, domain, "hard_bounces", days, int(hard), int(ended))


def _raise(rate: Rate) -> bool:
    """With its mail and its entry in the audit log, unless another process has done it."""
    threshold = THRESHOLDS[rate.measure]
    reached = {"level": rate.level, "count": rate.count, "of": rate.of, "days": rate.days}
    with transaction.atomic():
        organization = Organization.objects.select_for_update(no_key=True).filter(pk=rate.organization_id).first()
        domain = SendingDomain.objects.filter(pk=rate.domain_id, organization_id=rate.organization_id).first()
        if organization is None or domain is None:
            return False
        alert, is_new = Alert.objects.get_or_create(
            organization=organization, domain_id=domain.pk, measure=rate.measure, ended_at=None, defaults=reached
        )
        if not is_new:
            if LEVELS.index(alert.level) >= LEVELS.index(rate.level):
                return False
            Alert.objects.filter(pk=alert.pk).update(**reached, raised_at=timezone.now())
        before = {} if is_new else {"level": alert.level}
        after = {"measure": rate.measure, "level": rate.level, "count": rate.count, "of": rate.of}
        note(SYSTEM, "domain.rate_alert", domain, organization_id=organization.pk, before=before, after=after)
        notify_owners(
            organization,
            "rate_alert",
            domain=domain.display_name,
            title=threshold.title,
            percent=percent_in_words(rate.count / rate.of),
            count=f"{rate.count:,}",
            of=f"{rate.of:,}",
            time="24 hours" if rate.days == 1 else f"{rate.days} days",
            limit=percent_in_words(threshold.error if rate.level == "error" else threshold.warn),
            meaning=threshold.meaning,
            advice=threshold.advice,
            what="delivered mails" if rate.measure == "complaints" else "mails",
            domain_id=str(domain.pk),
        )
    return True


def percent_in_words(rate: float) -> str:
    """To two digits that count."""
    percent = rate * 100
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2f} %"
