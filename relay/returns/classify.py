"""What a mail that came back means: a bounce, a delay, a complaint, an automatic reply, or nothing that we understand. No I/O.

Bounces get their reason from the tables that classify SMTP replies (`relay.returns.diagnosis`), so a late bounce is as hard or
soft as a refusal would have been.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

from events.vocabulary import BounceKind
from relay.delivery.replies import Reply
from relay.delivery.return_path import message_of, recipient_of
from relay.returns.addresses import ADDRESS
from relay.returns.arf import read_feedback
from relay.returns.auto_reply import is_auto_reply
from relay.returns.diagnosis import VAGUE, diagnose
from relay.returns.dsn import Notification, Reported, read_notification
from relay.returns.parts import HEAD_MOST, Mail, Part, decode, fields_of, read_mail
from relay.returns.unlike import find_failures, looks_like_failure, report_text

# feedback: a report that is no complaint, such as not-spam (RFC 6430).
Kind = Literal["bounce", "delay", "complaint", "feedback", "auto_reply", "delivered", "unknown"]

_OUR_PATH = re.compile(r"[bm]\+[a-z2-7]{26}\.[a-z2-7]{8}@", re.I)
_OUR_MESSAGE_ID = re.compile(
    r"^message-id:[ \t]*<([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})@", re.I | re.M
)
# RFC 5321, 4.4: the clause of a server that took it for one recipient.
_TAKEN_FOR = re.compile(rf"\bfor <?({ADDRESS.pattern})>?(?:\s|;|$)", re.I)
_TO_IN_TEXT = re.compile(r"^>? ?(?:To|Cc):[^\n]*(?:\n[ \t][^\n]*){0,8}", re.M)
_RECEIVED_IN_TEXT = re.compile(r"^received:[^\n]*(?:\n[ \t][^\n]*){0,8}", re.I | re.M)
PATHS_READ = 20
EXCERPT = 1000  # characters


@dataclass(frozen=True, slots=True)
class Finding:
    """What is told of one recipient. `address`: as the report names it, empty where it does not."""

    address: str
    action: str = ""  # RFC 3464, 2.3.3
    status: str = ""
    bounce: BounceKind | None = None
    reason: str = ""
    diagnostic: str = ""
    final_address: str = ""  # where the receiver passed it on to, if that is another one
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """`recipient_id`, `message_id`: of ours, by an authentic return path, or a Message-ID of our making, that stands in it."""

    kind: Kind
    findings: list[Finding] = field(default_factory=list)
    reporter: str = ""
    subject: str = ""
    feedback_type: str = ""
    recipient_id: UUID | None = None
    message_id: UUID | None = None


def classify(raw: bytes, envelope_sender: str | None = None) -> Returned:
    """`envelope_sender`: empty for the null one; where it is not given, as Return-Path in the mail says, if anything does."""
    mail = read_mail(raw)
    if envelope_sender is None and "return-path" in mail.fields:
        envelope_sender = mail.fields.get("return-path")
    if envelope_sender is not None:
        envelope_sender = envelope_sender.strip("<> ")
    returned = _understood(mail, envelope_sender) or ("unknown", [], "", "")
    kind, findings, reporter, feedback_type = returned
    recipient_id, message_id = ours_in(mail)
    return Returned(
        kind, findings, reporter or mail.fields.get("from")[:255], mail.fields.get("subject")[:EXCERPT], feedback_type,
        recipient_id, message_id,
    )  # fmt: skip


# Sieve's reject was once told so (RFC 3028, 4.1; RFC 5429 forbids it).
_REJECTED_BY_RULE = re.compile(r"was automatically rejected", re.I)
_Understood = tuple[Kind, list[Finding], str, str]


def _understood(mail: Mail, envelope_sender: str | None, depth: int = 0) -> _Understood | None:
    if feedback := read_feedback(mail):
        kind: Kind = "complaint" if feedback.is_complaint else "feedback"
        return kind, [Finding(address) for address in feedback.recipients], feedback.reporter, feedback.type
    if (notification := read_notification(mail)) and (told := _of_notification(notification, mail)):
        return told
    if inner := _inner(mail, depth):
        return inner
    if mail.first("message/disposition-notification") and not _REJECTED_BY_RULE.search(mail.text[:1000]):
        return "auto_reply", [], "", ""
    is_failure = looks_like_failure(mail, envelope_sender)
    if not is_failure and is_auto_reply(mail):
        return "auto_reply", [], "", ""
    if not is_failure:
        return None
    found = find_failures(mail)
    if found and all(one.is_delay for one in found):
        return "delay", [Finding(one.address, "delayed", diagnostic=one.said[:EXCERPT]) for one in found], "", ""
    text = report_text(mail)
    findings = [_passed_on(_told(one.address, one.said, text if len(found) == 1 else ""), one.alias) for one in found]
    findings = findings or [_told("", text, "")]
    return "bounce", _as_addressed(findings, mail), "", ""


def _of_notification(notification: Notification, mail: Mail) -> _Understood | None:
    """The kind is that of the worst that is told; only recipients of that kind are findings."""
    by_action: dict[str, list[Reported]] = {}
    for one in notification.recipients:
        by_action.setdefault(_action_of(one), []).append(one)
    if failed := by_action.get("failed"):
        text = report_text(mail) if len(notification.recipients) == 1 else ""
        found = {} if all(one.diagnostic for one in failed) else {one.address: one for one in find_failures(mail)}
        findings = []
        for one in failed:
            said = found.get(one.address)
            diagnostic = one.diagnostic or (said.said if said else "")
            finding = _with_reported(_failed(_address_of(one, mail), diagnostic, one.status, text), one)
            findings.append(_passed_on(finding, said.alias if said else ""))
        return "bounce", _as_addressed(findings, mail), notification.reporter, ""
    for action, kind in _KINDS.items():
        if told := by_action.get(action):
            findings = [
                Finding(_address_of(one, mail), action, one.status, diagnostic=one.diagnostic[:EXCERPT]) for one in told
            ]
            return kind, findings, notification.reporter, ""
    return None


_KINDS: dict[str, Kind] = {
    "delayed": "delay",
    "delivered": "delivered",
    "relayed": "delivered",
    "expanded": "delivered",
}


def _action_of(one: Reported) -> str:
    if one.action in {"failed", *_KINDS}:
        return one.action
    return {"2": "delivered", "4": "delayed", "5": "failed"}.get(one.status[:1], "failed")


def _address_of(one: Reported, mail: Mail) -> str:
    if one.address and "@" in one.address:
        return one.address
    found = find_failures(mail)
    return found[0].address if len(found) == 1 else one.address


def _failed(address: str, diagnostic: str, status: str, text: str) -> Finding:
    diagnosis = diagnose(diagnostic, status, text)
    return Finding(
        address, "failed", diagnosis.status, diagnosis.bounce, diagnosis.reason,
        " ".join((diagnostic or text).split())[:EXCERPT], reply=diagnosis.reply,
    )  # fmt: skip


def _told(address: str, said: str, text: str) -> Finding:
    """Where what is said of the recipient tells nothing, all that is said does."""
    finding = _failed(address, said, "", "")
    if finding.reason in VAGUE and text:
        further = _failed(address, f"{said} {text}", "", "")
        if further.reason not in VAGUE:
            return replace(further, diagnostic=finding.diagnostic or further.diagnostic)
    return finding


def _with_reported(finding: Finding, one: Reported) -> Finding:
    if not one.final or one.final.casefold() == finding.address.casefold():
        return finding
    return replace(finding, final_address=one.final)


def _passed_on(finding: Finding, addressed: str) -> Finding:
    """Where what we sent to led to the address that failed."""
    if not addressed or finding.final_address or addressed.casefold() == finding.address.casefold():
        return finding
    return replace(finding, address=addressed, final_address=finding.address)


def _as_addressed(findings: list[Finding], mail: Mail) -> list[Finding]:
    """Somebody's rule may have sent our mail on without a word: whom it was for tells the first server that took it."""
    if len(findings) != 1 or findings[0].address.casefold() in _named_in_original(mail):
        return findings
    received = mail.original.all("received") or _RECEIVED_IN_TEXT.findall(mail.text)
    taken_for = [found[1] for found in map(_TAKEN_FOR.search, received) if found]
    return [_passed_on(findings[0], taken_for[-1] if taken_for else "")]


