"""What an organization's plan allows of people and things, and the plan that new organizations begin with.

Messages are counted in the mail path (`relay.submission.metering`).
"""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.catalogue import Refused
from accounts.models import Invitation, Membership, Organization, Plan


def locked_plan(organization: Organization) -> Plan | None:
    """The plan, for one who is about to add what it limits; others wait until the end of the caller's transaction."""
    query = Organization.objects.of(organization).select_for_update(of=["self"], no_key=True)
    return query.select_related("plan").get().plan


def check_member_quota(organization: Organization, *, inviting: bool = False) -> None:
    """Before a member is added, in the transaction that does it. Raises `Refused("quota_members_reached")`.

    `inviting`: a place is also needed for each open invitation. Without it somebody takes a place that was kept.
    """
    plan = locked_plan(organization)
    if plan is None or plan.members is None:
        return
    used = members_of(organization) + (open_invitations_of(organization) if inviting else 0)
    if used >= plan.members:
        raise Refused("quota_members_reached", most=f"{plan.members:,}", used=f"{used:,}")


def members_of(organization: Organization) -> int:
    return Membership.objects.of(organization).count()


def open_invitations_of(organization: Organization) -> int:
    query = Invitation.objects.of(organization).filter(accepted_at__isnull=True, revoked_at__isnull=True)
    return query.filter(expires_at__gt=timezone.now()).count()


@transaction.atomic
def ensure_default_plan() -> None:
    """On the first start; operators edit it from then on. Organizations that are older than plans have none."""
    if Plan.objects.exists():
        return
    if settings.SANDBOX:
        limits = {"messages_per_day": 1_000_000, "messages_per_month": 10_000_000, "domains": 1000, "members": 1000}
    else:
        limits = {
            "messages_per_day": 50_000,
            "messages_per_month": 1_000_000,
            "messages_per_second": 100,
            "domains": 100,
            "members": 100,
        }
    Plan.objects.create(name="Standard", is_default=True, **limits)
