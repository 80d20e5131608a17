"""The first days of an organization: until it was reviewed, or for so many days, it may send less than its plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.feature_settings import FEATURES, all_values
from accounts.models import Organization

DAYS, MESSAGES = "first_days", "first_days_messages"  # of accounts.feature_settings


@dataclass(frozen=True, slots=True)
class FirstDays:
    """How many they are, and the messages that a new organization may send in each; 0: as its plan says."""

    days: int
    messages: int

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> FirstDays:
        """`stored`: the settings that somebody has changed, by name."""
        return cls(*(int(stored.get(name, FEATURES[name].default)) for name in (DAYS, MESSAGES)))

    def limit(self, planned: int | None, new_since: datetime | None) -> tuple[int | None, bool]:
        """The messages of a day, None: as many as it likes; and whether it is its being new that says so."""
        if new_since is None or not self.messages or new_since <= datetime.now(UTC) - timedelta(days=self.days):
            return planned, False
        is_less = planned is None or self.messages < planned
        return (self.messages, True) if is_less else (planned, False)


# The same of `accounts_organization o` and its `accounts_plan p`, in SQL.
_MOST = f"nullif({FEATURES[MESSAGES].sql}, 0)"
_IS_NEW = (
    f"o.reviewed_at IS NULL AND NOT o.is_system AND o.created_at > now() - {FEATURES[DAYS].sql} * interval '1 day'"
)
DAY_LIMIT = f"CASE WHEN {_IS_NEW} THEN least(p.messages_per_day, {_MOST})::bigint ELSE p.messages_per_day END"


def new_since(organization: Organization) -> datetime | None:
    """When it was made; None: it is new no more."""
    return None if organization.reviewed_at or organization.is_system else organization.created_at


def day_limit(organization: Organization) -> int | None:
    """The messages that it may send in a day (UTC). None: as many as it likes."""
    planned = organization.plan.messages_per_day if organization.plan else None
    since = new_since(organization)
    return FirstDays.of(all_values()).limit(planned, since)[0] if since else planned
