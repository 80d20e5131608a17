"""Requests made in the name of an organization."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django_htmx.middleware import HtmxDetails

from accounts.middleware import organization_of
from accounts.models import Organization, User

P = ParamSpec("P")


class OrganizationRequest(HttpRequest):
    """A signed-in person's request; `organization` is the only one whose rows it may see or change."""

    organization: Organization
    user: User
    htmx: HtmxDetails


def organization_required(
    view: Callable[Concatenate[OrganizationRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Lets only signed-in members in; someone without an organization is led to make one."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        organization = organization_of(request)
        if organization is None:
            return redirect("organization_create")
        theirs = cast(OrganizationRequest, request)
        theirs.organization = organization
        return view(theirs, *args, **kwargs)

    return guarded
