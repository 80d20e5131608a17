"""The audit log: who did what to which object. An entry is written in the transaction of what it tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import models
from django.http import HttpRequest
from rest_framework.request import Request

from accounts.client import client_address
from accounts.credentials import Credential
from accounts.models import ApiKey, AuditEntry, User


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person (`user`), a program (`api_key`), a person in the operators' admin (`operator`), or `system`."""

    kind: str
    id: UUID | None
    name: str
    client: str | None = None  # the IP address


SYSTEM = Actor("system", None, "PlugSend")


def actor_of(request: HttpRequest | Request, *, operator: bool = False) -> Actor:
    """Who makes this request. `operator`: it came in through the admin."""
    client = client_address(request.META) or None
    who = request.user
    if isinstance(who, Credential):
        name = ApiKey.objects.of(who.organization_id).filter(pk=who.api_key_id).values_list("name", flat=True).first()
        return Actor("api_key", who.api_key_id, name or "", client)
    assert isinstance(who, User)
    return Actor("operator" if operator else "user", who.pk, who.email, client)


def note(
    actor: Actor,
    action: str,
    target: models.Model,
    *,
    organization_id: UUID,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """`action`: object.verb, as in domain.verified. `before` and `after`: the fields that changed, never a secret."""
    AuditEntry.objects.create(
        organization_id=organization_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        client=actor.client,
        action=action,
        object_type=action.partition(".")[0],
        object_id=target.pk,
        object_name=str(target),
        before=before,
        after=after,
    )
