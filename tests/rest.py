"""REST requests in-process, in the name of a key that need not be in the database."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.urls import resolve
from rest_framework.test import APIRequestFactory, force_authenticate

from accounts.credentials import Credential
from accounts.models import Organization


def credential(organization: Organization, *scopes: str, only_domain: str = "") -> Credential:
    return Credential(organization.pk, False, None, None, frozenset(scopes or {"read"}), only_domain)


def get(who: Credential | Organization, path: str, query: Any = None) -> Any:
    """`path` below `/api/v1`."""
    user = credential(who) if isinstance(who, Organization) else who
    request = APIRequestFactory().get(f"/api/v1{path}", query or {})
    force_authenticate(request, user=user)
    match = resolve(urlsplit(f"/api/v1{path}").path)
    response = match.func(request, *match.args, **match.kwargs)
    if hasattr(response, "render"):
        response.render()
    return response
