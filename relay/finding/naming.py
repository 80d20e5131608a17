"""From what is asked of the message list (`asked`) to a search: names of SMTP users, API keys and domains become ids."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q, Value
from django.utils import timezone

from accounts.models import ApiKey, Organization
from domains.models import SendingDomain, SmtpUser
from domains.names import DomainRefused, normalize_domain
from relay.finding.asked import Asked
from relay.finding.filters import MessageFilter, as_uuid
from relay.finding.search import Sought

SUGGESTED = 50


def sought_of(organization: Organization, asked: Asked, now: datetime | None = None) -> Sought:
    """What the organization does not have leaves nothing. `now`: the end of a period such as the last 24 hours."""
    only = asked.only
    since, until = asked.between(now or timezone.now())
    identifier = as_uuid(only.get("id", ""))
    return Sought(
        asked.recipients,
        MessageFilter(
            ids=frozenset({identifier}) if identifier else None,
            domain_ids=domains_named(organization, only["domain"]) if "domain" in only else None,
            smtp_user_ids=smtp_users_named(organization, only["smtp_user"]) if "smtp_user" in only else None,
            api_key_ids=_keys_named(organization, only["api_key"]) if "api_key" in only else None,
            sender=only.get("sender", ""),
            subject=only.get("subject", ""),
            message_id=only.get("message_id", ""),
            tags=tuple(asked.all_of("tag")),
            metadata={key: value for key, _, value in (one.partition("=") for one in asked.all_of("metadata"))},
            since=since,
            until=until,
        ),
    )


def known_names(organization: Organization) -> dict[str, list[str]]:
    """Some names of sending domains, SMTP users and API keys, which the filter panel suggests. One query."""

    def some(model: Any, field: str, kind: str) -> Any:
        named = model.objects.of(organization).annotate(kind=Value(kind), called=F(field))
        return named.order_by(field).values_list("kind", "called")[:SUGGESTED]

    found: dict[str, list[str]] = {"domain": [], "smtp_user": [], "api_key": []}
    domains = some(SendingDomain, "name", "domain")
    for kind, name in domains.union(some(SmtpUser, "address", "smtp_user"), some(ApiKey, "name", "api_key"), all=True):
        if name not in found[kind]:
            found[kind].append(name)
    return found


def domains_named(organization: Organization, name: str) -> frozenset[UUID]:
    try:
        found = SendingDomain.objects.of(organization).filter(name=normalize_domain(name))
    except DomainRefused:
        return frozenset()
    return frozenset(found.values_list("pk", flat=True))


def smtp_users_named(organization: Organization, name: str) -> frozenset[UUID]:
    """By address or id; several, where one was disabled and another made in its place."""
    identifier = as_uuid(name)
    named = Q(pk=identifier) if identifier else Q(address=name.lower())
    return frozenset(SmtpUser.objects.of(organization).filter(named).values_list("pk", flat=True))


def _keys_named(organization: Organization, name: str) -> frozenset[UUID]:
    """By name or id; several, where one was replaced by another."""
    identifier = as_uuid(name)
    named = Q(pk=identifier) if identifier else Q(name__iexact=name)
    return frozenset(ApiKey.objects.of(organization).filter(named).values_list("pk", flat=True))
