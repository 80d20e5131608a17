"""Pages about SMTP users: their settings, their limits, and their passwords, which are shown once."""

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.api_keys import NewKey
from accounts.audit import actor_of
from accounts.http import OrganizationRequest, member_required
from accounts.models import ApiKey
from accounts.permissions import Permission
from domains import smtp_users
from domains.forms import KeyForm, LimitsForm, PasswordForm, SmtpUserForm
from domains.models import SendingDomain, SmtpUser

FORMER_SHOWN = 10  # keys that do not work any more


@member_required(Permission.READ)
def smtp_user_list(request: OrganizationRequest) -> HttpResponse:
    users = smtp_users.with_keys(SmtpUser.objects.of(request.organization)).order_by("address")
    context = {
        "enabled": [user for user in users if user.is_enabled],
        "disabled": [user for user in users if not user.is_enabled],
        "has_verified": SendingDomain.objects.of(request.organization).filter(status="verified").exists(),
        "has_domain": SendingDomain.objects.of(request.organization).exists(),
    }
    return render(request, "smtp_users/list.html", context)


@never_cache
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_create(request: OrganizationRequest) -> HttpResponse:
    """The answer to the form shows the password, once; nothing that could show it again is kept."""
    domain_id = request.GET.get("domain", "")
    form = SmtpUserForm(request.organization, request.POST or None, initial={"domain": domain_id})
    if request.method == "POST" and form.is_valid():
        domain, local_part = form.cleaned_data["domain"], form.cleaned_data["local_part"]
        try:
            new = smtp_users.create_smtp_user(domain, local_part, created_by=request.user, by=actor_of(request))
        except smtp_users.SmtpUserRefused as refused:
            form.add_error("local_part", refused.detail)
        else:
            return _render_secret(request, new.smtp_user, new.secret, title="Your SMTP user is ready")
    domains = SendingDomain.objects.of(request.organization)
    context = {
        "form": form,
        "has_verified": domains.filter(status="verified").exists(),
        "waiting": domains.exclude(status="verified").order_by("name").first(),
    }
    return render(request, "smtp_users/create.html", context)


@member_required(Permission.READ)
def smtp_user_page(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    smtp_user = _smtp_user(request, smtp_user_id)
    context = {
        "smtp_user": smtp_user,
        "former_keys": [key for key in smtp_user.all_keys if not key.is_live][:FORMER_SHOWN],
        "default_key_name": smtp_users.default_key_name(smtp_user),
    }
    return render(request, "smtp_users/smtp_user.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_limits(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    smtp_user = _smtp_user(request, smtp_user_id)
    initial = {
        "hourly_limit": smtp_user.hourly_limit,
        "daily_limit": smtp_user.daily_limit,
        "allowed_networks": "\n".join(smtp_user.allowed_networks),
        "stream": smtp_user.stream,
    }
    form = LimitsForm(_posted(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        smtp_users.change_smtp_user(smtp_user, form.limits(), by=actor_of(request))
        messages.success(request, f"The settings of {smtp_user.address} are in effect within 5 seconds.")
        return redirect("smtp_user", smtp_user.pk)
    return render(request, "smtp_users/limits.html", {"smtp_user": smtp_user, "form": form})


# ---- Keys ------------------------------------------------------------------------------------------------------------


@never_cache
@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_password(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    """A new password in place of those there are. GET asks, POST does and shows it, once."""
    smtp_user = _smtp_user(request, smtp_user_id)
    form = PasswordForm(_posted(request), initial={"keep_old_hours": 0})
    if request.method == "POST" and form.is_valid():
        hours, name = form.cleaned_data["keep_old_hours"], form.cleaned_data["name"]
        try:
            key = smtp_users.replace_password(
                smtp_user,
                keep_old=timedelta(hours=hours),
                name=name,
                created_by=request.user,
                by=actor_of(request),
            )
        except smtp_users.SmtpUserRefused as refused:
            form.add_error("keep_old_hours", refused.detail)
        else:
            return _render_secret(request, smtp_user, key.secret, title="Your new password", keep_old_hours=hours)
    return render(request, "smtp_users/password.html", {"smtp_user": smtp_user, "form": form})


@never_cache
@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_key_add(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    """One more password. GET asks for its name, POST makes and shows it, once."""
    smtp_user = _smtp_user(request, smtp_user_id)
    form = KeyForm(_posted(request))
    if request.method == "POST" and form.is_valid():
        try:
            key: NewKey = smtp_users.add_key(
                smtp_user, form.cleaned_data["name"], created_by=request.user, by=actor_of(request)
            )
        except smtp_users.SmtpUserRefused as refused:
            form.add_error(None, refused.detail)
        else:
            return _render_secret(request, smtp_user, key.secret, title="Your new key")
    return render(request, "smtp_users/key_add.html", {"smtp_user": smtp_user, "form": form})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_key_revoke(request: OrganizationRequest, smtp_user_id: UUID, key_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    smtp_user = _smtp_user(request, smtp_user_id)
    key = get_object_or_404(ApiKey.objects.of(request.organization), pk=key_id, smtp_user_key__smtp_user=smtp_user)
    if request.method == "POST":
        smtp_users.revoke_key(smtp_user, key, by=actor_of(request))
        messages.success(request, f"The key {key.prefix}… is revoked. Programs that use it are refused from now on.")
        return redirect("smtp_user", smtp_user.pk)
    is_last = [live.pk for live in smtp_user.live_keys] == [key.pk]
    return render(request, "smtp_users/key_revoke.html", {"smtp_user": smtp_user, "key": key, "is_last": is_last})


# ---- Disabled and gone -----------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_disable(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    smtp_user = _smtp_user(request, smtp_user_id)
    if request.method == "POST":
        smtp_users.disable_smtp_user(smtp_user, by=actor_of(request))
        messages.success(request, f"{smtp_user.address} is disabled. Its keys are refused until it is enabled again.")
        return redirect("smtp_user", smtp_user.pk)
    return render(request, "smtp_users/disable.html", {"smtp_user": smtp_user})


@require_POST
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_enable(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    smtp_user = _smtp_user(request, smtp_user_id)
    try:
        smtp_users.enable_smtp_user(smtp_user, by=actor_of(request))
    except smtp_users.SmtpUserRefused as refused:
        messages.error(request, f"{refused.detail} {refused.refusal.advice}")
    else:
        messages.success(request, f"{smtp_user.address} is enabled: its keys work again.")
    return redirect("smtp_user", smtp_user.pk)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def smtp_user_remove(request: OrganizationRequest, smtp_user_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    smtp_user = _smtp_user(request, smtp_user_id)
    if request.method == "POST":
        smtp_users.remove_smtp_user(smtp_user, by=actor_of(request))
        messages.success(request, f"{smtp_user.address} is removed.")
        return redirect("smtp_users")
    return render(request, "smtp_users/remove.html", {"smtp_user": smtp_user})


def _posted(request: OrganizationRequest) -> QueryDict | None:
    """What was sent, be it nothing."""
    return request.POST if request.method == "POST" else None


def _smtp_user(request: OrganizationRequest, smtp_user_id: UUID) -> SmtpUser:
    return get_object_or_404(smtp_users.with_keys(SmtpUser.objects.of(request.organization)), pk=smtp_user_id)


def _render_secret(
    request: OrganizationRequest, smtp_user: SmtpUser, secret: str, *, title: str, keep_old_hours: int | None = None
) -> HttpResponse:
    context = {"smtp_user": smtp_user, "secret": secret, "title": title, "keep_old_hours": keep_old_hours}
    return render(request, "smtp_users/secret.html", context)
