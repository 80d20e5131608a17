"""What a request's API key may do. Another organization's object is simply not found."""

from __future__ import annotations

from rest_framework.request import Request

from accounts.credentials import Credential
from accounts.models import Organization


def credential_of(request: Request) -> Credential:
    assert isinstance(request.user, Credential)
    return request.user


def reading_organization(request: Request) -> Organization:
    """The organization whose rows this key may read. Raises `Refused`."""
    return _organization(request, "read")


def managing_organization(request: Request) -> Organization:
    """The organization whose domains, keys, templates and so on this key may change. Raises `Refused`."""
    return _organization(request, "full")


def _organization(request: Request, scope: str) -> Organization:
    credential = credential_of(request)
    credential.check_may(scope)
    return Organization(pk=credential.organization_id)
