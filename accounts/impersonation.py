"""Looking as an organization: an operator sees its pages as its members do, for half an hour at most.

It is the operator's own session that remembers it; nobody's account is entered. What a look may do is less than any member's
role with the same power: it reaches no secret, no content of mail, no person and no account. Its begin and its end stand in the
organization's audit log, and what is changed meanwhile is the operator's act there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.audit import Thing, actor_of, note
from accounts.models import Membership, Organization, Role, User
from accounts.permissions import Permission
from accounts.walls import across_organizations

SESSION_KEY = "looking_as"
LASTS = timedelta(minutes=30)

MAY_SEE = frozenset({Permission.READ, Permission.READ_AUDIT})
MAY_ACT = MAY_SEE | {
    Permission.ACT_ON_MAIL,
    Permission.MANAGE_DOMAINS,
    Permission.MANAGE_SUPPRESSIONS,
    Permission.SAVE_FILTERS,
}
# While one looks: nobody's account, the operators' admin, and what would lead to another organization.
CLOSED = ("/accounts/", "/account/", "/admin/", "/organizations/", "/invitations/", "/second-factor/")
OPEN = ("/accounts/logout/",)


@dataclass(frozen=True, slots=True)
class Look:
    organization_id: UUID
    until: datetime
    may_change: bool


def begin(request: HttpRequest, organization: Organization, reason: str, *, may_change: bool) -> Look:
    """Only for those with the permission, who have shown who they are: see `accounts.organization_admin`."""
    look = Look(organization.pk, timezone.now() + LASTS, may_change)
    note(
        actor_of(request, operator=True),
        "organization.look_begun",
        organization,
        organization_id=organization.pk,
        after={"reason": reason, "until": look.until, "may_change": may_change},
    )
    request.session[SESSION_KEY] = [str(organization.pk), look.until.timestamp(), may_change]
    return look


def look_of(request: HttpRequest) -> Look | None:
    """None: there is none, its time is over, or the operator may not any more."""
    stored = request.session.get(SESSION_KEY)
    if not stored:
        return None
    look = Look(UUID(stored[0]), datetime.fromtimestamp(stored[1], UTC), bool(stored[2]))
    if look.until > timezone.now() and _may_look(request, look):
        return look
    del request.session[SESSION_KEY]
    messages.info(request, "You do not look as an organization any more: the time is over. These pages are your own.")
    return None


def membership_for(request: HttpRequest, look: Look) -> Membership | None:
    """The place of somebody who only looks; it is no row. None: the organization is gone."""
    organization = Organization.objects.of(look.organization_id).first()
    assert isinstance(request.user, User)
    if organization is None:
        return None
    membership = Membership(organization=organization, user=request.user, role=Role.VIEWER)
    membership.look = look
    membership.permissions = MAY_ACT if look.may_change else MAY_SEE
    return membership


@across_organizations()  # a person's permissions are no organization's
def _may_look(request: HttpRequest, look: Look) -> bool:
    user = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return False
    may_change = not look.may_change or user.has_perm("accounts.act_as_organization")
    return bool(user.has_perm("accounts.look_as_organization") and may_change)


@require_POST
def look_end(request: HttpRequest) -> HttpResponse:
    """The way out."""
    look = look_of(request)
    if look is None:
        return redirect("overview")
    note(
        actor_of(request, operator=True),
        "organization.look_ended",
        Thing(look.organization_id, _name(look.organization_id)),
        organization_id=look.organization_id,
    )
    del request.session[SESSION_KEY]
    return redirect(reverse("admin:accounts_organization_change", args=[look.organization_id]))


def _name(organization_id: UUID) -> str:
    return Organization.objects.of(organization_id).values_list("name", flat=True).first() or str(organization_id)


def closed_while_looking(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path.startswith(CLOSED) and not path.startswith(OPEN) and look_of(request) is not None:
            return render(request, "accounts/closed_while_looking.html", status=403)
        return get_response(request)

    return middleware
