"""Gives each request the person's place in the organization in whose name it acts, and notes that its session is in use."""

from collections.abc import Callable, Iterator
from typing import cast
from urllib.parse import urlsplit

from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY as SIGNED_IN
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from accounts.impersonation import Look, look_of, membership_for
from accounts.models import Membership, Organization
from accounts.walls import Tenant, around_request, behind_walls_again, current_tenant

SESSION_KEY = "organization"
SEEN_EVERY_S = 60  # a session's last use is written down so often, not at each request


def memberships_of(request: HttpRequest) -> list[Membership]:
    """All places of the request's user, the oldest first. Asked for once a request."""
    known: list[Membership] | None = getattr(request, "memberships", None)
    if known is None:
        known = []
        if request.user.is_authenticated:
            known = list(request.user.memberships.select_related("organization").order_by("created_at", "pk"))
        request.memberships = known  # type: ignore[attr-defined]
    return known


def membership_of(request: HttpRequest) -> Membership | None:
    """In the organization chosen in this session, if its user is still a member; else the user's first."""
    if look := look_of(request):
        return _looking(request, look)
    theirs = memberships_of(request)
    chosen = request.session.get(SESSION_KEY)
    return next((one for one in theirs if str(one.organization_id) == chosen), theirs[0] if theirs else None)


def _looking(request: HttpRequest, look: Look) -> Membership | None:
    """Asked for once a request."""
    if not hasattr(request, "looking"):
        request.looking = membership_for(request, look)  # type: ignore[attr-defined]
    found: Membership | None = request.looking  # type: ignore[attr-defined]
    return found


def organization_of(request: HttpRequest) -> Organization | None:
    membership = membership_of(request)
    return membership.organization if membership else None


def choose_organization(request: HttpRequest, organization: Organization) -> None:
    """From now on the session's requests act in its name."""
    request.session[SESSION_KEY] = str(organization.pk)


def current_organization(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.organization = SimpleLazyObject(lambda: organization_of(request))  # type: ignore[attr-defined]
        request.membership = SimpleLazyObject(lambda: membership_of(request))  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def session_seen(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        key = request.session.session_key
        if key and request.user.is_authenticated and cache.add(f"session-seen:{key}", 1, SEEN_EVERY_S):
            UserSession.objects.create_from_request(request)
        return get_response(request)

    return middleware


def kept_by_nobody(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """What somebody who is signed in is shown is asked for anew each time, and leaves the browser with them (RFC 9111, section
    5.2.2; Clear-Site-Data). Views that say more themselves, such as "no-store" where a secret is shown, keep it."""

    log_out = reverse("account_logout")

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.session.accessed and SIGNED_IN in request.session:
            response.headers.setdefault("Cache-Control", "private, no-cache")
        elif request.method == "POST" and request.path_info == log_out:
            response.headers["Clear-Site-Data"] = '"cache"'
        return response

    return middleware


def away_by_page(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A form that leads to a sign-in provider answers with a page that goes there: a policy of `form-action 'self'` stops
    redirects to other hosts, whose names are the operators' own."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        address = response.get("Location", "")
        if request.method == "POST" and urlsplit(address).netloc not in ("", request.get_host()):
            page = render(request, "socialaccount/login_redirect.html", {"redirect_to": address})
            page.cookies = response.cookies
            return page
        return response

    return middleware


def behind_walls(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Around every page but the operators' admin. `accounts.http` says for whom the request acts."""
    admin = reverse("admin:index")

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(admin):
            return get_response(request)
        with around_request():
            response = get_response(request)
            tenant = current_tenant()
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _behind_walls_piece_by_piece(
                tenant, cast(Iterator[bytes], response.streaming_content)
            )
        return response

    return middleware


def _behind_walls_piece_by_piece(tenant: Tenant | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Each is made when the server asks for it, which may have served others meanwhile."""
    while True:
        with behind_walls_again(tenant):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
