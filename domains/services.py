"""What changes sending domains and SMTP users."""

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone
from email_validator import EmailNotValidError, validate_email

from accounts.api_keys import NewKey, create_api_key, revoke_api_key
from accounts.audit import SYSTEM, Actor, note
from accounts.catalogue import Refused
from accounts.models import ApiKey, Organization, Scope, User
from domains.dkim_keys import create_dkim_key
from domains.models import DkimAlgorithm, DkimKeyState, SendingDomain, SmtpUser
from domains.names import DomainRefused, check_sendable, normalize_domain, to_unicode
from domains.record_rows import lay_out_records
from domains.signals import domain_lost
from domains.verification import ownership_token


class SmtpUserRefused(Refused):
    """An SMTP user that cannot be made or changed."""


@dataclass(frozen=True, slots=True)
class NewSmtpUser:
    """An SMTP user just made: `secret`, its password, is shown now and never again."""

    smtp_user: SmtpUser
    secret: str


# ---- Domains ---------------------------------------------------------------------------------------------------------


def add_domain(organization: Organization, name: str, *, by: Actor = SYSTEM) -> SendingDomain:
    """Adds a domain with its DKIM keys and the records to publish, waiting for DNS. Whether another organization has it
    makes no difference, and is not told: it belongs to the one that proves it last.

    Raises DomainRefused: the codes of `domains.names`, domain_already_added.
    """
    name = normalize_domain(name)
    check_sendable(name, for_platform=organization.is_system)
    if SendingDomain.objects.of(organization).filter(name=name).exists():
        raise _already_added(name)
    try:
        with transaction.atomic():
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
        current = SendingDomain.objects.select_for_update().filter(pk=domain.pk).first()
        if current is None:
            return False
        for smtp_user in current.smtp_users.select_for_update().order_by("pk"):
            revoke_api_key(smtp_user.api_key)
        before = {"name": current.name, "status": current.status}
        note(by, "domain.removed", current, organization_id=current.organization_id, before=before)
        domain_lost.send(SendingDomain, domain_id=current.pk, reason="sender_gone")
        current.delete()
    return True


def allow_subdomains(domain: SendingDomain, allowed: bool, *, by: Actor = SYSTEM) -> None:
    """Whether mail from names below the domain may be sent, signed as it."""
    with transaction.atomic():
        current = SendingDomain.objects.select_for_update().filter(pk=domain.pk).first()
        if current is not None and current.allow_subdomains != allowed:
            before, after = {"allow_subdomains": not allowed}, {"allow_subdomains": allowed}
            note(by, "domain.changed", current, organization_id=current.organization_id, before=before, after=after)
            current.allow_subdomains = allowed
            current.save(update_fields=["allow_subdomains"])
    domain.allow_subdomains = allowed


def _already_added(name: str) -> DomainRefused:
    return DomainRefused("domain_already_added", name=to_unicode(name))


# ---- SMTP users ------------------------------------------------------------------------------------------------------


def create_smtp_user(domain: SendingDomain, local_part: str, *, created_by: User | None = None) -> NewSmtpUser:
    """Makes an SMTP user on a verified domain, with an API key that may send from this domain only.

    Raises SmtpUserRefused: smtp_user_domain_not_verified, smtp_user_invalid, smtp_user_exists.
    """
    address = _address(domain, local_part)
    try:
        with transaction.atomic():
            # Read again: what the caller holds may be old, and the domain must not go while the user is made.
            current = SendingDomain.objects.select_for_update().filter(pk=domain.pk).first()
            if current is None or not current.is_verified:
                raise SmtpUserRefused("smtp_user_domain_not_verified", name=domain.display_name)
            _free_of_former_owner(current, address)
            key = _new_key(current, address, created_by)
            smtp_user = SmtpUser.objects.create(
                organization_id=current.organization_id, domain=current, address=address, api_key=key.api_key
            )
    except IntegrityError:
        raise SmtpUserRefused("smtp_user_exists", address=address) from None
    return NewSmtpUser(smtp_user, key.secret)


