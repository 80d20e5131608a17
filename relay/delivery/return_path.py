"""The return path on the wire: an address on the sending domain's return-path name that tells whom a bounce is about (VERP).

`b+<recipient id>.<tag>@psrp.<domain>`, or `m+<message id>.…` where several recipients of a message share a transaction and so
must share its return path. The tag is an HMAC, so that a bounce to an address that we never used is told apart.
"""

import base64
import hashlib
import hmac
from uuid import UUID

from django.conf import settings

from domains.records import RETURN_PATH_LABEL

TAG_OCTETS = 5


def return_path(recipient_id: UUID, domain: str) -> str:
    return f"b+{_base32(recipient_id.bytes)}.{_tag(recipient_id)}@{RETURN_PATH_LABEL}.{domain}"


def message_return_path(message_id: UUID, domain: str) -> str:
    """For several recipients of a message together; the bounce itself says which (RFC 3464, 2.3.2)."""
    return f"m+{_base32(message_id.bytes)}.{_tag(message_id)}@{RETURN_PATH_LABEL}.{domain}"


def recipient_of(address: str) -> UUID | None:
    """The recipient whose return path this is; None when it is none of ours."""
    return _identifier(address, "b+")


def message_of(address: str) -> UUID | None:
    """The message whose return path this is; None when it is none of ours."""
    return _identifier(address, "m+")


def _identifier(address: str, kind: str) -> UUID | None:
    local, _, _ = address.partition("@")
    if not local.startswith(kind):
        return None
    encoded, _, tag = local[len(kind) :].partition(".")
    try:
        identifier = UUID(bytes=base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)))
    except ValueError:
        return None
    return identifier if hmac.compare_digest(tag.lower().encode(), _tag(identifier).encode()) else None


def _tag(recipient_id: UUID) -> str:
    return _base32(hmac.digest(settings.RETURN_PATH_KEY.encode(), recipient_id.bytes, hashlib.sha256)[:TAG_OCTETS])


def _base32(octets: bytes) -> str:
    return base64.b32encode(octets).decode().rstrip("=").lower()
