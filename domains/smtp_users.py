"""What changes SMTP users and the API keys that are their passwords."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

from django.db import IntegrityError, transaction
from django.db.models import Prefetch
from django.utils import timezone
from email_validator import EmailNotValidError, validate_email

from accounts.api_keys import NewKey, end_key, is_live, new_key
from accounts.audit import SYSTEM, Actor, note
from accounts.catalogue import Refused
from accounts.models import ApiKey, Scope, User
from accounts.scoping import OrganizationQuerySet
from accounts.walls import across_organizations
from domains.models import SendingDomain, SmtpUser, SmtpUserKey

MOST_KEYS = 10  # of an SMTP user, at a time
MOST_MESSAGES = 1_000_000_000  # that a limit can name
_LONGEST_NAME = ApiKey._meta.get_field("name").max_length


class SmtpUserRefused(Refused):
    """An SMTP user that cannot be made or changed."""


@dataclass(frozen=True, slots=True)
class NewSmtpUser:
    """An SMTP user just made: `secret`, its password, is shown now and never again."""

    smtp_user: SmtpUser
    secret: str


class Limits(TypedDict, total=False):
    """Messages in each hour and day (UTC), and from where it may be used (CIDR). None or nothing: no limit, from anywhere.

    Networks are in their one form (`domains.cidr`). `stream`: of mail that names none; empty: none. What is not given stays as
    it is.
    """

    hourly_limit: int | None
    daily_limit: int | None
    allowed_networks: list[str]
    stream: str


def with_keys(users: OrganizationQuerySet[SmtpUser]) -> OrganizationQuerySet[SmtpUser]:
    """With what lists and pages show of them."""
    keys = SmtpUserKey.objects.select_related("api_key")
    return users.select_related("domain").prefetch_related(Prefetch("keys", keys))


def create_smtp_user(
    domain: SendingDomain,
    local_part: str,
    *,
    limits: Limits | None = None,
    created_by: User | None = None,
    by: Actor = SYSTEM,
) -> NewSmtpUser:
    """Makes an SMTP user on a verified domain, with an API key that may send from this domain only.

    Raises SmtpUserRefused: smtp_user_domain_not_verified, smtp_user_invalid, smtp_user_exists.
    """
    address = _address(domain, local_part)
    try:
        with transaction.atomic():
            # Read again: what the caller holds may be old, and the domain must not go while the user is made.
            current = SendingDomain.objects.of(domain.organization_id).select_for_update().filter(pk=domain.pk).first()
            if current is None or not current.is_verified:
                raise SmtpUserRefused("smtp_user_domain_not_verified", name=domain.display_name)
            _take_name(current, address)
            smtp_user = SmtpUser.objects.create(
                organization_id=current.organization_id, domain=current, address=address, **(limits or {})
            )
            key = _add_key(smtp_user, "", created_by)
            _note(by, "smtp_user.created", smtp_user, after={"key": key.api_key.prefix, **(limits or {})})
    except IntegrityError:
        raise SmtpUserRefused("smtp_user_exists", address=address) from None
    return NewSmtpUser(smtp_user, key.secret)


def change_smtp_user(smtp_user: SmtpUser, limits: Limits, *, by: Actor = SYSTEM) -> None:
    """Takes effect within 5 s. Raises SmtpUserRefused: not_found."""
    with transaction.atomic():
        current = _locked_or_refused(smtp_user)
        before = {name: getattr(current, name) for name, value in limits.items() if getattr(current, name) != value}
        after = {name: value for name, value in limits.items() if name in before}
        if after:
            _set(current, after)
            current.save(update_fields=list(after))
            _note(by, "smtp_user.changed", current, before=before, after=after)
    _set(smtp_user, limits)


# ---- Keys ------------------------------------------------------------------------------------------------------------


def add_key(smtp_user: SmtpUser, name: str = "", *, created_by: User | None = None, by: Actor = SYSTEM) -> NewKey:
    """One more password, beside those there are.

    Raises SmtpUserRefused: too_many_smtp_user_keys, not_found.
    """
    with transaction.atomic():
        current = _locked_or_refused(smtp_user)
        _check_room_for_key(current)
        key = _add_key(current, name, created_by)
        _note(by, "smtp_user.key_added", current, after={"key": key.api_key.prefix, "name": key.api_key.name})
    return key


def replace_password(
    smtp_user: SmtpUser,
    *,
    keep_old: timedelta = timedelta(0),
    name: str = "",
    created_by: User | None = None,
    by: Actor = SYSTEM,
) -> NewKey:
    """A new key in place of all others, which stop working at once or, at the latest, after `keep_old`.

    Raises SmtpUserRefused: too_many_smtp_user_keys (where the old ones stay for a while), not_found.
    """
    with transaction.atomic():
        current = _locked_or_refused(smtp_user)
        if keep_old:
            _check_room_for_key(current)
        old = keys_in_use(current)
        for api_key in old:
            end_key(api_key, keep=keep_old)
        ends_at = timezone.now() + keep_old
        key = _add_key(current, name, created_by)
        _note(
            by,
            "smtp_user.password_replaced",
            current,
            before={"keys": [api_key.prefix for api_key in old]},
            after={"key": key.api_key.prefix, "old_keys_end_at": ends_at.isoformat(timespec="seconds")},
        )
    return key


def revoke_key(smtp_user: SmtpUser, api_key: ApiKey, *, by: Actor = SYSTEM) -> bool:
    """It is refused within 5 s, in sessions that it opened too. False: it was revoked already, or its user is gone."""
    with transaction.atomic():
        current = _locked(smtp_user)
        key = keys_in_use(current).filter(pk=api_key.pk).first() if current else None
        if current is None or key is None:
            return False
        end_key(key)
        _note(by, "smtp_user.key_revoked", current, before={"key": key.prefix, "name": key.name})
    return True


# ---- Disabled and gone -----------------------------------------------------------------------------------------------


def disable_smtp_user(smtp_user: SmtpUser, *, by: Actor = SYSTEM) -> None:
    """Its keys are refused within 5 s, and kept. Idempotent; the name may be given to another meanwhile."""
    with transaction.atomic():
        current = _locked(smtp_user)
        if current is None:
            return  # removed meanwhile, which ended it too
        if current.disabled_at is None:
            _disable(current, by)
    smtp_user.disabled_at = current.disabled_at


def enable_smtp_user(smtp_user: SmtpUser, *, by: Actor = SYSTEM) -> None:
    """The keys that it has work again. Idempotent.

    Raises SmtpUserRefused: smtp_user_name_taken, not_found.
    """
    try:
        with transaction.atomic():
            # First the domain, as where the user is made: of two that want a name one has it.
            domains = SendingDomain.objects.of(smtp_user.organization_id).select_for_update()
            domain = domains.filter(pk=smtp_user.domain_id).first()
            current = _locked_or_refused(smtp_user)
            if current.disabled_at is not None:
                if domain and domain.is_verified:
                    _take_name(domain, current.address)
                before = {"disabled_at": current.disabled_at.isoformat(timespec="seconds")}
                current.disabled_at = None
                current.save(update_fields=["disabled_at"])
                _note(by, "smtp_user.enabled", current, before=before)
    except IntegrityError:
        raise SmtpUserRefused("smtp_user_name_taken", address=smtp_user.address) from None
    smtp_user.disabled_at = None


def remove_smtp_user(smtp_user: SmtpUser, *, by: Actor = SYSTEM) -> bool:
    """Deletes the SMTP user and revokes its keys. False: it was gone already."""
    with transaction.atomic():
        current = _locked(smtp_user)
        if current is None:
            return False
        end_keys(current)
        _note(by, "smtp_user.removed", current)
        current.delete()
    return True


def end_keys(smtp_user: SmtpUser) -> None:
    """Revokes all of them, for a user who is about to go. In a transaction that has locked the user."""
    for api_key in keys_in_use(smtp_user):
        end_key(api_key)


@across_organizations()
def _take_name(domain: SendingDomain, address: str) -> None:
    """Names on a domain are given out by whoever holds it: those of a former owner's SMTP users are free.

    `domain` is verified and locked.
    """
    others = SmtpUser.objects.select_for_update().filter(address=address, disabled_at__isnull=True)
    for smtp_user in others.exclude(organization_id=domain.organization_id):
        _disable(smtp_user, SYSTEM)


def _disable(smtp_user: SmtpUser, by: Actor) -> None:
    """In a transaction that has locked the user."""
    smtp_user.disabled_at = timezone.now()
    smtp_user.save(update_fields=["disabled_at"])
    _note(by, "smtp_user.disabled", smtp_user)


# ---- Small parts -----------------------------------------------------------------------------------------------------


def _locked(smtp_user: SmtpUser) -> SmtpUser | None:
    """As it is now: what the caller holds may be old. None: it is gone.

    Its keys are read afterwards: another request may have changed them while this one waited.
    """
    return SmtpUser.objects.of(smtp_user.organization_id).select_for_update().filter(pk=smtp_user.pk).first()


def _locked_or_refused(smtp_user: SmtpUser) -> SmtpUser:
    current = _locked(smtp_user)
    if current is None:
        raise SmtpUserRefused("not_found", thing="SMTP user")
    return current


def keys_in_use(smtp_user: SmtpUser) -> OrganizationQuerySet[ApiKey]:
    return ApiKey.objects.of(smtp_user.organization_id).filter(is_live(), smtp_user_key__smtp_user=smtp_user)


def _check_room_for_key(smtp_user: SmtpUser) -> None:
    if keys_in_use(smtp_user).count() >= MOST_KEYS:
        raise SmtpUserRefused("too_many_smtp_user_keys", address=smtp_user.address, limit=MOST_KEYS)


def _add_key(smtp_user: SmtpUser, name: str, created_by: User | None) -> NewKey:
    domain = smtp_user.domain
    key = new_key(
        domain.organization,
        name.strip()[:_LONGEST_NAME] or default_key_name(smtp_user),
        [Scope.SEND],
        only_domain=domain.name,
        is_password=True,
        created_by=created_by,
    )
    SmtpUserKey.objects.create(smtp_user=smtp_user, api_key=key.api_key)
    return key


def default_key_name(smtp_user: SmtpUser) -> str:
    return f"SMTP {smtp_user.address}"[:_LONGEST_NAME]


def _set(smtp_user: SmtpUser, limits: Mapping[str, Any]) -> None:
    for name, value in limits.items():
        setattr(smtp_user, name, value)


def _note(by: Actor, action: str, smtp_user: SmtpUser, **changes: Any) -> None:
    note(by, action, smtp_user, organization_id=smtp_user.organization_id, **changes)


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
