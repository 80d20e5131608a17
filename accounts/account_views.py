"""Pages about a person's own account, beside those of django-allauth."""

from __future__ import annotations

from typing import cast

from allauth.account.decorators import reauthentication_required
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts.account_deletion import delete_account, only_owner_of
from accounts.audit import actor_of
from accounts.middleware import organization_of
from accounts.models import User
from accounts.personal_data import copy_of


@require_http_methods(["GET", "POST"])
@login_required
@reauthentication_required
def account_delete(request: HttpRequest) -> HttpResponse:
    """GET tells what goes and what stands in the way, POST does it."""
    user = cast(User, request.user)
    if request.method == "POST" and delete_account(user, by=actor_of(request)):
        logout(request)
        return render(request, "accounts/account_deleted.html", {"email": user.email})
    context = {
        "memberships": user.memberships.select_related("organization").order_by("organization__name"),
        "only_owner_of": only_owner_of(user),
        "current": organization_of(request),
    }
    return render(request, "accounts/account_delete.html", context, status=409 if request.method == "POST" else 200)


@never_cache
@require_GET
@login_required
@reauthentication_required
def account_data(request: HttpRequest) -> HttpResponse:
    response = JsonResponse(copy_of(cast(User, request.user)), json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = 'attachment; filename="plugsend-account.json"'
    return response
