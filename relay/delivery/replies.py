"""What a reply means: its reason, and whether the receiver asks us to slow down. No I/O; the table is `reply_table.py`.

RFC 5321 (4.2) for codes, RFC 3463 and 5248 for enhanced status codes.
"""

import re
from dataclasses import dataclass

from events.reasons import REASONS
from relay.delivery.reply_table import ROWS, Row

_ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
# Cisco's and qmail's place for the same: "#5.1.0 Address rejected", "no mailbox here by that name (#5.1.1)".
_ENHANCED_IN_TEXT = re.compile(r"#([45])\.(\d{1,3}\.\d{1,3})\b")
_ADDRESS = re.compile(r"[^\s<>()\[\]:;,]{1,200}@[^\s<>()\[\]:;,]{1,255}")
_TEXT_READ = 1000  # characters; a reply may be as long as its server likes


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


def classify_reply(reply: Reply) -> str:
    """The reason (a key of `events.reasons.REASONS`) behind a negative reply."""
    row = deciding_row(reply)
    return row.reason if row else "permanent_failure" if reply.is_permanent else "temporary_failure"


def is_throttling(reply: Reply) -> bool:
    """Whether the receiver asks us to slow down, for all our mail to it.

    Not so where the trouble is one mailbox's, one message's or one sender's: other mail passes as fast as before.
    """
    reason = classify_reply(reply)
    if reason in ("rate_limited", "exchanger_busy"):
        return True  # some say so with a permanent code
    if reply.is_permanent or REASONS[reason].scope != "receiver" or reason == "connection_lost":
        return False
    return reply.code == 421 or reason == "ip_listed" or _subject_and_detail(reply).startswith("7.")


def deciding_row(reply: Reply) -> Row | None:
    """The first row of the table that fits; None: nothing is known but the code's class."""
    code, detail, text = str(reply.code), _subject_and_detail(reply), _words(reply.text)
    return next((row for row in ROWS if row.fits(code, detail, text)), None)


def _subject_and_detail(reply: Reply) -> str:
    """The enhanced code without its class: `1.1`; empty when there is none."""
    if reply.enhanced:
        return reply.enhanced.partition(".")[2]
    found = _ENHANCED_IN_TEXT.search(reply.text, 0, _TEXT_READ)
    return found[2] if found and int(found[1]) == reply.code // 100 else ""


def _words(text: str) -> str:
    """Addresses say nothing: that of spam-reports@example.com must not make its reply one about spam."""
    return _ADDRESS.sub("@", text[:_TEXT_READ])
