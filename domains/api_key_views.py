"""Pages about API keys, whose secrets are shown once. On this floor because a key may be for one domain only."""

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.api_keys import NewKey, change_api_key, create_api_key, is_live, revoke_api_key, rotate_api_key
from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.http import OrganizationRequest, member_required
from accounts.models import ApiKey, Scope
from accounts.permissions import Permission
from accounts.scoping import OrganizationQuerySet
from domains.forms import ApiKeyForm, ChangeApiKeyForm, RevokeApiKeyForm, RotateApiKeyForm

FORMER_SHOWN = 50  # keys that do not work any more


@member_required(Permission.READ)
def api_key_list(request: OrganizationRequest) -> HttpResponse:
    keys = _keys(request).order_by("-created_at")
    live = keys.filter(is_live())
    former = keys.exclude(pk__in=live.values("pk"))
    context = {
        "live": live,
        "former": former[:FORMER_SHOWN],
        "may_manage": request.membership.may(Permission.MANAGE_CREDENTIALS),
    }
    return render(request, "api_keys/list.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def api_key_create(request: OrganizationRequest) -> HttpResponse:
    """The answer to the form shows the secret, once; nothing that could show it again is kept."""
    form = ApiKeyForm(request.organization, _posted(request))
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        new = create_api_key(
            request.organization,
            asked["name"],
            asked["scopes"],
            only_domain=asked["domain"].name if asked["domain"] else "",
            expires_at=form.expires_at(),
            allowed_networks=asked["allowed_networks"],
            created_by=request.user,
            by=actor_of(request),
        )
        return _render_secret(request, new)
    return render(request, "api_keys/create.html", {"form": form})


@member_required(Permission.READ)
def api_key_page(request: OrganizationRequest, key_id: UUID) -> HttpResponse:
    context = {
        "key": _key(request, key_id),
        "may_manage": request.membership.may(Permission.MANAGE_CREDENTIALS),
        "may_read_audit": request.membership.may(Permission.READ_AUDIT),
    }
    return render(request, "api_keys/api_key.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def api_key_change(request: OrganizationRequest, key_id: UUID) -> HttpResponse:
    """Its name, and from where it may be used."""
    key = _key(request, key_id)
    initial = {"name": key.name, "allowed_networks": "\n".join(key.allowed_networks)}
    form = ChangeApiKeyForm(_posted(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            change_api_key(key, **form.cleaned_data, by=actor_of(request))
        except Refused:
            return _gone(request, key)
        messages.success(request, "Saved; in effect within 5 seconds.")
        return redirect("api_key", key.pk)
    return render(request, "api_keys/change.html", {"key": key, "form": form})


@never_cache
@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def api_key_rotate(request: OrganizationRequest, key_id: UUID) -> HttpResponse:
    """A new key in place of this one. GET asks, POST does and shows it, once."""
    key = _key(request, key_id)
    if not key.is_live:
        return _gone(request, key)
    form = RotateApiKeyForm(_posted(request))
    if request.method == "POST" and form.is_valid():
        hours = form.cleaned_data["keep_old_hours"]
        try:
            new = rotate_api_key(key, keep_old=timedelta(hours=hours), created_by=request.user, by=actor_of(request))
        except Refused as refused:
            form.add_error(None, refused.detail)
        else:
            return _render_secret(request, new, replaces=_key(request, key_id))
    ends_at = timezone.now() + key.lifetime if key.lifetime else None
    return render(request, "api_keys/rotate.html", {"key": key, "form": form, "ends_at": ends_at})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_CREDENTIALS)
def api_key_revoke(request: OrganizationRequest, key_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    key = _key(request, key_id)
    form = RevokeApiKeyForm(_posted(request))
    if request.method == "POST" and form.is_valid():
        revoke_api_key(key, reason=form.cleaned_data["reason"], by=actor_of(request))
        messages.success(request, f"“{key.name}” is revoked. Programs that use it are refused from now on.")
        return redirect("api_keys")
    return render(request, "api_keys/revoke.html", {"key": key, "form": form})


def _posted(request: OrganizationRequest) -> QueryDict | None:
    """What was sent, be it nothing."""
    return request.POST if request.method == "POST" else None


def _keys(request: OrganizationRequest) -> OrganizationQuerySet[ApiKey]:
    """Passwords of SMTP users have their place on those users' pages."""
    keys = ApiKey.objects.of(request.organization).filter(is_password=False)
    return keys.select_related("created_by", "created_with", "replaced_by")


def _key(request: OrganizationRequest, key_id: UUID) -> ApiKey:
    return get_object_or_404(_keys(request), pk=key_id)


def _gone(request: OrganizationRequest, key: ApiKey) -> HttpResponse:
    messages.error(request, f"“{key.name}” does not work any more. Create a new key instead.")
    return redirect("api_key", key.pk)


def _render_secret(request: OrganizationRequest, new: NewKey, *, replaces: ApiKey | None = None) -> HttpResponse:
    key = new.api_key
    may_send = bool({Scope.SEND, Scope.FULL} & set(key.scopes))
    context = {"key": key, "secret": new.secret, "may_send": may_send, "replaces": replaces}
    return render(request, "api_keys/secret.html", context)
