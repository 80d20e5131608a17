"""The audit log: who did what to which object. An entry is written in the transaction of what it tells of.

Entries name no rows but by id, and copy names as they were: what is removed later leaves them as they are. They are kept for at
least a year, or until their organization is erased. What becomes of mail, and addresses that bounces suppress, are told by the
event log instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import models
from django.http import HttpRequest
from rest_framework.request import Request

from accounts.client import client_address
from accounts.credentials import Credential
from accounts.models import ApiKey, AuditEntry, User

NAME_LENGTH = 320  # of AuditEntry.object_name


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person (`user`), a program (`api_key`), a person in the operators' admin (`operator`), or `system`."""

    kind: str
    id: UUID | None
    name: str
    client: str | None = None  # the IP address

    @property
    def in_events(self) -> str:
        """As an email's timeline names them: customers are not told which operator it was."""
        if self.kind == "api_key":
            return f"API key {self.name}".strip()
        return "operator" if self.kind == "operator" else self.name


SYSTEM = Actor("system", None, "PlugSend")


@dataclass(frozen=True, slots=True)
class Thing:
    """What an act was about, where it is no single row, or one that need not be read for it."""

    pk: UUID | None
    name: str

    def __str__(self) -> str:
        return self.name


def actor_of(request: HttpRequest | Request, *, operator: bool = False) -> Actor:
    """Who makes this request. `operator`: it came in through the admin."""
    who = request.user
    if isinstance(who, Credential):
        client = client_address(request.META) or None
        name = ApiKey.objects.of(who.organization_id).filter(pk=who.api_key_id).values_list("name", flat=True).first()
        return Actor("api_key", who.api_key_id, name or "", client)
    assert isinstance(who, User)
    membership = getattr(request, "membership", None)
    return person(who, request, operator=operator or bool(membership and membership.look))


def person(who: User, request: HttpRequest | Request, *, operator: bool = False) -> Actor:
    """`who` makes this request, though perhaps not signed in yet."""
    return Actor("operator" if operator else "user", who.pk, who.email, client_address(request.META) or None)


def note(
    actor: Actor,
    action: str,
    target: models.Model | Thing,
    *,
    organization_id: UUID,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """`action`: object.verb, as in domain.verified. `before` and `after`: the fields that changed, never a secret."""
    return AuditEntry.objects.create(
        organization_id=organization_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        client=actor.client,
        action=action,
        object_type=action.partition(".")[0],
        object_id=target.pk,
        object_name=str(target)[:NAME_LENGTH],
        before=_plain(before),
        after=_plain(after),
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of both only what differs. `after` may have fewer fields."""
    changed = [name for name, value in after.items() if before.get(name) != value]
    return {name: before.get(name) for name in changed}, {name: after[name] for name in changed}


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, UUID | Decimal | models.Model):
        return str(value)
    return value
