"""Why a recipient came back: the reason that the same refusal would have over SMTP, by the same tables. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from events.reasons import suppresses
from events.vocabulary import BounceKind
from relay.delivery.replies import Reply, deciding_row
from relay.returns.words import NONEXISTENT, ON_THE_WAY, PHRASES, QUIRKS

_CODE = re.compile(
    r"(?<![\w.#-])([245][0-5]\d)(?=[\s\-,:;)#]|$)(?!\s*(?:kb|mb|bytes|hours|days|seconds|times)\b)", re.I
)
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_QUOTED_REPLY = re.compile(
    r"(?:said|says|replied|response was|error (?:is|was)|answered|returned|responded)[^:\n]{0,60}:\s*", re.I
)
# These tell nothing of the cause.
VAGUE = ("permanent_failure", "temporary_failure", "policy", "message_malformed")
# Of these the advice is right also when the receiver gave up by itself; of others only that time ran out is known.
_LASTING = {"mailbox_full", "mailbox_busy", "recipient_restricted", "message_too_large", "mail_loop", "spam_suspected",
            "virus_suspected", "content_rejected", "authentication_failed", "sender_rejected", "policy", "relay_denied",
            "message_malformed", "domain_listed", "ip_listed", "no_smtputf8", "our_name_rejected"}  # fmt: skip
TEXT_READ = 1500
WORDS_TELLING = 3  # a diagnostic of fewer words has not told
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`reply`: what a server answered, where the report tells one; `status`: the enhanced code that counts (RFC 3463)."""

    reason: str
    status: str = ""
    reply: Reply | None = None

    @property
    def bounce(self) -> BounceKind:
        return "hard" if suppresses(self.reason) else "soft"


def diagnose(diagnostic: str, status: str = "", text: str = "") -> Diagnosis:
    """Of a delivery that was given up. `diagnostic`: what the remote server or the reporter says; `status`: the report's, such
    as 5.1.1; `text`: what is said to people, asked only where these tell too little."""
    diagnostic = " ".join(diagnostic[:TEXT_READ].split())
    reply = reply_in(diagnostic, status)
    lasted = reply.code < 500  # the reporter tried for long
    reason = _reason_of(reply, diagnostic)
    if reason in VAGUE and text and len(_WORD.findall(diagnostic)) < WORDS_TELLING:
        further = _phrase(" ".join(text[:TEXT_READ].split()))
        reason = further if further and further not in VAGUE else reason
    if lasted and reason not in _LASTING and not NONEXISTENT.search(diagnostic):
        reason = "expired"
    elif not lasted and reason in ("temporary_failure", "unreachable", "connection_lost", "dns_failure"):
        reason = "permanent_failure"
    return Diagnosis(reason, reply.enhanced or status, reply if _CODE.search(diagnostic) else None)


def reply_in(diagnostic: str, status: str = "") -> Reply:
    """As an SMTP reply; where the text has no code, the class of the status makes one."""
    quoted = _QUOTED_REPLY.search(diagnostic)
    start = quoted.end() if quoted else 0
    code = _CODE.search(diagnostic, start) or _CODE.search(diagnostic)
    enhanced = _ENHANCED.search(diagnostic, start) or _ENHANCED.search(diagnostic)
    told = enhanced[1] if enhanced and not enhanced[1].startswith("2") else ""
    if not told or told.endswith(".0.0"):
        told = status or told
    number = int(code[1]) if code and not code[1].startswith("2") else 0
    if number < 400:
        number = 450 if told.startswith("4") else 550
        if not told and ON_THE_WAY.search(diagnostic) and not _phrase(diagnostic):
            number = 450
    elif told and int(told[0]) != number // 100:
        told = enhanced[1] if enhanced and int(enhanced[1][0]) == number // 100 else f"{number // 100}{told[1:]}"
    at = code.start() if code and code.start() in (0, start) else -1
    return Reply(number, told, _text_of(diagnostic[at:], number, told) if at >= 0 else diagnostic)


def _text_of(said: str, code: int, enhanced: str) -> str:
    """Of a reply whose lines were joined, each with its codes: without them."""
    codes = (
        rf"(?:^|(?<=\s)){code}[ -]+(?:{re.escape(enhanced)}(?=\s|$))?[ ]*" if enhanced else rf"(?:^|(?<=\s)){code}[ -]+"
    )
    return re.sub(codes, "", said).strip() or said


def _reason_of(reply: Reply, diagnostic: str) -> str:
    if quirk := next((reason for reason, words in QUIRKS if words.search(diagnostic)), ""):
        return quirk
    row = deciding_row(reply)
    reason = row.reason if row else ""
    if not reason or reason in VAGUE:
        reason = _phrase(diagnostic) or reason
    return reason or ("permanent_failure" if reply.code >= 500 else "temporary_failure")


def _phrase(text: str) -> str:
    """Empty: no phrase of theirs is in it."""
    text = text.replace("\u2019", "'")
    plain = re.sub(r"[^\s<>()\[\]:;,]{1,200}@[^\s<>()\[\]:;,]{1,255}", "@", text)
    return next((reason for reason, words in PHRASES if words.search(plain)), "")


def is_on_the_way(text: str) -> bool:
    """Whether it tells of a failure to reach a server rather than of an answer."""
    return bool(ON_THE_WAY.search(text))
