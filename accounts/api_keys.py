"""API keys: made, recognised, hashed and revoked here.

A key reads `ps_live_` + 32 base62 characters (190 random bits) + a 6 character checksum. The fixed prefix and the checksum
let scanners recognise a leaked one. High entropy needs no slow hash: HMAC-SHA-256 under a server-side pepper is stored.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey, Organization, Scope, User

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


def is_live() -> Q:
    """The condition for those that are good now."""
    return Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()))


def create_api_key(
    organization: Organization,
    name: str,
    scopes: list[str] | None = None,
    *,
    only_domain: str = "",
    created_by: User | None = None,
) -> NewKey:
    secret = make_secret()
    api_key = ApiKey.objects.create(
        organization=organization,
        name=name,
        prefix=secret[:VISIBLE_LENGTH],
        digest=digest_of(secret),
        scopes=scopes or [Scope.FULL],
        only_domain=only_domain,
        created_by=created_by,
    )
    return NewKey(api_key, secret)


def revoke_api_key(api_key: ApiKey) -> None:
    """Idempotent: the first revocation's time stays."""
    if api_key.revoked_at is None:
        api_key.revoked_at = timezone.now()
        api_key.save(update_fields=["revoked_at"])


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[index])
    return "".join(digits)
