"""Bearer API keys for REST (RFC 6750). A session cookie never authorizes `/api/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.catalogue import Refused
from accounts.client import client_address
from accounts.credentials import Credential
from accounts.rest.shell import charge
from relay.submission.desk import shared_desk


def bearer_secret(meta: Mapping[str, Any]) -> str | None:
    """What the Authorization header shows; empty: nothing of this kind. None: there is none."""
    scheme, _, secret = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    if not scheme:
        return None
    return secret.strip() if scheme.lower() == "bearer" else ""


class ApiKeyAuthentication(BaseAuthentication):
    """`request.user` becomes the key's `Credential`."""

    def authenticate(self, request: Request) -> tuple[Credential, None] | None:
        secret = bearer_secret(request.META)
        if secret is None:
            return None
        desk = shared_desk()
        credential = desk.api_credential(secret) if secret else None
        if credential is None:
            raise Refused("invalid_credentials")
        charge(request._request, credential)
        client = client_address(request.META)
        credential.check_may_enter(client)
        desk.note_use(credential, client)
        return credential, None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="PlugSend API"'


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key; it begins with ps_live_."}
