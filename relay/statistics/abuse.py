"""Holds an organization whose mail of the last 24 hours bounced or was reported as spam too often, until operators have looked.

By the rollups, so it costs the mail path nothing. What was before the last review does not count: operators have seen that.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.utils import timezone

from accounts.feature_settings import all_values
from accounts.models import Organization
from accounts.suspension import hold_for_rates
from relay.statistics.alerts import percent_in_words
from relay.statistics.models import Dimension, Step
from relay.usage import start_of

SPAN = timedelta(hours=23)  # before the hour that runs

_RATES = """
    SELECT r.organization_id, sum(r.delivered), sum(r.delivered + r.bounced_hard + r.bounced_soft), sum(r.complained),
           sum(r.bounced_hard)
    FROM accounts_organization o
    JOIN statistics_rollup r ON r.organization_id = o.id AND r.dimension = %s AND r.step = %s
        AND r.starts_at >= greatest(%s, o.reviewed_at)
    WHERE NOT o.is_system AND o.suspended_at IS NULL
    GROUP BY 1
"""


def hold_by_rates() -> int:
    """Returns how many were held. Two at once do no harm."""
    features = all_values()
    bounces, complaints = features["hold_bounces_percent"], features["hold_complaints_percent"]
    if not (bounces or complaints):
        return 0
    held, judged_from = 0, features["hold_judged_from"]
    with connection.cursor() as cursor:
        since = start_of(Step.HOUR, timezone.now() - SPAN)
        cursor.execute(_RATES, [Dimension.ALL.value, Step.HOUR.value, since])
        rows = cursor.fetchall()
    for organization_id, delivered, ended, complained, bounced in rows:
        reason = ""
        if _passes(bounced, ended, bounces, judged_from):
            reason = _words(bounced, ended, "of its recipients bounced hard: those addresses do not exist")
        elif _passes(complained, delivered, complaints, judged_from):
            reason = _words(complained, delivered, "of those who got its mail reported it as spam")
        organization = Organization.objects.filter(pk=organization_id).first() if reason else None
        held += organization is not None and hold_for_rates(organization, reason)
    return held


def _passes(count: int, of: int, percent: float, judged_from: int) -> bool:
    return bool(percent) and of >= judged_from and float(count) * 100 >= float(of) * percent


def _words(count: int, of: int, what: str) -> str:
    return f"In the last 24 hours {percent_in_words(float(count) / float(of))} {what} ({count:,} of {of:,})."