def _free_of_former_owner(domain: SendingDomain, address: str) -> None:
    """The SMTP users of an organization that lost the domain stay, but may not keep their names from its owner."""
    former = SmtpUser.objects.select_for_update().filter(address=address, disabled_at=None).exclude(domain=domain)
    for smtp_user in former:
        smtp_user.disabled_at = timezone.now()
        smtp_user.save(update_fields=["disabled_at"])
        note(SYSTEM, "smtp_user.disabled", smtp_user, organization_id=smtp_user.organization_id)


def replace_password(smtp_user: SmtpUser) -> str:
    """Gives the SMTP user a new password, returned this once; the old one stops working at once.

    Raises SmtpUserRefused: smtp_user_disabled.
    """
    with transaction.atomic():
        current = _locked(smtp_user)
        if current is None or current.disabled_at is not None:
            raise SmtpUserRefused("smtp_user_disabled", address=smtp_user.address)
        old = current.api_key
        key = _new_key(current.domain, current.address, old.created_by)
        current.api_key = key.api_key
        current.save(update_fields=["api_key"])
        revoke_api_key(old)
    smtp_user.api_key = key.api_key
    return key.secret


def disable_smtp_user(smtp_user: SmtpUser) -> None:
    """Ends the SMTP user and revokes its key. Idempotent; the address may then be given out again."""
    with transaction.atomic():
        current = _locked(smtp_user)
        if current is None:
            return  # removed meanwhile, which ended it too
        revoke_api_key(current.api_key)
        if current.disabled_at is None:
            current.disabled_at = timezone.now()
            current.save(update_fields=["disabled_at"])
    smtp_user.disabled_at = current.disabled_at


def remove_smtp_user(smtp_user: SmtpUser) -> bool:
    """Deletes the SMTP user and revokes its key. False: it was gone already."""
    with transaction.atomic():
        current = _locked(smtp_user)
        if current is None:
            return False
        revoke_api_key(current.api_key)
        current.delete()
    return True


def _locked(smtp_user: SmtpUser) -> SmtpUser | None:
    """As it is now: what the caller holds may be old. None: it is gone.

    Its key is read afterwards: a join would drop the row when another request replaced the key while this one waited.
    """
    return SmtpUser.objects.select_for_update().filter(pk=smtp_user.pk).first()


def _new_key(domain: SendingDomain, address: str, created_by: User | None) -> NewKey:
    longest = ApiKey._meta.get_field("name").max_length
    return create_api_key(
        domain.organization,
        f"SMTP {address}"[:longest],
        [Scope.SEND],
        only_domain=domain.name,
        created_by=created_by,
    )


def _address(domain: SendingDomain, typed: str) -> str:
    """The user name, lower case. The whole address may be typed as well as its local part."""
    local_part = typed.strip().lower()
    for suffix in (f"@{domain.name}", f"@{domain.display_name}"):
        local_part = local_part.removesuffix(suffix)
    if "@" in local_part:
        raise SmtpUserRefused(
            "smtp_user_invalid",
            typed=typed.strip(),
            problem=f"it is not on {domain.display_name}. Type what stands before the @, for example admin",
        )
    try:
        # The domain was checked when it was added; RFC 6761 names (.test) are for the sandbox.
        validate_email(
            f"{local_part}@{domain.name}",
            check_deliverability=False,
            globally_deliverable=False,
            test_environment=True,
            allow_smtputf8=False,  # many clients cannot spell other letters in AUTH
            strict=True,  # RFC 5321, 4.5.3.1.1: 64 octets
        )
    except EmailNotValidError:
        raise SmtpUserRefused(
            "smtp_user_invalid",
            typed=typed.strip(),
            problem="what stands before the @ is up to 64 letters (a to z), digits and . _ + -, for example admin",
        ) from None
    return f"{local_part}@{domain.name}"
