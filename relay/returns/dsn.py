"""Delivery status notifications (RFC 3464; RFC 6533 for addresses beyond ASCII). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.returns.addresses import typed_address
from relay.returns.parts import Fields, Mail, Part, decode, fields_of

RECIPIENTS_MOST = 1000
CONTENT_TYPES = ("message/delivery-status", "message/global-delivery-status")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
_MISSPELT = {"failure": "failed", "fail": "failed", "error": "failed", "delay": "delayed", "deliverable": "delivered",
             "failed-permanently": "failed", "deliver": "delivered", "expired": "failed", "hard bounce": "failed"}  # fmt: skip
_INLINE = re.compile(r"^(?:Final|Original)-Recipient[ \t]*:[^\n]*;", re.M | re.I)


@dataclass(frozen=True, slots=True)
class Reported:
    """Of one recipient (RFC 3464, 2.3). `diagnostic`: the code of the remote server, without its type."""

    original: str
    final: str
    action: str
    status: str
    diagnostic: str
    remote: str

    @property
    def address(self) -> str:
        """As we may have sent to it."""
        return self.original or self.final


@dataclass(frozen=True, slots=True)
class Notification:
    reporter: str  # Reporting-MTA
    recipients: list[Reported]


def read_notification(mail: Mail) -> Notification | None:
    """None: there is none in it. Parts that are mislabelled count as well."""
    part = mail.first(*CONTENT_TYPES) or _mislabelled(mail)
    if part is None:
        return None
    reporter, recipients = "", list[Reported]()
    for block in re.split(r"\n[ \t]*\n", decode(part.octets, part.charset).strip())[: RECIPIENTS_MOST + 1]:
        fields = fields_of(block.strip("\n").encode())
        reporter = reporter or _after_type(fields.get("reporting-mta"))
        if any(
            name in fields
            for name in ("final-recipient", "original-recipient", "action", "status", "x-actual-recipient")
        ):
            recipients.append(_reported(fields))
    return Notification(reporter[:255], recipients)


def _mislabelled(mail: Mail) -> Part | None:
    for part in mail.parts:
        if part.is_original:
            continue
        if part.content_type.startswith(("text/", "application/octet", "message/")):
            text = decode(part.octets[:64_000], part.charset)
            if _INLINE.search(text) and re.search(r"^(?:Action|Status)[ \t]*:", text, re.M | re.I):
                return part
    return None


def _reported(fields: Fields) -> Reported:
    action = fields.get("action").partition("(")[0].strip().lower()
    diagnostics = fields.all("diagnostic-code")
    status = _STATUS.search(fields.get("status"))
    final = typed_address(fields.get("final-recipient")) or typed_address(fields.get("x-actual-recipient"))
    return Reported(
        original=typed_address(fields.get("original-recipient")),
        final=final,
        action=_MISSPELT.get(action, action),
        status=status[1] if status else "",
        diagnostic=" ".join(filter(None, map(_after_type, diagnostics)))[:2000],
        remote=_after_type(fields.get("remote-mta"))[:255],
    )


def _after_type(value: str) -> str:
    """Without `smtp;`, `dns;`, `X-Postfix;` in front."""
    kind, sign, rest = value.partition(";")
    return rest.strip() if sign and re.fullmatch(r"\s*[\w.-]{1,30}\s*", kind) else value.strip()
