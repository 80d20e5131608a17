"""Pages about SMTP users: their settings, and their passwords, which are shown once."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.http import OrganizationRequest, organization_required
from domains import services
from domains.forms import SmtpUserForm
from domains.models import SendingDomain, SmtpUser


@organization_required
def smtp_user_list(request: OrganizationRequest) -> HttpResponse:
    users = SmtpUser.objects.of(request.organization).select_related("api_key", "domain").order_by("address")
    context = {
        "active": [user for user in users if user.disabled_at is None],
        "disabled": [user for user in users if user.disabled_at is not None],
        "has_verified": SendingDomain.objects.of(request.organization).filter(status="verified").exists(),
        "has_domain": SendingDomain.objects.of(request.organization).exists(),
    }
    return render(request, "smtp_users/list.html", context)


@never_cache
@organization_required
def smtp_user_create(request: OrganizationRequest) -> HttpResponse:
    """The answer to the form shows the password, once; nothing that could show it again is kept."""
    domain_id = request.GET.get("domain", "")
    form = SmtpUserForm(request.organization, request.POST or None, initial={"domain": domain_id})
    if request.method == "POST" and form.is_valid():
        domain, local_part = form.cleaned_data["domain"], form.cleaned_data["local_part"]
        try:
            new = services.create_smtp_user(domain, local_part, created_by=request.user)
        except services.SmtpUserRefused as refused:
            form.add_error("local_part", refused.detail)
        else:
            return _render_secret(request, new.smtp_user, new.secret, is_new=True)
    domains = SendingDomain.objects.of(request.organization)
    context = {
        "form": form,
        "has_verified": domains.filter(status="verified").exists(),
        "waiting": domains.exclude(status="verified").order_by("name").first(),
    }
    return render(request, "smtp_users/create.html", context)


@organization_required
def smtp_user_page(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    smtp_user = _smtp_user(request, smtp_user_id)
    return render(request, "smtp_users/smtp_user.html", {"smtp_user": smtp_user})


@never_cache
@require_http_methods(["GET", "POST"])
@organization_required
def smtp_user_password(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    """A new password in place of the old one. GET asks, POST does and shows it, once."""
    smtp_user = _smtp_user(request, smtp_user_id, disabled_at__isnull=True)
    if request.method == "POST":
        secret = services.replace_password(smtp_user)
        return _render_secret(request, smtp_user, secret, is_new=False)
    return render(request, "smtp_users/password.html", {"smtp_user": smtp_user})


@require_http_methods(["GET", "POST"])
@organization_required
def smtp_user_disable(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    smtp_user = _smtp_user(request, smtp_user_id)
    if request.method == "POST":
        services.disable_smtp_user(smtp_user)
        messages.success(request, f"{smtp_user.address} is disabled. Its password is refused from now on.")
        return redirect("smtp_users")
    return render(request, "smtp_users/disable.html", {"smtp_user": smtp_user})


def _smtp_user(request: OrganizationRequest, smtp_user_id: UUID, **filters: Any) -> SmtpUser:
    query = SmtpUser.objects.of(request.organization).select_related("api_key", "domain")
    return get_object_or_404(query, pk=smtp_user_id, **filters)


def _render_secret(request: OrganizationRequest, smtp_user: SmtpUser, secret: str, *, is_new: bool) -> HttpResponse:
    context = {"smtp_user": smtp_user, "secret": secret, "is_new": is_new}
    return render(request, "smtp_users/secret.html", context)
