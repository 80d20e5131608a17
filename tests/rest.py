"""REST requests of an organization's API key, inside this process: what a test of `/api/v1/` needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.urls import resolve
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate

from accounts.api_keys import create_api_key
from accounts.credentials import Credential
from accounts.models import ApiKey, Organization
from accounts.walls import around_request


@dataclass(frozen=True)
class Api:
    """Requests with one API key. The look-up of the key itself is left out: it needs a desk."""

    api_key: ApiKey

    @property
    def credential(self) -> Credential:
        key = self.api_key
        return Credential(key.organization_id, False, key.pk, None, frozenset(key.scopes), key.only_domain)

    def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """`key`: an idempotency key. Returns the response."""
        client = APIClient()
        client.force_authenticate(self.credential)  # type: ignore[arg-type]
        headers = {"Idempotency-Key": key} if key else {}
        given = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return getattr(client, method.lower())(f"/api/v1/{path}", headers=headers, **given)

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None, *, key: str = "") -> Any:
        return self.call("POST", path, body, key=key)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)


def make_api(organization: Organization, *scopes: str, only_domain: str = "") -> Api:
    return Api(create_api_key(organization, "Tests", list(scopes), only_domain=only_domain).api_key)


def refused(answer: Any, status: int, code: str, pointer: str | None = None) -> dict[str, Any]:
    """Checks that it is this refusal, and that it names this field."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer["Content-Type"].startswith("application/problem+json")
    if pointer is not None:
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    return problem


def credential(organization: Organization, *scopes: str, only_domain: str = "") -> Credential:
    return Credential(organization.pk, False, None, None, frozenset(scopes or {"read"}), only_domain)


def get(who: Credential | Organization, path: str, query: Any = None) -> Any:
    """`path` below `/api/v1`."""
    user = credential(who) if isinstance(who, Organization) else who
    request = APIRequestFactory().get(f"/api/v1{path}", query or {})
    force_authenticate(request, user=user)
    match = resolve(urlsplit(f"/api/v1{path}").path)
    with around_request():
        response = match.func(request, *match.args, **match.kwargs)
        if hasattr(response, "render"):
            response.render()
    return response
