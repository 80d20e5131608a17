"""The pages of one's own account that django-allauth does not have, or has otherwise."""

from __future__ import annotations

from typing import Any

from allauth.account.views import EmailView
from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from accounts.forms import ProfileForm


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
