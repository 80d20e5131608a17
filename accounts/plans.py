"""What operators change of plans, in the audit logs of those whom it concerns."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from accounts.audit import Actor, note
from accounts.models import Organization, Plan


def note_plan_choice(organization: Organization, before: Plan | None, *, by: Actor) -> None:
    if (before and before.pk) != organization.plan_id:
        note(
            by,
            "organization.plan_changed",
            organization,
            organization_id=organization.pk,
            before={"plan": before.name if before else None},
            after={"plan": organization.plan.name if organization.plan else None},
        )


def note_plan_change(before: Plan | None, after: Plan | None, *, by: Actor) -> None:
    """In the log of each organization on the plan, and always in that of the platform's own.

    `before` None: it is new; `after` None: it is being deleted.
    """
    plan = after or before
    assert plan
    old, new = _values(before), _values(after)
    changed = [name for name in new | old if old.get(name) != new.get(name)]
    if not changed:
        return
    verb = "changed" if before and after else "added" if after else "removed"
    for organization_id in Organization.objects.filter(Q(is_system=True) | Q(plan=plan)).values_list("pk", flat=True):
        note(
            by,
            f"plan.{verb}",
            plan,
            organization_id=organization_id,
            before={name: old[name] for name in changed} if before else None,
            after={name: new[name] for name in changed} if after else None,
        )


def _values(plan: Plan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    return {field.name: getattr(plan, field.name) for field in Plan._meta.concrete_fields if not field.primary_key}
