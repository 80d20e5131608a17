"""What a content says of itself: its addresses, its text and HTML. No I/O; what cannot be read is left out, never an error."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from relay.submission.addresses import parse_mailboxes

_SPECIALS = frozenset('()<>[]:;@\\,."')  # RFC 5322, 3.2.3: words with them are quoted


def address_fields(head: bytes) -> dict[str, list[str]]:
    """To, Cc and Reply-To, by name in lower case, as `name@domain` or `Name <name@domain>`.

    `head`: a content, or its beginning; of a field that is cut off the whole mailboxes are given.
    """
    block, ended, _ = head.partition(b"\r\n\r\n")
    lines = block.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        name, _, value = line.partition(b":")
        key = name.strip().lower().decode("latin-1")
        if key not in {"to", "cc", "reply-to"}:
            continue
        if number == len(lines) and not ended:
            value = value.rpartition(b",")[0]
        found[key] = _mailboxes(value)
    return found


def _mailboxes(value: bytes) -> list[str]:
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        text = value.decode("latin-1").strip()
    if "=?" not in text and "," not in text:  # what most mail has, and quick
        return [_written(*mailbox) for mailbox in parse_mailboxes(text) or ()]
    try:
        header = cast(Any, policy.default.header_factory("To", text))
        return [str(address) for address in header.addresses]
    except (ValueError, IndexError, AttributeError, LookupError):  # what the parser raises on some input
        return []


def _written(name: str, address: str) -> str:
    if not name:
        return address
    if _SPECIALS.intersection(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def addr_spec(mailbox: str) -> str:
    """Of what `address_fields` gives, in lower case, for comparing."""
    return mailbox.rpartition("<")[2].rstrip(">").lower()


def bodies(raw: bytes) -> tuple[str | None, str | None]:
    """HTML and text."""
    parsed = message_from_bytes(raw, policy=policy.default)
    return _body(parsed, "html"), _body(parsed, "plain")


def _body(parsed: EmailMessage, kind: str) -> str | None:
    part = parsed.get_body((kind,))
    if part is None:
        return None
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, UnicodeError):  # a charset that nobody knows
        payload = part.get_payload(decode=True)
        return payload.decode("latin-1") if isinstance(payload, bytes) else ""
