"""By what a repeated request is recognised. No I/O."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def request_fingerprint(body: Any) -> bytes:
    """The same 32 octets for JSON requests that say the same, whatever their spacing and order of members."""
    return digest_of_parts([json.dumps(body, sort_keys=True, separators=(",", ":")).encode()])


def digest_of_parts(parts: Sequence[bytes]) -> bytes:
    """SHA-256 over the parts, each with its length in front, so that none can pass for the end of another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
