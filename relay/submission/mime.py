"""Builds the message that a REST request describes. No I/O.

Python's `email` package folds and encodes; addresses and headers are checked first, so nothing can be injected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from accounts.catalogue import Refused
from relay.submission.addresses import parse_address, parse_mailboxes

_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322, 2.2
# What we or the request's own fields set, and what would change how the mail is read or routed.
RESERVED = {
    "from", "to", "cc", "bcc", "subject", "reply-to", "date", "message-id", "sender", "received", "return-path",
    "dkim-signature", "mime-version", "content-type", "content-transfer-encoding", "content-disposition",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Letter:
    """What a REST client asks for. Addresses are `name@domain` or `Name <name@domain>`."""

    from_: str
    to: tuple[str, ...]
    subject: str
    text: str | None = None
    html: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipients(self) -> tuple[str, ...]:
        return tuple(parse_mailbox(address).addr_spec for address in (*self.to, *self.cc, *self.bcc))


def parse_mailbox(text: str, *, refusal: str = "invalid_recipient") -> Address:
    """One mailbox (RFC 5322, 3.4). Raises `Refused(refusal)`."""
    mailboxes = parse_mailboxes(text) if text.isprintable() else None
    parsed = parse_address(mailboxes[0][1]) if mailboxes and len(mailboxes) == 1 else None
    if not mailboxes or parsed is None:
        raise Refused(refusal, address=" ".join(text[:200].split()) or "(empty)")
    local, domain = parsed
    return Address(display_name=mailboxes[0][0], username=local, domain=domain)


def build(letter: Letter) -> bytes:
    """The message with CRLF line ends. Bcc stays in the envelope only. Raises `Refused`."""
    message = EmailMessage(policy=SMTP)
    message["From"] = parse_mailbox(letter.from_, refusal="invalid_sender")
    for name, addresses in (("To", letter.to), ("Cc", letter.cc), ("Reply-To", letter.reply_to)):
        if addresses:
            message[name] = _mailboxes(addresses)
    message["Subject"] = _single_line("subject", letter.subject)
    for name, value in letter.headers.items():
        message[_header_name(name)] = _single_line(f"headers.{name}", value)
    _set_body(message, letter)
    return message.as_bytes()


def _mailboxes(addresses: Sequence[str]) -> list[Address]:
    return [parse_mailbox(address) for address in addresses]


def _set_body(message: EmailMessage, letter: Letter) -> None:
    if letter.text is not None or letter.html is None:
        message.set_content(_lines(letter.text or ""), cte=_encoding(letter.text or ""))
    if letter.html is None:
        return
    if letter.text is None:
        message.set_content(_lines(letter.html), subtype="html", cte=_encoding(letter.html))
    else:
        message.add_alternative(_lines(letter.html), subtype="html", cte=_encoding(letter.html))


def _encoding(text: str) -> str | None:
    """7bit as it stands where lines are legal (RFC 5322, 2.1.1); else quoted-printable."""
    fits = text.isascii() and all(len(line) <= 998 for line in text.splitlines())
    return "7bit" if fits else "quoted-printable"


def _lines(text: str) -> str:
    """NUL may not travel by mail (RFC 5322, 2.2), and every line end is made one kind."""
    if "\0" in text:
        raise Refused("malformed_line_endings", octet="a NUL octet")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise Refused("malformed_header", problem=f"'{name[:60]}' is not a header name")
    if name.lower() in RESERVED or name.lower().startswith("x-plugsend-"):
        raise Refused("malformed_header", problem=f"{name} cannot be set here; use the request's own fields")
    return name


def _single_line(where: str, value: str) -> str:
    if any(character in value for character in "\r\n\0"):
        raise Refused("malformed_header", problem=f"{where} holds a line break")
    return value
