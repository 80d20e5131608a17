"""API keys: made, recognised, hashed, rotated and revoked here.

A key reads `ps_live_` + 32 base62 characters (190 random bits) + a 6 character checksum. The fixed prefix and the checksum
let scanners recognise a leaked one (docs/api-keys.md). High entropy needs no slow hash: HMAC-SHA-256 under a server-side
pepper is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.catalogue import Refused
from accounts.models import ApiKey, Organization, Scope, User
from accounts.notices import notify_owners
from accounts.walls import across_organizations

MARK = "ps_live_"

SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
VISIBLE_LENGTH = len(MARK) + 6
ALPHABET = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: `secret` is shown to its owner now and never again."""

    api_key: ApiKey
    secret: str


# ---- The secret ------------------------------------------------------------------------------------------------------


def make_secret() -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return MARK + body + _checksum(body)


def is_well_formed(secret: str) -> bool:
    """Whether this could be one of our keys, told without a look-up."""
    body, checksum = secret[len(MARK) : -CHECKSUM_LENGTH], secret[-CHECKSUM_LENGTH:]
    return secret.startswith(MARK) and len(body) == SECRET_LENGTH and _checksum(body) == checksum


def digest_of(secret: str) -> bytes:
    """The form in which a key is stored and looked up: 32 octets."""
    return hmac.digest(settings.API_KEY_PEPPER.encode(), secret.encode(), hashlib.sha256)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[index])
    return "".join(digits)


# ---- What is done with keys ------------------------------------------------------------------------------------------


def is_live() -> Q:
    """The condition for those that are good now."""
    return Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()))


def reduced(scopes: Collection[str]) -> list[str]:
    """Without those that `full` contains."""
    return [Scope.FULL.value] if Scope.FULL in scopes else sorted(set(scopes))


def create_api_key(
    organization: Organization,
    name: str,
    scopes: Sequence[str] | None = None,
    *,
    only_domain: str = "",
    expires_at: datetime | None = None,
    allowed_networks: Sequence[str] = (),
    created_by: User | None = None,
    by: Actor = SYSTEM,
) -> NewKey:
    """`only_domain`: A-label form; empty: all. `allowed_networks`: in CIDR notation, in their one form."""
    with transaction.atomic():
        new = new_key(
            organization,
            name,
            scopes or [Scope.FULL],
            only_domain=only_domain,
            expires_at=expires_at,
            allowed_networks=list(allowed_networks),
            created_by=created_by,
            created_with_id=by.id if by.kind == "api_key" else None,
        )
        _note(by, "created", new.api_key, after=_terms(new.api_key))
    return new


def change_api_key(
    api_key: ApiKey, *, name: str | None = None, allowed_networks: list[str] | None = None, by: Actor = SYSTEM
) -> None:
    """What is None stays. Networks take effect within 5 s. Raises `Refused`: not_found."""
    wanted = {"name": name, "allowed_networks": allowed_networks}
    with transaction.atomic():
        current = _locked_or_refused(api_key)
        after = {
            field: value for field, value in wanted.items() if value is not None and value != getattr(current, field)
        }
        if after:
            before = {field: getattr(current, field) for field in after}
            for field, value in after.items():
                setattr(current, field, value)
            current.save(update_fields=list(after))
            _note(by, "renamed" if after.keys() == {"name"} else "changed", current, before=before, after=after)


def rotate_api_key(
    api_key: ApiKey,
    *,
    keep_old: timedelta = timedelta(0),
    name: str = "",
    created_by: User | None = None,
    by: Actor = SYSTEM,
) -> NewKey:
    """A new key that may do the same, for as long as the old one was made for. The old one stops now or after `keep_old`.

    Raises `Refused`: api_key_replaced, not_found.
    """
    with transaction.atomic():
        old = _locked_or_refused(api_key)
        if old.replaced_by_id:
            raise Refused("api_key_replaced", name=old.name, prefix=old.prefix)
        now = timezone.now()
        new = new_key(
            old.organization,
            name or old.name,
            old.scopes,
            only_domain=old.only_domain,
            created_at=now,
            expires_at=now + old.lifetime if old.lifetime else None,
            allowed_networks=old.allowed_networks,
            created_by=created_by,
            created_with_id=by.id if by.kind == "api_key" else None,
        )
        old.replaced_by = new.api_key
        old.save(update_fields=["replaced_by"])
        end_key(old, keep=keep_old)
        ends_at = old.revoked_at or old.expires_at
        _note(by, "created", new.api_key, after=_terms(new.api_key))
        _note(by, "rotated", old, after={"replaced_by": new.api_key.prefix, "ends_at": _iso(ends_at)})
    return new


