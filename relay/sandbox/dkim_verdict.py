"""Whether the DKIM signatures (RFC 6376) of a mail that arrived hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import dkim

MOST_SIGNATURES = 5  # looked at; RFC 6376, 6.1: a verifier may stop at some number

FetchTxt = Callable[[str], Awaitable[bytes | None]]  # by name with its final dot; None: no such record


@dataclass(frozen=True, slots=True)
class DkimVerdict:
    """`result`: pass when any signature holds, fail when none does, none when there is none. `domain`: its d= tag."""

    result: str
    domain: str = ""


async def check_dkim(raw: bytes, fetch: FetchTxt) -> DkimVerdict:
    """Fetches the keys first and then verifies without waiting: about a millisecond for a small mail."""
    try:
        message = dkim.DKIM(raw)
        signatures = [name for name, _ in message.headers if name.lower() == b"dkim-signature"]
    except dkim.DKIMException:
        return DkimVerdict("none")
    first = ""
    for index in range(min(len(signatures), MOST_SIGNATURES)):
        domain, holds = await _check_one(message, index, fetch)
        if holds:
            return DkimVerdict("pass", domain)
        first = first or domain
    return DkimVerdict("fail" if signatures else "none", first)


async def _check_one(message: Any, index: int, fetch: FetchTxt) -> tuple[str, bool]:
    domain = ""
    try:
        signature, include, headers = message.verify_headerprep(index)
        domain = signature[b"d"].decode("ascii").lower()
        key = await fetch(f"{signature[b's'].decode('ascii')}._domainkey.{domain}.")
        return domain, bool(message.verify_sig(signature, include, headers[index], lambda name, timeout: key))
    except (dkim.DKIMException, UnicodeDecodeError):
        return domain, False
    except Exception:  # dkimpy lets base64 and ASN.1 errors of hostile input through
        return domain, False
