"""The return path on the wire: one address per recipient (VERP) on the sending domain's return-path name.

`b+<recipient id>.<tag>@psrp.<domain>`: the tag is an HMAC, so that a bounce to an address that we never used is told apart.
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


def recipient_of(address: str) -> UUID | None:
    """The recipient whose return path this is; None when it is none of ours."""
    local, _, _ = address.partition("@")
    identifier, _, tag = local.removeprefix("b+").partition(".")
    try:
        recipient_id = UUID(bytes=base64.b32decode(identifier.upper() + "=" * (-len(identifier) % 8)))
    except ValueError:
        return None
    return recipient_id if hmac.compare_digest(tag.lower(), _tag(recipient_id)) else None


def _tag(recipient_id: UUID) -> str:
    return _base32(hmac.digest(settings.RETURN_PATH_KEY.encode(), recipient_id.bytes, hashlib.sha256)[:TAG_OCTETS])


def _base32(octets: bytes) -> str:
    return base64.b32encode(octets).decode().rstrip("=").lower()
