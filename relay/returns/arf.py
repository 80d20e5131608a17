"""Feedback reports: what recipients marked as spam (RFC 5965), and the reports of Microsoft's JMRP, which are none. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.returns.addresses import ADDRESS, address_in, typed_address
from relay.returns.parts import HEAD_MOST, Fields, Mail, decode, fields_of

RECIPIENTS_MOST = 100
# RFC 5965, 7.3; RFC 6430 (not-spam), RFC 6591 (auth-failure). opt-out: of drafts, and in use.
COMPLAINTS = frozenset({"abuse", "fraud", "virus", "opt-out", "opt-out-list", "complaint", "phishing"})
_REDACTED = re.compile(r"redacted|removed|undisclosed|x{4,}|^[0-9a-f]{24,}@", re.I)


@dataclass(frozen=True, slots=True)
class Feedback:
    """`recipients`: as far as the report names them; providers often take them out."""

    type: str
    is_complaint: bool
    recipients: list[str]
    reporter: str


def read_feedback(mail: Mail) -> Feedback | None:
    """None: it is no such report."""
    part = mail.first("message/feedback-report")
    if part is not None:
        fields = fields_of(decode(part.octets, part.charset).strip().replace("\n\n", "\n").encode()[:HEAD_MOST])
        kind = fields.get("feedback-type").partition("(")[0].strip().lower()
        reporter = typed_address(fields.get("reporting-mta")) or fields.get("reporting-mta").rpartition(";")[2].strip()
        reporter = reporter or fields.get("user-agent").partition("/")[0].strip()
        return Feedback(kind, kind in COMPLAINTS, _named(fields, mail.original), reporter[:255])
    original = mail.original
    if "x-hmxmroriginalrecipient" in original or "x-hmxmroriginalrecipient" in mail.fields:
        named = original.get("x-hmxmroriginalrecipient") or mail.fields.get("x-hmxmroriginalrecipient")
        return Feedback("abuse", True, [one for one in [address_in(named)] if one], "Microsoft JMRP")
    if re.match(r"complaint about message from", mail.fields.get("subject"), re.I):
        return Feedback("abuse", True, _named(Fields(), original), address_in(mail.fields.get("from")))
    return None


def _named(report: Fields, original: Fields) -> list[str]:
    named = [
        address
        for name in ("original-rcpt-to", "removal-recipient", "x-removal-recipient")
        for value in report.all(name)
        if (address := typed_address(value))
    ]
    if not named:
        for name in ("x-original-to", "delivered-to", "x-hmxmroriginalrecipient", "to"):
            addresses = ADDRESS.findall(original.get(name))
            if len(addresses) == 1:
                named = addresses
                break
    kept = [address for address in named if not _REDACTED.search(address)]
    return list(dict.fromkeys(kept))[:RECIPIENTS_MOST]
