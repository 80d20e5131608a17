"""What an organization has used of its plan, for pages, for REST and for the mails that warn its owners."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.first_days import DAY_LIMIT, day_limit
from accounts.models import Organization, Plan, QuotaNotice
from accounts.notices import notify_owners
from accounts.quotas import members_of, open_invitations_of
from domains.models import SendingDomain
from relay.models import Period
from relay.retention import days_kept
from relay.usage import WARN_PERCENT, Usage, days_of, end_of, percent_of, start_of, usage_of, used_by

# Of what is counted or reserved, which is never less than what is used.
_NEARLY_FULL = f"""
    SELECT o.id, c.period, c.starts_at, w.most
    FROM accounts_organization o
    LEFT JOIN accounts_plan p ON p.id = o.plan_id
    CROSS JOIN LATERAL (VALUES ('day', %s::timestamptz, {DAY_LIMIT}), ('month', %s, p.messages_per_month))
        AS w (period, starts_at, most)
    JOIN relay_usagecounter c ON (c.subject_id, c.period, c.starts_at) = (o.id, w.period, w.starts_at)
    WHERE w.most > 0 AND c.count * 100 >= w.most * %s::bigint
    ORDER BY o.id
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Places:
    """How many there are of something that is not used up: domains, members. `most` None: there is no limit."""

    used: int
    most: int | None

    @property
    def high(self) -> float:
        return (self.most or 0) * WARN_PERCENT / 100

    @property
    def percent(self) -> int:
        return percent_of(self.used, self.most)


@dataclass(frozen=True, slots=True)
class Quotas:
    plan: Plan | None
    day: Usage
    month: Usage
    recipients: int  # of a message
    content_days: int  # for which contents are kept
    event_days: int  # for which messages and events are kept
    domains: Places
    members: Places
    history: list[tuple[datetime, int]]  # messages of the last days, the oldest first


def messages_of(organization: Organization) -> list[Usage]:
    """Of the day and the month."""
    plan = organization.plan
    limits = {
        Period.DAY: day_limit(organization),
        Period.MONTH: plan.messages_per_month if plan else None,
    }
    return usage_of(organization.pk, limits)


def quotas_of(organization: Organization) -> Quotas:
    plan = organization.plan
    day, month = messages_of(organization)
    planned = plan.recipients_per_message if plan else None
    return Quotas(
        plan,
        day,
        month,
        settings.RECIPIENTS_LIMIT if planned is None else min(planned, settings.RECIPIENTS_LIMIT),
        *days_kept(plan),
        Places(SendingDomain.objects.of(organization).count(), plan.domains if plan else None),
        Places(members_of(organization) + open_invitations_of(organization), plan.members if plan else None),
        days_of(organization.pk),
    )


def nearly_full(organization: Organization) -> list[Usage]:
    """What is worth a notice: 80 % or more of a limit."""
    return [usage for usage in messages_of(organization) if usage.most is not None and usage.used >= usage.high]


def warn_owners() -> int:
    """Tells owners when 80 % of a limit are used and when all of it is, once a period. Returns how many mails that makes."""
    now = timezone.now()
    starts = [start_of(period, now) for period in (Period.DAY, Period.MONTH)]
    with connection.cursor() as cursor:
        cursor.execute(_NEARLY_FULL, (*starts, WARN_PERCENT))
        limits = {(row[0], row[1], row[2]): row[3] for row in cursor.fetchall()}
    told = 0
    for key, used in used_by(list(limits)).items():
        organization_id, period, starts_at = key
        most = limits[key]
        for percent in (100, WARN_PERCENT):
            if used * 100 >= most * percent:
                told += _tell(organization_id, period, starts_at, percent, used, most)
                break
    return told


def _tell(organization_id: UUID, period: str, starts_at: datetime, percent: int, used: int, most: int) -> bool:
    quota = f"messages_per_{period}"
    with transaction.atomic():
        organization = Organization.objects.get(pk=organization_id)
        _, is_new = QuotaNotice.objects.get_or_create(
            organization=organization, quota=quota, starts_at=starts_at, percent=percent
        )
        if not is_new:
            return False
        if percent == 100:  # then 80 % is no news any more
            QuotaNotice.objects.get_or_create(
                organization=organization, quota=quota, starts_at=starts_at, percent=WARN_PERCENT
            )
        notify_owners(
            organization,
            "quota_used_up" if percent == 100 else "quota_nearly_used_up",
            period=period,
            percent=percent_of(used, most),
            used=f"{used:,}",
            most=f"{most:,}",
            until=f"{end_of(period, starts_at):%-d %B %Y, %H:%M} UTC",
        )
    return True