def _named_in_original(mail: Mail) -> set[str]:
    fields = mail.original
    named = [fields.get("to"), fields.get("cc"), *_TO_IN_TEXT.findall(mail.text)]
    return {address.casefold() for value in named for address in ADDRESS.findall(value)[:PATHS_READ]}


def _inner(mail: Mail, depth: int) -> _Understood | None:
    """A report that somebody passed on as an attachment."""
    part = mail.first("message/rfc822")
    if part is None or depth >= 2:
        return None
    head = part.octets.lstrip(b"\n")[:HEAD_MOST].partition(b"\n\n")[0]
    if not re.search(rb"multipart/report|^x-failed-recipients:", head, re.I | re.M):
        return None
    return _understood(read_mail(part.octets), None, depth + 1)


# ---- Whose mail it was -----------------------------------------------------------------------------------------------


def ours_in(mail: Mail) -> tuple[UUID | None, UUID | None]:
    """The recipient, and the message, of ours that it is about, wherever its proof stands: in Original-Mail-From, or in
    Return-Path, Received-SPF or Authentication-Results of the copy of our mail. A Message-ID that we made is as good: it holds
    74 random bits, which only those know who saw the mail."""
    texts = [_head_text(mail), *(_text_of(part) for part in mail.parts)]
    recipient_id = message_id = None
    for text in texts:
        for path in _OUR_PATH.findall(text)[:PATHS_READ]:
            recipient_id = recipient_id or recipient_of(path.lower())
            message_id = message_id or message_of(path.lower())
        if recipient_id:
            break
    if not recipient_id and not message_id:
        for text in texts:
            if found := _OUR_MESSAGE_ID.search(text):
                message_id = UUID(found[1])
                break
    return recipient_id, message_id


def _head_text(mail: Mail) -> str:
    return "\n".join(f"{name}: {value}" for name, value in mail.fields.pairs)


def _text_of(part: Part) -> str:
    """Headers unfolded, as a long address may be broken after it only in theory."""
    if part.is_original:
        head = part.octets.lstrip(b"\n")[:65536].partition(b"\n\n")[0]
        return "\n".join(f"{name}: {value}" for name, value in fields_of(head).pairs)
    return decode(part.octets[:65536], part.charset)
