"""Addresses as reports write them. No I/O."""

from __future__ import annotations

import re

ADDRESS_MOST = 320
# RFC 5321, 4.1.2, as far as it occurs; also beyond ASCII (RFC 6531).
ADDRESS = re.compile(
    r"[^\s<>()\[\]:;,\"'|\\@][^\s<>()\[\]:;,\"|\\@]{0,63}@(?:[^\s<>()\[\]:;,\"'|\\@.]{1,63}\.){0,12}[^\s<>()\[\]:;,\"'|\\@.]{2,63}"
)
_X_HEX = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533, 3
_QUOTED = re.compile(r'<?("(?:[^"\\]|\\.){1,64}"@[^\s<>()\[\]:;,]{3,255})>?')


def typed_address(value: str) -> str:
    """Of `rfc822; ada@example.com`, `utf-8;…` (RFC 3464, 2.1.2; RFC 6533, 3); empty where there is none."""
    kind, sign, rest = value.partition(";")
    text = rest if sign else kind
    if sign and kind.strip().lower() in {"utf-8", "utf8"}:
        text = _X_HEX.sub(_character, text)
    return address_in(text)


def address_in(text: str) -> str:
    """The first address of a short text; empty where there is none. `IMCEASMTP-…` and `SMTP:` of Exchange are undone."""
    text = text.strip()[:1000]
    if quoted := _QUOTED.match(text):
        return quoted[1]
    found = ADDRESS.search(text)
    if not found:
        return ""
    return found[0].rstrip(".-_!?=").removeprefix("SMTP:").removeprefix("smtp:")[:ADDRESS_MOST]


def domain_part(address: str) -> str:
    return address.rpartition("@")[2].lower()


def same(one: str, other: str) -> bool:
    """No large provider's local parts are case-sensitive; reports often change them."""
    return bool(one) and one.strip().strip("<>").casefold() == other.strip().strip("<>").casefold()


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if 32 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
