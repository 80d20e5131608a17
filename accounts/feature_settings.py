"""Switches of the whole platform that operators change while it runs. What they have not changed is as it stands here.

Changes hold within seconds, in all processes: nothing keeps them but the doors' directory (`relay.submission.directory`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.audit import Actor, Thing, note
from accounts.models import FeatureSetting, Organization

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Feature:
    """`default`: its type is the setting's. `least`, `most`: of numbers; of text `most` is its length."""

    name: str
    title: str
    default: Value
    meaning: str
    group: str
    least: float = 0
    most: float = 10_000_000

    @property
    def sql(self) -> str:
        """Its value, as a part of a statement; numbers only."""
        column = f"SELECT (value #>> '{{}}')::numeric FROM accounts_featuresetting WHERE name = '{self.name}'"  # noqa: S608
        return f"coalesce(({column}), {float(self.default)})"

    def check(self, value: Value) -> Value:
        """Raises ValueError."""
        if isinstance(self.default, str):
            text = str(value).strip()
            if len(text) > self.most:
                raise ValueError(f"{self.title} may have {self.most:.0f} characters.")
            return text
        if isinstance(self.default, bool):
            return bool(value)
        number: Value = type(self.default)(value)
        if not self.least <= float(number) <= self.most:
            raise ValueError(f"{self.title} must lie between {self.least:g} and {self.most:g}.")
        return number


_IS_LIVE = not settings.SANDBOX
_ROWS = [
    Feature("sign_ups_open", "Sign-ups are open", True,
            "Off: nobody signs up. Who was invited to an organization still comes in.", "New organizations"),
    Feature("review_new", "Operators look at each new organization", True,
            "New organizations stand in the review queue until somebody finds them in order.", "New organizations"),
    Feature("first_days", "First days", 7,
            "So many days, or until it is reviewed, an organization is new.", "New organizations", most=365),
    Feature("first_days_messages", "Messages a day in the first days", 1000 if _IS_LIVE else 0,
            "A new organization may send so many each day (UTC), where its plan does not say less. 0: as its plan says.",
            "New organizations"),
    Feature("hold_bounces_percent", "Hold from this rate of hard bounces, in percent", 10.0 if _IS_LIVE else 0.0,
            "An organization whose recipients of the last 24 hours bounced hard more often is held and put into the review "
            "queue. 0: never.", "Automatic hold", most=100),
    Feature("hold_complaints_percent", "Hold from this rate of complaints, in percent", 0.5 if _IS_LIVE else 0.0,
            "The same for complaints by those to whom mail was delivered. 0: never.", "Automatic hold", most=100),
    Feature("hold_judged_from", "Recipients from which on a rate is judged", 200,
            "Of fewer in 24 hours a rate says little.", "Automatic hold", least=1),
    Feature("maintenance_banner", "Banner", "",
            "Stands on every page, for everybody. Empty: none.", "Maintenance", most=300),
]  # fmt: skip

FEATURES = {row.name: row for row in _ROWS}


def value_of(name: str) -> Any:
    row = FeatureSetting.objects.filter(pk=name).values_list("value", flat=True).first()
    return FEATURES[name].default if row is None else row


def all_values() -> dict[str, Any]:
    """By name, in the order of the table."""
    stored = dict(FeatureSetting.objects.values_list("name", "value"))
    return {name: stored.get(name, feature.default) for name, feature in FEATURES.items()}


def change(values: dict[str, Value], *, by: Actor) -> list[str]:
    """Those that differ, in one transaction with their entry in the platform's own audit log. Returns their names.

    Raises ValueError.
    """
    wanted = {name: FEATURES[name].check(value) for name, value in values.items()}
    with transaction.atomic():
        platform = Organization.objects.select_for_update(no_key=True).get(is_system=True)
        current = all_values()
        changed = [name for name, value in wanted.items() if current[name] != value]
        for name in changed:
            FeatureSetting.objects.update_or_create(
                pk=name, defaults={"value": wanted[name], "changed_at": timezone.now(), "changed_by": by.name}
            )
        if changed:
            note(
                by,
                "feature_settings.changed",
                Thing(None, "platform"),
                organization_id=platform.pk,
                before={name: current[name] for name in changed},
                after={name: wanted[name] for name in changed},
            )
    return changed
