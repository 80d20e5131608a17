"""Which emails a request's API key may see."""

from __future__ import annotations

from uuid import UUID

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.models import Organization
from domains.models import SendingDomain
from relay.models import Message


def visible_domains(credential: Credential) -> frozenset[UUID] | None:
    """The sending domains whose emails a key that is restricted to one may see; None: all of its organization."""
    if not credential.only_domain:
        return None
    domains = SendingDomain.objects.of(credential.organization_id).filter(name=credential.only_domain)
    return frozenset(domains.values_list("pk", flat=True))


def visible_message(credential: Credential, message_id: UUID) -> Message:
    """Raises `Refused`: another organization's email, or another domain's, is not found."""
    organization = Organization(pk=credential.organization_id)
    message = Message.objects.of(organization).filter(pk=message_id).first()
    domains = visible_domains(credential)
    if message is None or (domains is not None and message.domain_id not in domains):
        raise Refused("not_found", thing="email")
    return message
