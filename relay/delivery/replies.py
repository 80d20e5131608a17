"""What a reply means: enhanced status code first, then the code, then the words that large providers use. No I/O.

RFC 5321 (4.2) for codes, RFC 3463 and 5248 for enhanced status codes.
"""

import re
from dataclasses import dataclass

_ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply. `text` has its lines joined by a space, the enhanced status code taken off into `enhanced`."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600


def make_reply(code: int, lines: list[str]) -> Reply:
    """Joins a multi-line reply. An enhanced code that contradicts the reply's class is left in the text (RFC 2034, 4)."""
    found = _ENHANCED.match(lines[0]) if lines else None
    if not found or int(found[1]) != code // 100:
        return Reply(code, "", " ".join(lines))
    enhanced = found[0]
    texts = [line[len(enhanced) :].strip() if line.startswith(enhanced) else line.strip() for line in lines]
    return Reply(code, enhanced, " ".join(text for text in texts if text))


# Enhanced code without its class -> reason (events.reasons). RFC 3463, 3.
_BY_ENHANCED = {
    "1.1": "no_such_address",
    "1.2": "no_such_domain",
    "1.3": "no_such_address",
    "1.6": "no_such_address",
    "1.10": "no_mail_for_domain",  # RFC 7505
    "2.0": "mailbox_disabled",
    "2.1": "mailbox_disabled",
    "2.2": "mailbox_full",
    "2.3": "message_too_large",
    "3.4": "message_too_large",
    "4.4": "unreachable",
    "6.7": "no_smtputf8",
    "7.1": "policy",
    "7.23": "policy",
    "7.25": "policy",
    "7.26": "policy",
    "7.28": "rate_limited",
}

# Words, tried in this order where the enhanced code says too little.
_BY_WORDS = [
    (re.compile(r"gr[ae]y-?list", re.I), "greylisted"),
    (re.compile(r"rate.?limit|too many (messages|connections)|throttl|try again later.*volume", re.I), "rate_limited"),
    (re.compile(r"mailbox (is )?full|over ?quota|quota exceeded|insufficient storage", re.I), "mailbox_full"),
    (re.compile(r"(user|recipient|mailbox|address)[^.]{0,30}(unknown|not found|does not exist|doesn't exist|invalid)"
                r"|no such (user|recipient|mailbox)|unknown (user|recipient)", re.I), "no_such_address"),
    (re.compile(r"(mailbox|account)[^.]{0,20}(disabled|inactive|suspended)", re.I), "mailbox_disabled"),
    (re.compile(r"spam|junk|unsolicited|content rejected", re.I), "spam_suspected"),
    (re.compile(r"block(ed)?|black.?list|deny.?list|spamhaus|dmarc|spf|dkim|policy|reputation", re.I), "policy"),
    (re.compile(r"message (size|too)|too large|size limit", re.I), "message_too_large"),
]  # fmt: skip

_GENERIC = {"7.0", "7.1"}  # servers use these for everything: the words know better


def classify_reply(reply: Reply) -> str:
    """The reason (a key of `events.reasons.REASONS`) behind a negative reply."""
    subject_detail = reply.enhanced.partition(".")[2]
    by_words = next((reason for pattern, reason in _BY_WORDS if pattern.search(reply.text)), None)
    if by_words and (not subject_detail or subject_detail in _GENERIC or subject_detail.endswith(".0")):
        return by_words
    if reason := _BY_ENHANCED.get(subject_detail):
        return reason
    if reply.code == 552:
        return by_words or "message_too_large"
    return by_words or ("permanent_failure" if reply.is_permanent else "temporary_failure")
