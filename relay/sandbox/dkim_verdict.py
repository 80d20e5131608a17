"""Whether the DKIM signatures (RFC 6376; Ed25519: RFC 8463) of a mail that arrived hold."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from dkim.util import parse_tag_value

MOST_SIGNATURES = 5  # looked at; RFC 6376, 6.1: a verifier may stop at some number
ED25519 = "ed25519-sha256"

FetchTxt = Callable[[str], Awaitable[bytes | None]]  # by name with its final dot; None: no such record


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """One signature: whether it holds, and its tags d=, s= and a= as far as they could be read."""

    holds: bool
    domain: str = ""
    selector: str = ""
    algorithm: str = ""

    def __str__(self) -> str:
        return f"{'pass' if self.holds else 'fail'} {self.algorithm} {self.selector} {self.domain}".rstrip()


@dataclass(frozen=True, slots=True)
class DkimVerdict:
    """`result`: pass when any signature holds, fail when none does, none when there is none.

    `domain`: of the first that holds, else of the first. `signatures`: in the order of the mail.
    """

    result: str
    domain: str = ""
    signatures: tuple[SignatureVerdict, ...] = ()


async def check_dkim(raw: bytes, fetch: FetchTxt) -> DkimVerdict:
    """Fetches the keys first and then verifies without waiting: about a millisecond for a small mail."""
    try:
        message = dkim.DKIM(raw)
        count = sum(name.lower() == b"dkim-signature" for name, _ in message.headers)
    except dkim.DKIMException:
        return DkimVerdict("none")
    if not count:
        return DkimVerdict("none")
    signatures = [await _check_one(message, index, fetch) for index in range(min(count, MOST_SIGNATURES))]
    holding = [signature for signature in signatures if signature.holds]
    named = [signature.domain for signature in holding or signatures if signature.domain]
    return DkimVerdict("pass" if holding else "fail", named[0] if named else "", tuple(signatures))


async def _check_one(message: Any, index: int, fetch: FetchTxt) -> SignatureVerdict:
    domain = selector = algorithm = ""
    try:
        tags, include, fields = message.verify_headerprep(index)
        domain, selector = tags[b"d"].decode("ascii").lower(), tags[b"s"].decode("ascii")
        algorithm = tags[b"a"].decode("ascii")
        record = await fetch(f"{selector}._domainkey.{domain}.")
        if algorithm == ED25519:
            message.pk, message.keysize, message.ktag, message.seqtlsrpt = _Ed25519Key(record), 256, b"ed25519", False
            holds = message.verify_sig_process(tags, include, fields[index], None)
        else:
            holds = message.verify_sig(tags, include, fields[index], lambda name, timeout: record)
    # dkimpy lets base64 and ASN.1 errors of hostile input through, and `cryptography` has its own.
    except Exception:
        return SignatureVerdict(False, domain, selector, algorithm)
    return SignatureVerdict(bool(holds), domain, selector, algorithm)


class _Ed25519Key:
    """What dkimpy takes for a PyNaCl key: canonicalization and hash are dkimpy's, the check is done by `cryptography`."""

    def __init__(self, record: bytes | None) -> None:
        tags = parse_tag_value(record or b"")
        if tags.get(b"k") != b"ed25519" or tags.get(b"v", b"DKIM1") != b"DKIM1":
            raise dkim.KeyFormatError("no Ed25519 key")
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(tags[b"p"]))

    def verify(self, digest: bytes, signature: bytes) -> None:
        """Raises cryptography.exceptions.InvalidSignature."""
        self._key.verify(signature, digest)
