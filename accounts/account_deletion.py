"""Deleting a person's own account. Organizations stay; what the person did in them stays told by name."""

from __future__ import annotations

from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.db import transaction

from accounts import members
from accounts.audit import Actor
from accounts.models import Invitation, Membership, Organization, Role, User
from accounts.notices import notify_departed
from accounts.walls import across_organizations


@across_organizations()
def only_owner_of(user: User) -> list[Organization]:
    """The organizations that nobody else could act for: without them the account cannot go."""
    others = Membership.objects.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
    owned = Organization.objects.filter(memberships__user=user, memberships__role=Role.OWNER)
    return list(owned.exclude(pk__in=others.values("organization_id")).order_by("name"))


@across_organizations()
def delete_account(user: User, *, by: Actor) -> bool:
    """With memberships, addresses, ways to sign in and sessions. False: an operator, or somewhere the only owner."""
    with transaction.atomic():
        # Two owners of one organization who leave at once do so one after the other.
        theirs = Organization.objects.filter(memberships__user=user).order_by("pk")
        list(theirs.select_for_update(no_key=True, of=("self",)).values_list("pk", flat=True))
        current = User.objects.select_for_update().filter(pk=user.pk).first()
        if current is None or current.is_staff or only_owner_of(current):
            return False
        for membership in current.memberships.select_related("organization").order_by("organization_id"):
            members.leave(membership, by=by)
        Invitation.objects.filter(invited_by=current).update(invited_by_name=current.get_full_name())
        get_adapter().end_sessions(UserSession.objects.filter(user=current))
        notify_departed(current.email, "account_deleted", email=current.email)
        current.delete()
    return True
