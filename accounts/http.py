"""Requests made in the name of an organization."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django_htmx.middleware import HtmxDetails

from accounts.middleware import membership_of
from accounts.models import Membership, Organization, User
from accounts.permissions import Permission
from accounts.walls import act_for

P = ParamSpec("P")


class OrganizationRequest(HttpRequest):
    """A signed-in person's request; `organization` is the only one whose rows it may see or change."""

    organization: Organization
    membership: Membership
    user: User
    htmx: HtmxDetails


View = Callable[Concatenate[OrganizationRequest, P], HttpResponse]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponse]


def member_required(permission: Permission, *, to_change: Permission | None = None) -> Callable[[View[P]], Guarded[P]]:
    """Lets only signed-in members in whose role has the permission; someone without an organization is led to make one.

    `to_change`: what anything but GET and HEAD takes, where that is more. Refused members get 403 with the reason.
    """

    def decorate(view: View[P]) -> Guarded[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            membership = membership_of(request)
            if membership is None:
                return redirect("organization_create")
            theirs = cast(OrganizationRequest, request)
            theirs.organization, theirs.membership = membership.organization, membership
            act_for(membership.organization_id, membership.user_id)
            wanted = permission if request.method in ("GET", "HEAD") else to_change or permission
            if not membership.may(wanted):
                return render(request, "accounts/not_permitted.html", {"permission": wanted}, status=403)
            return view(theirs, *args, **kwargs)

        guarded.permissions = (permission, to_change or permission)  # type: ignore[attr-defined]  # read by tests
        return guarded

    return decorate


def organization_required(view: View[P]) -> Guarded[P]:
    """For what every member may do."""
    return member_required(Permission.READ)(view)
