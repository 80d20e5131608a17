"""What an organization has that has a page of its own: one table, for the command palette and for links that lead astray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from accounts.models import ApiKey, Membership, Organization
from accounts.scoping import OrganizationQuerySet
from accounts.walls import across_organizations
from domains.models import SendingDomain, SmtpUser
from relay.models import Message, MessageExport, Suppression, SuppressionImport, Template
from relay.webhooks.models import WebhookDelivery, WebhookEndpoint


@dataclass(frozen=True, slots=True)
class Thing:
    """`name`: of the address of its page. `parameter`: of addresses that name one. `fields`: in which people look for it; empty
    where there may be too many rows to look through."""

    label: str
    plural: str
    model: type[Model]
    parameter: str
    name: str = ""
    icon: str = ""
    fields: tuple[str, ...] = ()

    def of(self, organization: Organization | UUID) -> QuerySet[Any]:
        rows = self.model._default_manager.all()
        assert isinstance(rows, OrganizationQuerySet)
        found: QuerySet[Any] = rows.of(organization)
        return (
            found.filter(is_password=False) if self.model is ApiKey else found
        )  # those are told of with their SMTP user

    def matching(self, organization: Organization, words: str) -> QuerySet[Any]:
        """In the order of the names; each word is a part of one of the fields."""
        condition = Q()
        for word in words.split():
            condition &= Q(*((f"{field}__icontains", word) for field in self.fields), _connector=Q.OR)
        return self.of(organization).filter(condition).order_by(self.fields[0], "pk")


MESSAGE = Thing("message", "Messages", Message, "message_id", "message", "mail")
THINGS = [
    MESSAGE,
    Thing("domain", "Domains", SendingDomain, "domain_id", "domain", "globe", ("name",)),
    Thing("SMTP user", "SMTP users", SmtpUser, "smtp_user_id", "smtp_user", "at-sign", ("address",)),
    Thing("API key", "API keys", ApiKey, "key_id", "api_key", "key-round", ("name", "prefix")),
    Thing("template", "Templates", Template, "template_id", "template", "file-text", ("name", "alias")),
    Thing("webhook", "Webhooks", WebhookEndpoint, "endpoint_id", "webhook", "webhook", ("url", "description")),
    Thing("delivery", "Deliveries", WebhookDelivery, "webhook_delivery_id"),
    Thing("export", "Exports", MessageExport, "message_export_id"),
    Thing("suppression", "Suppressions", Suppression, "suppression_id"),
    Thing("import", "Imports", SuppressionImport, "suppression_import_id"),
]


def whereabouts(parts: dict[str, Any], memberships: Sequence[Membership]) -> tuple[Thing, Membership] | None:
    """What the parts of an address name, and in which of a person's own organizations it is. Others are not looked at."""
    for thing in THINGS:
        identifier = parts.get(thing.parameter)
        if not isinstance(identifier, UUID):
            continue
        with across_organizations():  # the person is a member of each that is asked about
            for one in memberships:
                if thing.of(one.organization_id).filter(pk=identifier).exists():
                    return thing, one
    return None
