"""Gives each request the person's place in the organization in whose name it acts."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, Organization

SESSION_KEY = "organization"


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
    theirs = memberships_of(request)
    chosen = request.session.get(SESSION_KEY)
    return next((one for one in theirs if str(one.organization_id) == chosen), theirs[0] if theirs else None)


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
