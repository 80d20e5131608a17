"""What changes sending domains. Their SMTP users: `domains.smtp_users`."""

import secrets

from django.db import IntegrityError, transaction

from accounts.models import Organization
from domains.dkim_keys import create_dkim_key
from domains.models import DkimAlgorithm, DkimKeyState, DnsRecord, DomainStatus, SendingDomain
from domains.names import DomainRefused, check_sendable, normalize_domain, to_unicode
from domains.records import expected_records
from domains.smtp_users import end_keys

TOKEN_OCTETS = 20


def add_domain(organization: Organization, name: str) -> SendingDomain:
    """Adds a domain with its DKIM keys and the records to publish, waiting for DNS.

    Raises DomainRefused: the codes of `domains.names`, domain_already_added, domain_verified_elsewhere.
    """
    name = normalize_domain(name)
    check_sendable(name, for_platform=organization.is_system)
    _check_free(organization, name)
    try:
        with transaction.atomic():
            domain = SendingDomain.objects.create(
                organization=organization, name=name, ownership_token=secrets.token_hex(TOKEN_OCTETS)
            )
            keys = [
                create_dkim_key(domain, DkimAlgorithm.RSA, DkimKeyState.ACTIVE),
                create_dkim_key(domain, DkimAlgorithm.RSA),
                create_dkim_key(domain, DkimAlgorithm.ED25519),
            ]
            DnsRecord.objects.bulk_create(
                DnsRecord(
                    domain=domain,
                    purpose=record.purpose,
                    dkim_key=record.dkim_key,
                    position=position,
                    required=record.required,
                    type=record.type,
                    name=record.name,
                    value=record.value,
                )
                for position, record in enumerate(expected_records(domain, keys))
            )
    except IntegrityError:
        raise _already_added(name) from None  # the same form, sent twice at once
    return domain


def remove_domain(domain: SendingDomain) -> bool:
    """Deletes the domain with its records, DKIM keys and SMTP users; their passwords stop working at once.

    False: it was gone already.
    """
    with transaction.atomic():
        # First the domain, as its verification does, then its SMTP users, as a change of a password does: then none waits
        # for another in a circle, and no password made meanwhile is missed.
        current = SendingDomain.objects.select_for_update().filter(pk=domain.pk).first()
        if current is None:
            return False
        for smtp_user in current.smtp_users.select_for_update().order_by("pk"):
            end_keys(smtp_user)
        current.delete()
    return True


def _check_free(organization: Organization, name: str) -> None:
    if SendingDomain.objects.of(organization).filter(name=name).exists():
        raise _already_added(name)
    if SendingDomain.objects.filter(name=name, status=DomainStatus.VERIFIED).exists():
        raise DomainRefused("domain_verified_elsewhere", name=to_unicode(name))


def _already_added(name: str) -> DomainRefused:
    return DomainRefused("domain_already_added", name=to_unicode(name))
