"""Requests made in the name of an organization."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from allauth.account.decorators import reauthentication_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from accounts import second_factor
from accounts.middleware import membership_of
from accounts.models import Erasure, Membership, Organization, User
from accounts.permissions import Permission
from accounts.walls import across_organizations, act_for

P = ParamSpec("P")
SEEN_EVERY = timedelta(minutes=5)  # how exactly it is known when a member was here last


class OrganizationRequest(HttpRequest):
    """A signed-in person's request; `organization` is the only one whose rows it may see or change."""

    organization: Organization
    membership: Membership
    user: User
    htmx: HtmxDetails


View = Callable[Concatenate[OrganizationRequest, P], HttpResponse]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponse]


def member_required(
    permission: Permission, *, to_change: Permission | None = None, while_deleted: bool = False
) -> Callable[[View[P]], Guarded[P]]:
    """Lets only signed-in members in whose role has the permission; someone without an organization is led to make one.

    `to_change`: what anything but GET and HEAD takes, where that is more. Refused members get 403 with the reason.
    `while_deleted`: the page is there, too, while the organization is being deleted, when others only tell of that.
    """

    def decorate(view: View[P]) -> Guarded[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return _led(request, redirect_to_login(_page_of(request)).url)
            membership = membership_of(request)
            if membership is None:
                return _led(request, reverse("organization_create"))
            membership.user = request.user
            if membership.look is None and second_factor.is_missing(membership):
                return _led(request, f"{reverse('second_factor')}?{urlencode({'next': _page_of(request)})}")
            if membership.look is None:
                _note_seen(membership)
            theirs = cast(OrganizationRequest, request)
            theirs.organization, theirs.membership = membership.organization, membership
            act_for(membership.organization_id, membership.user_id)
            is_read = request.method in ("GET", "HEAD")
            wanted = permission if is_read else to_change or permission
            only_looks = membership.look is not None and not membership.look.may_change
            if not membership.may(wanted) or (only_looks and not is_read):
                return render(request, "accounts/not_permitted.html", {"permission": wanted}, status=403)
            if membership.organization.is_being_deleted and not while_deleted:
                return _being_deleted(theirs)
            return view(theirs, *args, **kwargs)

        guarded.permissions = (permission, to_change or permission)  # type: ignore[attr-defined]  # read by tests
        return guarded

    return decorate


def _being_deleted(request: OrganizationRequest) -> HttpResponse:
    if _htmx(request):
        return HttpResponseClientRefresh()  # the open page as a whole is out of date
    is_being_erased = Erasure.objects.filter(pk=request.organization.pk).exists()
    return render(request, "accounts/being_deleted.html", {"is_being_erased": is_being_erased}, status=403)


def shown_again_required(view: View[P]) -> View[P]:
    """Below `member_required`: lets in only shortly after its reader has shown anew who it is."""

    @wraps(view)
    def guarded(request: OrganizationRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        expect_it_is_they(request)
        return view(request, *args, **kwargs)

    return guarded


@across_organizations()  # how people sign in is theirs, and no organization's
@reauthentication_required
def expect_it_is_they(request: HttpRequest) -> None:
    """Raises ReauthenticationRequired, which allauth's middleware answers; the form is worked off afterwards."""


def next_page(request: HttpRequest, otherwise: str) -> str:
    """The address that the form or link names by `next`, if it is one of ours; else that of the page so named."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    return wanted if _is_ours(request, wanted) else reverse(otherwise)


def page_before(request: HttpRequest, otherwise: str) -> str:
    """That with the form, as the browser tells; else that of the page so named."""
    before = request.headers.get("Referer", "")
    return before if _is_ours(request, before) else reverse(otherwise)


def _is_ours(request: HttpRequest, url: str) -> bool:
    return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())


def _page_of(request: HttpRequest) -> str:
    """The page that its reader sees: a part of it that htmx asks for is none."""
    htmx = _htmx(request)
    return (htmx.current_url_abs_path if htmx else None) or request.get_full_path()


def _led(request: HttpRequest, url: str) -> HttpResponse:
    """Somewhere else, with the whole page: htmx would put the answer in the place of a part."""
    return HttpResponseClientRedirect(url) if _htmx(request) else redirect(url)


def _htmx(request: HttpRequest) -> HtmxDetails | None:
    return getattr(request, "htmx", None) or None


def _note_seen(membership: Membership) -> None:
    now = timezone.now()
    if membership.last_seen_at is None or now - membership.last_seen_at > SEEN_EVERY:
        Membership.objects.of(membership.organization_id).filter(pk=membership.pk).update(last_seen_at=now)
