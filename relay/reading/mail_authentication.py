"""What receivers can verify of a message as it was sent: its DKIM signatures, its return path, and what DMARC makes of them.

Whether they did, they do not say; told is what was sent, how it is aligned (RFC 7489, 3.1), and which of the domain's records
were in DNS when we last looked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from domains.models import RecordPurpose, RecordStatus, SendingDomain
from events.models import Event
from relay.domain_health import Dmarc, dmarc_of, is_aligned
from relay.submission.addresses import domain_of, parse_mailboxes

DKIM_PURPOSES = (RecordPurpose.DKIM, RecordPurpose.DKIM_OLD, RecordPurpose.DKIM_ED25519)


@dataclass(frozen=True, slots=True)
class Finding:
    """`way`: DKIM, SPF or DMARC."""

    way: str
    level: Literal["ok", "warn"]
    verdict: str
    facts: str


def of_message(header_from: str, events: Iterable[Event], domain: SendingDomain | None) -> list[Finding]:
    """By the latest attempt among `events`; empty when none got as far. `domain`: None where it was removed since."""
    attempts = [event for event in events if event.detail.get("dkim") and event.detail.get("return_path")]
    if not attempts:
        return []
    detail = max(attempts, key=lambda event: event.id).detail
    mailboxes = parse_mailboxes(header_from)
    author = (mailboxes and domain_of(mailboxes[0][1])) or ""
    dmarc = dmarc_of(domain) if domain else Dmarc()
    missing = _missing(domain) if domain else frozenset()
    dkim, returns = detail["dkim"], detail["return_path"].rpartition("@")[2]
    signed_by, selectors = dkim["domain"], dkim.get("selectors") or [dkim["selector"]]
    gone = [selector for selector in selectors if f"{selector}._domainkey.{signed_by}" in missing]
    ways = [
        _finding(
            "DKIM", author, signed_by, strict=dmarc.strict_dkim, is_published=len(gone) < len(selectors),
            facts=f"Signed by {signed_by} with the selector{'s' if len(selectors) > 1 else ''} {_and(selectors)}."
            + (f" The record of {_and(gone)} was not in DNS at our last look." if gone else ""),
        ),
        _finding(
            "SPF", author, returns, strict=dmarc.strict_spf, is_published=returns not in missing,
            facts=f"The return path is at {returns}."
            + (" Its record was not in DNS at our last look." if returns in missing else ""),
        ),
    ]  # fmt: skip
    return [*ways, _dmarc(author, ways, dmarc, domain)]


def _finding(way: str, author: str, authenticated: str, *, strict: bool, is_published: bool, facts: str) -> Finding:
    if not is_aligned(author, authenticated, strict=strict):
        what = f"not aligned with {author or 'the From address'}{' (strict alignment)' if strict else ''}"
        return Finding(way, "warn", what, facts)
    return Finding(way, "ok" if is_published else "warn", "aligned" if is_published else "record missing", facts)


def _dmarc(author: str, ways: list[Finding], dmarc: Dmarc, domain: SendingDomain | None) -> Finding:
    passing = [one.way for one in ways if one.level == "ok"]
    verdict = f"passes by {_and(passing)}" if passing else "does not pass"
    if domain is None:
        record = "The sending domain was removed since, so its record is not known."
    elif not dmarc.policy:
        record = f"No DMARC record was found for {author or 'the From address'}: receivers apply no policy of its own."
    else:
        record = f"The record says p={dmarc.policy}."
    return Finding("DMARC", "ok" if passing else "warn", verdict, record)


def _missing(domain: SendingDomain) -> frozenset[str]:
    """Names of records that were not there. One that nobody looked for yet, or could not, is not missing."""
    records = domain.records.filter(purpose__in=[*DKIM_PURPOSES, RecordPurpose.RETURN_PATH])
    absent = records.filter(status__in=[RecordStatus.MISSING, RecordStatus.DIFFERENT])
    return frozenset(absent.values_list("name", flat=True))


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
