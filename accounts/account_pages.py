"""The pages of one's own account that django-allauth does not have, or has otherwise."""

from __future__ import annotations

from typing import Any, cast

from allauth.account.decorators import reauthentication_required
from allauth.account.views import EmailView
from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.account_deletion import delete_account, only_owner_of
from accounts.audit import actor_of
from accounts.forms import ProfileForm
from accounts.middleware import organization_of
from accounts.models import User
from accounts.personal_data import copy_of


@method_decorator(login_required, name="dispatch")
class ProfileView(EmailView):
    """Name and addresses. `action_name` saves the name; the other actions are allauth's."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if "action_name" not in request.POST:
            return super().post(request, *args, **kwargs)
        form = ProfileForm(request.POST, instance=request.user)
        if form.is_valid():
            form.save()
            messages.success(request, "Saved.")
            return redirect("account_email")
        return self.render_to_response(self.get_context_data(name_form=form, form=self.form_class(user=request.user)))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context.setdefault("name_form", ProfileForm(instance=self.request.user))
        return context


@require_POST
@login_required
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """Ends one of one's own other sessions at once."""
    session = get_object_or_404(UserSession, pk=session_id, user=request.user)
    if not session.is_current():
        get_adapter().end_sessions([session])
        messages.success(request, "That session is ended.")
    return redirect("usersessions_list")


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
