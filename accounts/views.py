"""Pages about the organization."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.audit import actor_of
from accounts.forms import SettingsForm
from accounts.http import OrganizationRequest, member_required
from accounts.permissions import Permission
from accounts.services import change_settings


@member_required(Permission.READ, to_change=Permission.MANAGE_SETTINGS)
def settings_page(request: OrganizationRequest) -> HttpResponse:
    form = SettingsForm(request.POST or None, instance=request.organization)
    if request.method == "POST" and form.is_valid():
        change_settings(request.organization, by=actor_of(request), **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("settings")
    request.organization.refresh_from_db()  # a refused form has changed the instance, which the frame shows too
    if not request.membership.may(Permission.MANAGE_SETTINGS):
        for field in form.fields.values():
            field.disabled = True
    return render(request, "accounts/settings.html", {"form": form})
