"""What stands in List-Unsubscribe: a link and an address that are good for one recipient and one stream. No I/O.

The link's token says all that is needed, encrypted and authenticated (AES-SIV, RFC 5297): nothing has to be kept for it, it
works when the message is long forgotten, and whoever sees it in a log learns no address. The address has room for no more than
the recipient's id, with a tag as return paths have (`relay.delivery.return_path`): it works while the message is kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.conf import settings

from domains.records import RETURN_PATH_LABEL

PATH = "/u/"
TOKEN_LENGTH = 1000  # at most
_VERSION = b"\x01"
_KIND = "u+"
_TAG_OCTETS = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants no more of what. `address`: as suppressions are kept (`relay.suppressing.suppressions.normalized`)."""

    organization_id: UUID
    message_id: UUID
    address: str
    stream: str


def token_of(wish: Wish) -> str:
    """The same for the same wish."""
    stream = wish.stream.encode()
    told = b"".join(
        (
            _VERSION,
            wish.organization_id.bytes,
            wish.message_id.bytes,
            bytes([len(stream)]),
            stream,
            wish.address.encode(),
        )
    )
    return base64.urlsafe_b64encode(_cipher(settings.RETURN_PATH_KEY).encrypt(told, None)).decode().rstrip("=")


def read_token(token: str) -> Wish | None:
    """None: it is none of ours."""
    if len(token) > TOKEN_LENGTH or not token.isascii():
        return None
    try:
        sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        told = _cipher(settings.RETURN_PATH_KEY).decrypt(sealed, None)
    except (binascii.Error, ValueError, InvalidTag):
        return None
    if told[:1] != _VERSION:
        return None
    rest, length = told[34:], told[33]
    return Wish(UUID(bytes=told[1:17]), UUID(bytes=told[17:33]), rest[length:].decode(), rest[:length].decode())


def unsubscribe_url(wish: Wish) -> str:
    return f"{settings.WEB_URL}{PATH}{token_of(wish)}"


def unsubscribe_address(recipient_id: UUID, domain: str) -> str:
    """`domain`: the sending domain."""
    return f"{_KIND}{_base32(recipient_id.bytes)}.{_tag(recipient_id)}@{RETURN_PATH_LABEL}.{domain}"


def read_unsubscribe_address(local_part: str) -> UUID | None:
    """The recipient whose address for unsubscribing this is, in whatever case; None when it is none of ours."""
    local_part = local_part.lower()
    encoded, _, tag = local_part.removeprefix(_KIND).partition(".")
    if not local_part.startswith(_KIND) or not local_part.isascii():
        return None
    try:
        recipient_id = UUID(bytes=base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)))
    except ValueError:
        return None
    return recipient_id if hmac.compare_digest(tag, _tag(recipient_id)) else None


def _tag(recipient_id: UUID) -> str:
    told = b"unsubscribe " + recipient_id.bytes  # so that no return path's tag will do
    return _base32(hmac.digest(settings.RETURN_PATH_KEY.encode(), told, hashlib.sha256)[:_TAG_OCTETS])


def _base32(octets: bytes) -> str:
    return base64.b32encode(octets).decode().rstrip("=").lower()


@lru_cache(maxsize=4)
def _cipher(key: str) -> AESSIV:
    return AESSIV(hmac.digest(key.encode(), b"unsubscribe links", hashlib.sha512))
