"""The first days of an organization: until it was reviewed, or for so many days, it may send less than its plan says."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from accounts.feature_settings import FEATURES, value_of
from accounts.models import Organization

_LIMIT = f"nullif({FEATURES['first_days_messages'].sql}, 0)"
_AGE = f"{FEATURES['first_days'].sql} * interval '1 day'"
_IS_NEW = f"(o.reviewed_at IS NULL AND NOT o.is_system AND o.created_at > now() - {_AGE})"
# Of `accounts_organization o` and its `accounts_plan p`: the messages that it may send in a day, and whether it is its being
# new that says so.
DAY_LIMIT = f"CASE WHEN {_IS_NEW} THEN least(p.messages_per_day, {_LIMIT})::bigint ELSE p.messages_per_day END"
IS_LIMITED = f"({_IS_NEW} AND coalesce({_LIMIT} < p.messages_per_day, {_LIMIT} IS NOT NULL))"


def is_new(organization: Organization) -> bool:
    if organization.reviewed_at is not None or organization.is_system:
        return False
    return organization.created_at > timezone.now() - timedelta(days=value_of("first_days"))


def day_limit(organization: Organization) -> int | None:
    """The messages that it may send in a day (UTC), as `DAY_LIMIT`. None: as many as it likes."""
    planned = organization.plan.messages_per_day if organization.plan else None
    if not is_new(organization):
        return planned
    limits = [limit for limit in (planned, value_of("first_days_messages") or None) if limit is not None]
    return min(limits, default=None)
