"""Never twice: by what a repeated submission is recognised. No I/O; `relay.submission.intake` holds the keys.

An explicit idempotency key is the client's word. *Safe resend*, which an organization can turn on, recognises the same
message from the same SMTP user by itself, so that a client that lost our reply and tries again does no harm.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from relay.submission.headers import OPTION_PREFIX, Parsed, message_id

# A program that builds the same message again gives it a new date, a new id and new boundaries: these tell nothing.
_VOLATILE = {b"date", b"message-id", b"received"}
# Our option fields are about the message, but these two say what is in it.
_FILLING = {OPTION_PREFIX + b"template", OPTION_PREFIX + b"variables"}
_BOUNDARY = re.compile(rb'boundary="?([^";\r\n]{1,70})', re.I)


@dataclass(frozen=True, slots=True)
class Once:
    """A submission that is to be accepted once in 24 h. Same key, other fingerprint: another message, which is refused."""

    scope: str  # "key": the client's own, at either door; "batch": its own of a batch; "resend": recognised by us
    key: str
    fingerprint: bytes  # 32 octets


def by_key(key: str, fingerprint: bytes) -> Once:
    return Once("key", key, fingerprint)


def by_batch_key(key: str, fingerprint: bytes) -> Once:
    """A batch is another endpoint: its keys are not those of single messages."""
    return Once("batch", key, fingerprint)


def by_content(smtp_user_id: UUID, sender: str, recipients: Sequence[str], parsed: Parsed) -> Once | None:
    """Message-ID, sender, recipients, body and SMTP user together; None when the client gave no Message-ID."""
    identifier = message_id(parsed)
    if not identifier:
        return None
    filling = b"".join(field.raw for field in parsed.fields if field.name in _FILLING)
    digest = _digest([smtp_user_id.bytes, identifier.encode(), *_envelope(sender, recipients), filling + parsed.body])
    return Once("resend", digest.hex(), digest)


def message_fingerprint(sender: str, recipients: Sequence[str], parsed: Parsed) -> bytes:
    """The same for the same message sent again, even when its program built it anew."""
    fields = [
        field.raw
        for field in parsed.fields
        if field.name in _FILLING or not (field.name in _VOLATILE or field.name.startswith(OPTION_PREFIX))
    ]
    content = b"".join([*fields, parsed.body])
    for number, boundary in enumerate(dict.fromkeys(_BOUNDARY.findall(content))):
        content = content.replace(boundary, b"boundary %d" % number)
    return _digest([*_envelope(sender, recipients), content])


def request_fingerprint(body: Any) -> bytes:
    """The same for JSON requests that say the same, whatever their spacing, escapes and order of members.

    What was written counts, not what it comes to: a member that is left out and one that is given its default differ, and so
    do 1 and 1.0, one address and a list of one. A program that repeats a request repeats what it wrote; and what a default
    is may change from one version of ours to the next, within a key's 24 hours.
    """
    return _digest([json.dumps(body, sort_keys=True, separators=(",", ":")).encode()])


def _envelope(sender: str, recipients: Sequence[str]) -> list[bytes]:
    return [sender.encode(), b"\n".join(sorted(recipient.encode() for recipient in recipients))]


def _digest(parts: Sequence[bytes]) -> bytes:
    """SHA-256 over the parts, each with its length in front, so that none can pass for the end of another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
