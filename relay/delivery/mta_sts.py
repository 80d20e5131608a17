"""MTA-STS (RFC 8461): how a receiving domain says that its exchangers are to be verified. Parsing and matching; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LONGEST_AGE_S = 31_557_600  # 3.2: a year
REFRESHED_AFTER = timedelta(days=1)

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_PATTERN = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?", re.I)


class Mode(StrEnum):
    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class PolicyInvalid(ValueError):
    """The text is no policy; the message says why."""


@dataclass(frozen=True, slots=True)
class PolicyText:
    """What a policy file says. `mx`: patterns, lower case."""

    mode: Mode
    max_age: timedelta
    mx: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy as last fetched."""

    domain: str
    policy_id: str
    mode: Mode
    mx: tuple[str, ...]
    fetched_at: datetime
    expires_at: datetime

    def covers(self, host: str) -> bool:
        """Whether the exchanger is one of those the policy lists."""
        return any(matches(pattern, host) for pattern in self.mx)

    def is_fresh(self, policy_id: str, now: datetime) -> bool:
        """Whether it need not be fetched again. 5.1: a policy in use is fetched anew well before it ends."""
        return policy_id == self.policy_id and now - self.fetched_at < min(REFRESHED_AFTER, self.max_age / 2)

    @property
    def max_age(self) -> timedelta:
        return self.expires_at - self.fetched_at


def read_record(texts: Iterable[str]) -> str | None:
    """The policy id out of a domain's TXT records at `_mta-sts`; None where there is no (single, valid) MTA-STS record."""
    ours = [text for text in texts if re.match(r"v=STSv1[ \t]*;", text)]
    if len(ours) != 1:  # 3.1
        return None
    fields = (field.strip(" \t").partition("=") for field in ours[0].split(";"))
    values = [value for name, _, value in fields if name == "id"]
    return values[0] if len(values) == 1 and _ID.fullmatch(values[0]) else None


def read_policy(text: str) -> PolicyText:
    """Raises `PolicyInvalid`."""
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in re.split(r"\r?\n", text):
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon:
            if name:
                raise PolicyInvalid(f"The line “{line[:80]}” has no colon.")
        elif name == "mx":
            if not _PATTERN.fullmatch(value):
                raise PolicyInvalid(f"mx: “{value[:80]}” is no host name or pattern.")
            patterns.append(value.rstrip(".").lower())
        else:
            fields.setdefault(name, value)  # 3.2: of repeated ones the first counts; unknown ones are ignored
    if fields.get("version") != "STSv1":
        raise PolicyInvalid(f"version is “{fields.get('version', '')[:20]}”, not STSv1.")
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError:
        raise PolicyInvalid(f"mode is “{fields.get('mode', '')[:20]}”, not enforce, testing or none.") from None
    age = fields.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise PolicyInvalid(f"max_age is “{age[:20]}”, not a number of seconds.")
    if not patterns and mode != Mode.NONE:
        raise PolicyInvalid("It lists no mx.")
    return PolicyText(mode, timedelta(seconds=min(int(age), LONGEST_AGE_S)), tuple(patterns))


def matches(pattern: str, host: str) -> bool:
    """4.1: `*.` stands for exactly one label."""
    host = host.rstrip(".").lower()
    if pattern.startswith("*."):
        first, _, rest = host.partition(".")
        return bool(first) and rest == pattern[2:]
    return host == pattern