def revoke_api_key(api_key: ApiKey, *, reason: str = "", by: Actor = SYSTEM) -> bool:
    """It is refused within 5 s. False: it was revoked already, and the first revocation's time and reason stay."""
    with transaction.atomic():
        current = ApiKey.objects.of(api_key.organization_id).select_for_update().filter(pk=api_key.pk).first()
        if current is None or current.is_revoked:
            return False
        end_key(current, reason=reason)
        _note(by, "revoked", current, after={"reason": reason} if reason else None)
    api_key.revoked_at, api_key.revoke_reason = current.revoked_at, current.revoke_reason
    return True


LEAK_TOLD_EVERY = timedelta(days=1)


@across_organizations()  # who finds a key knows nobody's name
def report_leak(secret: str, found_at: str, client: str) -> None:
    """Tells the owners that a stranger has this key, at most once a day. Nothing stops: who found it might be mistaken.

    Nothing of what the stranger says gets into the mail. `client`: the stranger's IP address.
    """
    if not is_well_formed(secret):
        return
    now = timezone.now()
    with transaction.atomic():
        query = ApiKey.objects.select_for_update(of=["self"]).select_related("organization", "created_by")
        key = query.filter(is_live(), digest=digest_of(secret)).first()
        if key is None or (key.leak_reported_at and key.leak_reported_at > now - LEAK_TOLD_EVERY):
            return
        key.leak_reported_at = now
        key.save(update_fields=["leak_reported_at"])
        finder = Actor("system", None, "Somebody who found it", client or None)
        _note(finder, "leak_reported", key, after={"found_at": found_at} if found_at else None)
        about = {"name": key.name, "prefix": key.prefix, "key_id": str(key.pk), "is_password": key.is_password}
        notify_owners(key.organization, "api_key_leaked", also_to=key.created_by, **about)


# ---- What keys and SMTP users' passwords have in common; the caller tells the audit log --------------------------------


def new_key(organization: Organization, name: str, scopes: Sequence[str], **more: Any) -> NewKey:
    """`more`: further fields of the row."""
    secret = make_secret()
    fields = {"prefix": secret[:VISIBLE_LENGTH], "digest": digest_of(secret), "scopes": list(scopes)}
    return NewKey(ApiKey.objects.create(organization=organization, name=name, **fields, **more), secret)


def end_key(api_key: ApiKey, *, keep: timedelta = timedelta(0), reason: str = "") -> None:
    """Revokes it now, or has it run out after `keep`, if it does not before. Idempotent. The caller has locked the row."""
    now = timezone.now()
    if keep:
        ends_at = now + keep
        if api_key.expires_at is None or api_key.expires_at > ends_at:
            api_key.expires_at = ends_at
            api_key.save(update_fields=["expires_at"])
    elif api_key.revoked_at is None:
        api_key.revoked_at, api_key.revoke_reason = now, reason
        api_key.save(update_fields=["revoked_at", "revoke_reason"])


# ---- Small parts -----------------------------------------------------------------------------------------------------


def _locked_or_refused(api_key: ApiKey) -> ApiKey:
    """As it is now, if it still works: what the caller holds may be old."""
    keys = ApiKey.objects.of(api_key.organization_id)
    current = keys.select_for_update().filter(is_live(), pk=api_key.pk).first()
    if current is None:
        raise Refused("not_found", thing="API key")
    return current


def _terms(api_key: ApiKey) -> dict[str, Any]:
    """What it may do, and under which conditions: what is set of it."""
    terms = {
        "scopes": api_key.scopes,
        "domain": api_key.only_domain,
        "expires_at": _iso(api_key.expires_at),
        "allowed_networks": api_key.allowed_networks,
    }
    return {name: value for name, value in terms.items() if value}


def _iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""


def _note(by: Actor, verb: str, api_key: ApiKey, **changes: Any) -> None:
    note(by, f"api_key.{verb}", api_key, organization_id=api_key.organization_id, **changes)
