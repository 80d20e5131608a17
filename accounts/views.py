"""Pages about the organization."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.forms import OrganizationForm, SettingsForm
from accounts.http import OrganizationRequest, organization_required
from accounts.middleware import SESSION_KEY
from accounts.services import change_settings, create_organization


@organization_required
def settings_page(request: OrganizationRequest) -> HttpResponse:
    form = SettingsForm(request.POST or None, instance=request.organization)
    if request.method == "POST" and form.is_valid():
        change_settings(request.organization, **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("settings")
    request.organization.refresh_from_db()  # a refused form has changed the instance, which the frame shows too
    memberships = request.organization.memberships.select_related("user").order_by("created_at")
    return render(request, "accounts/settings.html", {"form": form, "memberships": memberships})


@login_required
def organization_create(request: HttpRequest) -> HttpResponse:
    """For people without an organization, such as operators made on the command line."""
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        assert request.user.is_authenticated
        organization = create_organization(form.cleaned_data["name"], request.user)
        request.session[SESSION_KEY] = str(organization.pk)
        return redirect("overview")
    return render(request, "accounts/organization_create.html", {"form": form})
