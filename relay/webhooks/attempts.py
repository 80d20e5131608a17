"""When a delivery is tried again, and what is kept of each attempt. No I/O."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict

from django.conf import settings

# After the first failure, the second and so on: 13 attempts in some 64 hours.
DELAYS_S = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200, 57600, 72000)
JITTER = 0.1
GIVEN_UP_AFTER = timedelta(hours=72)
LONGEST_RETRY_AFTER_S = 6 * 3600.0
# So many attempts that failed, and later events of the same recipient wait no longer for an earlier one.
FAILURES_WAITED_FOR = 3
PAUSED_AFTER, PAUSED_AFTER_FAILURES = timedelta(hours=24), 20
EXCERPT_OCTETS = 2048
GONE = 410
HEEDS_RETRY_AFTER = (429, 503)


class Attempt(TypedDict):
    at: str  # ISO 8601
    status: int | None  # HTTP; None: there was no answer
    ms: float
    response: str  # the beginning of its body
    error: str  # in words; empty: it was taken
    headers: list[tuple[str, str]]  # of the request


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attempt."""

    status: int | None
    ms: float
    response: str = ""
    error: str = ""
    retry_after_s: float = 0.0

    @property
    def is_taken(self) -> bool:
        return not self.error

    @property
    def in_words(self) -> str:
        return self.error or f"{self.status}, in {self.ms:.0f} ms"


def scaled(span: timedelta) -> timedelta:
    """Trials are shorter: RETRY_SCALE."""
    return span * settings.RETRY_SCALE


def delay_after(failures: int, retry_after_s: float = 0.0) -> timedelta | None:
    """How long after the last of so many failures it is tried again; None: never."""
    if failures > len(DELAYS_S):
        return None
    by_schedule = DELAYS_S[failures - 1] * random.uniform(1 - JITTER, 1 + JITTER) * settings.RETRY_SCALE  # noqa: S311
    return timedelta(seconds=max(by_schedule, min(retry_after_s, LONGEST_RETRY_AFTER_S)))


def text_of(body: bytes) -> str:
    """What of an answer a page and PostgreSQL can show."""
    text = body[:EXCERPT_OCTETS].decode(errors="replace")
    return re.sub(r"[^\t\n\r\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def seconds_of(retry_after: str) -> float:
    """RFC 9110, 10.2.3, in its form of seconds; what cannot be read asks for nothing."""
    return float(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0.0


def error_of(status: int, reason: str) -> str:
    """Empty: it was taken."""
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"it redirects ({status}), which is not followed; give the final address"
    return f"the answer was {status} {text_of(reason.encode())}".strip()
