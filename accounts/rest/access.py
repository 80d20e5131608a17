"""What a request's API key may do. Another organization's object is simply not found."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.models import Organization
from accounts.walls import act_for


class BehindWalls(IsAuthenticated):
    """Every view's permission: a key is needed, and from here on the request reaches its organization's rows only."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        act_for(credential_of(request).organization_id)
        return True


def credential_of(request: Request) -> Credential:
    assert isinstance(request.user, Credential)
    return request.user


def reading_organization(request: Request) -> Organization:
    """The organization whose rows this key may read. Raises `Refused`."""
    return _organization(request, "read")


def managing_organization(request: Request) -> Organization:
    """The organization whose domains, keys, templates and so on this key may change. Raises `Refused`."""
    return _organization(request, "full")


def check_domain(request: Request, name: str) -> None:
    """`name`: A-label form. Raises `Refused` for another domain than the one that this key is restricted to."""
    only = credential_of(request).only_domain
    if only and name != only:
        raise Refused("key_restricted_to_domain", domain=only, what=name)


def check_unrestricted(request: Request) -> None:
    """For what concerns all domains alike. Raises `Refused`."""
    if only := credential_of(request).only_domain:
        raise Refused("key_restricted_to_domain", domain=only, what="the whole organization")


def reading_whole_organization(request: Request) -> Organization:
    """As `reading_organization`, for what concerns all domains alike."""
    organization = reading_organization(request)
    check_unrestricted(request)
    return organization


def managing_whole_organization(request: Request) -> Organization:
    """As `managing_organization`, for what concerns all domains alike."""
    organization = managing_organization(request)
    check_unrestricted(request)
    return organization


def _organization(request: Request, scope: str) -> Organization:
    credential = credential_of(request)
    credential.check_may(scope)
    return Organization(pk=credential.organization_id)
