"""Pages about the organization and its API keys."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.api_keys import create_api_key, revoke_api_key
from accounts.forms import ApiKeyForm, OrganizationForm, SettingsForm
from accounts.http import OrganizationRequest, organization_required
from accounts.middleware import SESSION_KEY
from accounts.models import ApiKey
from accounts.permissions import Permission
from accounts.services import change_settings, create_organization


@organization_required
def api_keys(request: OrganizationRequest) -> HttpResponse:
    # Keys that are an SMTP user's password have their place on that user's page.
    keys = ApiKey.objects.of(request.organization).filter(smtp_user_key__isnull=True).order_by("-created_at")
    context = {
        "active": [key for key in keys if not key.is_revoked],
        # A domain's key without an SMTP user was the password of one that is gone.
        "revoked": [key for key in keys if key.is_revoked and not key.only_domain],
    }
    return render(request, "accounts/api_keys.html", context)


@never_cache
@organization_required
def api_key_create(request: OrganizationRequest) -> HttpResponse:
    """The answer to the form shows the secret, once; nothing that could show it again is kept."""
    form = ApiKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        new = create_api_key(
            request.organization, form.cleaned_data["name"], form.cleaned_data["scopes"], created_by=request.user
        )
        return render(request, "accounts/api_key_created.html", {"api_key": new.api_key, "secret": new.secret})
    return render(request, "accounts/api_key_create.html", {"form": form})


@require_http_methods(["GET", "POST"])
@organization_required
def api_key_revoke(request: OrganizationRequest, key_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    query = ApiKey.objects.of(request.organization).filter(smtp_user_key__isnull=True)
    api_key = get_object_or_404(query, pk=key_id)
    if request.method == "POST":
        revoke_api_key(api_key)
        messages.success(request, f"“{api_key.name}” is revoked. Programs that use it are refused from now on.")
        return redirect("api_keys")
    return render(request, "accounts/api_key_revoke.html", {"api_key": api_key})


@organization_required
def settings_page(request: OrganizationRequest) -> HttpResponse:
    form = SettingsForm(request.POST or None, instance=request.organization)
    if request.method == "POST" and form.is_valid():
        change_settings(request.organization, **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("settings")
    request.organization.refresh_from_db()  # a refused form has changed the instance, which the frame shows too
    memberships = request.organization.memberships.select_related("user").order_by("created_at")
    may_delete = request.membership.may(Permission.DELETE_ORGANIZATION)
    context = {"form": form, "memberships": memberships, "may_delete": may_delete}
    return render(request, "accounts/settings.html", context)


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
