"""By what a repeated request is recognised. No I/O."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def request_fingerprint(body: Any) -> bytes:
    """The same for JSON requests that say the same, whatever their spacing, escapes and order of members.

    What was written counts, not what it comes to: a member that is left out and one that is given its default differ, and so
    do 1 and 1.0, one address and a list of one. A program that repeats a request repeats what it wrote; and what a default
    is may change from one version of ours to the next, within a key's 24 hours.
    """
    return digest_of_parts([json.dumps(body, sort_keys=True, separators=(",", ":")).encode()])


def digest_of_parts(parts: Sequence[bytes]) -> bytes:
    """SHA-256 over the parts, each with its length in front, so that none can pass for the end of another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
