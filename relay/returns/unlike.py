"""Bounces that are no delivery status notifications: whom they are about, and what they say of each. No I/O.

Own rules first: addresses that stand at a line's beginning with what befell them behind (qmail's QSBMF, Postfix, Exim, Courier,
Yahoo and most others), then `flufl.bounce`, which knows older formats.
"""

from __future__ import annotations

import email.message
import email.policy
import logging
import re
from dataclasses import dataclass

from flufl.bounce import all_failures

from relay.returns.addresses import ADDRESS, address_in, same
from relay.returns.auto_reply import is_auto_reply
from relay.returns.parts import Mail
from relay.returns.words import DAEMON, DELAY_SUBJECT, DELAY_WORDS, FAILURE_SUBJECT, FAILURE_WORDS

# It logs each of its steps.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)

LINES_READ = 400
SAID_LINES = 12
FOUND_MOST = 100
FLUFL_READ = 64 * 1024  # characters
# From here on it is the copy of our mail.
_ORIGINAL_BELOW = re.compile(
    r"^\W{0,3}(-{2,}|={2,}|_{2,}|\*{2,}|>{1,3} )? ?(below this line is a copy|this is a copy of"
    r"|copy of (the )?(original|message|mail)"
    r"|((the )?headers? of )?(the |your )?(original|unsent|returned|rejected|failed|undelivered) ?(message|mail|text"
    r"|e-mail|headers?)"
    r"( is| was)?( follow(s|ing)| text| headers?| below)*\W*$"
    r"|included is a copy|message headers?( follow|:)?|headers of (the )?original|begin (of )?(included"
    r"|returned) message|start of forwarded|message body follows"
    r"|ursprüngliche nachricht|originalnachricht|message d['’]origine|mensaje original|mensagem original"
    r"|messaggio originale|исходное сообщение|元のメール|原邮件(?!信息)|forwarded message)",
    re.I,
)
_ENDS_WITH_OWN_HEADER = re.compile(r"^(return-path|received|message-id|dkim-signature|x-mailer|mime-version):", re.I)
_AT_LINE_START = re.compile(
    r"^[\s>*•\-]{0,12}(?:\(?\d{1,2}[.)]\s+)?(?P<code>[45]\d\d[ \-](?:[45]\.\d{1,3}\.\d{1,3} )?)?(?:(?:to|recipient"
    r"|address|e-?mail|final-recipient|failed recipient|user|an|für|à|destinatario|destinatário|destinataire"
    r"|empfänger|収件人|宛先|收件人|rcpt to|delivery to|mailbox)(?:\s*[:：]\s*|\s+)|[^\s@<：]{1,24}：\s*)?"
    r"(?:SMTP:|rfc822;\s*|mailto:)?[<\"'(\[«]{0,2}(?P<address>"
    + ADDRESS.pattern
    + r")[>\"')\]»]{0,2}(?P<rest>.{0,600})$",
    re.I,
)

_ALIAS = re.compile(r"\((?:expanded|(?:ultimately )?generated) from:? <?(?P<alias>" + ADDRESS.pattern + r")>?\)", re.I)
_DAEMONS = re.compile(r"mail(er)?-?daemon@", re.I)
_POSTMASTERS = re.compile(r"(mail(er)?-?daemon|post[_-]?master|abuse|support|help)@", re.I)  # to be asked, mostly
_ANSWER = re.compile(r"\s*(re|aw|antw|sv|vs|odp|r|res|ynt|回复|答复|返信)\s*(\[\d+\])?\s*[:：]", re.I)
_FOLLOWING = re.compile(r"(did not|not|n['’]t|could|fail)[^:\n]{0,60}following (recipient|address|user)", re.I)


@dataclass(frozen=True, slots=True)
class Found:
    """`said`: what the mail says about this recipient; the whole text where it does not say it of each."""

    address: str
    said: str
    is_delay: bool = False

    @property
    def alias(self) -> str:
        """What led to the address, where the report tells (Postfix, Exim)."""
        alias = _ALIAS.search(self.said)
        return alias["alias"] if alias else ""


def looks_like_failure(mail: Mail, envelope_sender: str | None) -> bool:
    """Whether a mail without a status report tells that something was not delivered.

    Mail about failures of any kind is answered by people and by vacation programs, who quote it: unless a mail system has
    written it, it must have the null sender of bounces (RFC 5321, 4.5.5). `envelope_sender`: None where nobody knows.
    """
    subject = mail.fields.get("subject")
    if "x-failed-recipients" in mail.fields:
        return True
    in_subject, in_text = bool(FAILURE_SUBJECT.search(subject)), bool(FAILURE_WORDS.search(mail.text[:6000]))
    in_text = in_text or bool(DELAY_SUBJECT.search(subject) and DELAY_WORDS.search(mail.text[:6000]))
    if _is_a_systems(mail, envelope_sender):
        return in_subject or in_text
    return in_subject and in_text and not envelope_sender and not _ANSWER.match(subject) and not is_auto_reply(mail)


def _is_a_systems(mail: Mail, envelope_sender: str | None) -> bool:
    sender = mail.fields.get("from").strip("<> ")
    if not sender or DAEMON.search(sender) or DAEMON.search(envelope_sender or ""):
        return True
    # Vacation programs quote at most; people who pass a mail on have an address.
    is_enclosed = not envelope_sender and any(part.is_original for part in mail.parts)
    return is_enclosed or "failure" in mail.fields.get("auto-submitted").lower()


