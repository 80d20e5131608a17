"""What changes sending domains. Their SMTP users: `domains.smtp_users`."""

from django.db import IntegrityError, transaction

from accounts.audit import SYSTEM, Actor, note
from accounts.models import Organization
from accounts.quotas import locked_plan
from domains.dkim.keys import create_dkim_key
from domains.models import DkimAlgorithm, DkimKeyState, SendingDomain
from domains.names import DomainRefused, check_sendable, normalize_domain, to_unicode
from domains.record_rows import lay_out_records
from domains.signals import domain_lost
from domains.smtp_users import end_keys
from domains.verification import ownership_token


def add_domain(organization: Organization, name: str, *, by: Actor = SYSTEM) -> SendingDomain:
    """Adds a domain with its DKIM keys and the records to publish, waiting for DNS. Whether another organization has it
    makes no difference, and is not told: it belongs to the one that proves it last.

    Raises DomainRefused: the codes of `domains.names`, domain_already_added, quota_domains_reached.
    """
    name = normalize_domain(name)
    check_sendable(name, for_platform=organization.is_system)
    if SendingDomain.objects.of(organization).filter(name=name).exists():
        raise _already_added(name)
    try:
        with transaction.atomic():
            _check_quota(organization)
            domain = SendingDomain.objects.create(
                organization=organization, name=name, ownership_token=ownership_token()
            )
            create_dkim_key(domain, DkimAlgorithm.RSA, DkimKeyState.ACTIVE)
            create_dkim_key(domain, DkimAlgorithm.RSA)
            create_dkim_key(domain, DkimAlgorithm.ED25519)
            lay_out_records(domain)
            note(by, "domain.added", domain, organization_id=organization.pk, after={"name": name})
    except IntegrityError:
        raise _already_added(name) from None  # the same form, sent twice at once
    return domain


def remove_domain(domain: SendingDomain, *, by: Actor = SYSTEM) -> bool:
    """Deletes the domain with its records, DKIM keys and SMTP users; their passwords stop working at once, and what waits
    to be delivered bounces.

    False: it was gone already.
    """
    with transaction.atomic():
        # First the domain, as its verification does, then its SMTP users, as a change of a password does: then none waits
        # for another in a circle, and no password made meanwhile is missed.
        current = SendingDomain.objects.of(domain.organization_id).select_for_update().filter(pk=domain.pk).first()
        if current is None:
            return False
        for smtp_user in current.smtp_users.select_for_update().order_by("pk"):
            end_keys(smtp_user)
        before = {"name": current.name, "status": current.status}
        note(by, "domain.removed", current, organization_id=current.organization_id, before=before)
        domain_lost.send(SendingDomain, domain_id=current.pk, reason="sender_gone")
        current.delete()
    return True


def allow_subdomains(domain: SendingDomain, allowed: bool, *, by: Actor = SYSTEM) -> None:
    """Whether mail from names below the domain may be sent, signed as it."""
    with transaction.atomic():
        current = SendingDomain.objects.of(domain.organization_id).select_for_update().filter(pk=domain.pk).first()
        if current is not None and current.allow_subdomains != allowed:
            before, after = {"allow_subdomains": not allowed}, {"allow_subdomains": allowed}
            note(by, "domain.changed", current, organization_id=current.organization_id, before=before, after=after)
            current.allow_subdomains = allowed
            current.save(update_fields=["allow_subdomains"])
    domain.allow_subdomains = allowed


def _check_quota(organization: Organization) -> None:
    """In the transaction that adds a domain: two at once do not both get the last place."""
    plan = locked_plan(organization)
    if plan is not None and plan.domains is not None:
        used = SendingDomain.objects.of(organization).count()
        if used >= plan.domains:
            raise DomainRefused("quota_domains_reached", most=f"{plan.domains:,}", used=f"{used:,}")


def _already_added(name: str) -> DomainRefused:
    return DomainRefused("domain_already_added", name=to_unicode(name))
