"""Gives each request the organization in whose name it acts."""

from collections.abc import Callable, Iterator
from typing import cast

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, Organization
from accounts.walls import Tenant, around_request, behind_walls_again, current_tenant

SESSION_KEY = "organization"


def membership_of(request: HttpRequest) -> Membership | None:
    """In the organization chosen in this session, if its user is still a member; else the user's first."""
    if not request.user.is_authenticated:
        return None
    theirs = request.user.memberships.select_related("organization").order_by("created_at")
    chosen = request.session.get(SESSION_KEY)
    return (theirs.filter(organization_id=chosen).first() if chosen else None) or theirs.first()


def organization_of(request: HttpRequest) -> Organization | None:
    membership = membership_of(request)
    return membership.organization if membership else None


def current_organization(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.organization = SimpleLazyObject(lambda: organization_of(request))  # type: ignore[attr-defined]
        return get_response(request)

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