def looks_like_delay(mail: Mail) -> bool:
    text, subject = mail.text[:6000], mail.fields.get("subject")
    if DELAY_WORDS.search(text) and not re.search(r"(giving up|given up|permanent|5\.\d\.\d|\b55\d\b)", text):
        return True
    return bool(DELAY_SUBJECT.search(subject)) and not re.search(
        r"fail(ed|ure)? (?!temp)|returned|undeliver", subject, re.I
    )


def find_failures(mail: Mail) -> list[Found]:
    """In the order in which they stand; at most FOUND_MOST."""
    is_delay = looks_like_delay(mail)
    lines, whole = _report_lines(mail.text), report_text(mail)
    ours = {address_in(mail.fields.get(name)).casefold() for name in ("from", "to", "reply-to", "sender")}
    named = [address for value in mail.fields.all("x-failed-recipients") for address in ADDRESS.findall(value)]
    found = _at_line_starts(lines, ours - {one.casefold() for one in named})
    if named:
        said = {one.address.casefold(): one.said for one in found}
        found = [Found(address, said.get(address.casefold(), "")) for address in named]
    if not found:
        found = [(Found(address, whole)) for address in _by_flufl(mail) if address.casefold() not in ours]
    if not found:
        found = _anywhere(lines, ours, whole)
    if not found:
        found = _of_the_original(mail, whole)
    return [Found(one.address, one.said or whole, is_delay) for one in _once(found)[:FOUND_MOST]]


def report_text(mail: Mail) -> str:
    """What the report itself says, without a copy of our mail below it; its beginning."""
    return " ".join(" ".join(_report_lines(mail.text)).split())[:1500]


def _report_lines(text: str) -> list[str]:
    lines: list[str] = []
    for number, line in enumerate(text.split("\n")[:LINES_READ]):
        if number > 2 and (_ORIGINAL_BELOW.match(line.strip()) or _ENDS_WITH_OWN_HEADER.match(line)):
            break
        lines.append(line.rstrip()[:2000])
    return lines


def _at_line_starts(lines: list[str], ours: set[str]) -> list[Found]:
    found: list[Found] = []
    for number, line in enumerate(lines):
        match = _AT_LINE_START.match(line)
        if not match or match["address"].casefold() in ours or _DAEMONS.match(match["address"]):
            if _FOLLOWING.search(line):  # what stands above are fields of our mail
                found.clear()
            continue
        address = match["address"].rstrip(".-")
        if found and same(found[-1].address, address):
            continue  # what is said of it names it again
        said = [(match["code"] or "") + match["rest"].strip(" :;,-\t")]
        for further in lines[number + 1 : number + 1 + SAID_LINES]:
            another = _AT_LINE_START.match(further)
            is_another = another and not same(another["address"].rstrip(".-"), address)
            if is_another or (not further.strip() and (said[0] or len(said) > 1 or found)):
                break
            said.append(further.strip())
        found.append(Found(address, " ".join(filter(None, said))))
    return found


def _anywhere(lines: list[str], ours: set[str], whole: str) -> list[Found]:
    for line in lines:
        for address in ADDRESS.findall(line)[:20]:
            if address.casefold() not in ours and not _POSTMASTERS.match(address):
                return [Found(address.rstrip(".-"), whole)]
    return []


def _of_the_original(mail: Mail, whole: str) -> list[Found]:
    """Where the report names nobody and our mail was for one."""
    original = mail.original
    for name in ("x-failed-recipients", "x-original-to", "delivered-to", "to"):
        addresses = ADDRESS.findall(original.get(name))
        if len(addresses) == 1:
            return [Found(addresses[0], whole)]
    quoted = re.findall(r"^>? ?To:[ \t]*(.{3,300})$", mail.text, re.M)
    addresses = ADDRESS.findall(quoted[0]) if quoted else []
    return [Found(addresses[0], whole)] if len(addresses) == 1 else []


def _by_flufl(mail: Mail) -> list[str]:
    """It reads messages of the `email` package; it gets one with the text alone, so none of that package's traps is met."""
    message = email.message.Message(policy=email.policy.compat32)
    for name, value in mail.fields.pairs[:100]:
        if name in {"from", "to", "subject", "x-mailer", "x-failed-recipients", "date"}:
            message[name] = value.replace("\n", " ")[:500].encode("ascii", "replace").decode()
    message["Content-Type"] = "text/plain"
    message.set_payload("\n".join(mail.text[:FLUFL_READ].split("\n")[:LINES_READ]).encode("ascii", "replace").decode())
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # its detectors raise at what they do not expect, of whatever kind
        return []
    decoded = [
        one.decode("ascii", "replace") if isinstance(one, bytes) else str(one) for one in (*permanent, *temporary)
    ]
    return sorted(filter(None, map(address_in, decoded)))[:FOUND_MOST]


def _once(found: list[Found]) -> list[Found]:
    kept: list[Found] = []
    for one in found[: FOUND_MOST * 2]:
        twin = next((number for number, other in enumerate(kept) if same(other.address, one.address)), None)
        if twin is None:
            kept.append(one)
        elif len(one.said) > len(kept[twin].said):
            kept[twin] = one
    return kept
