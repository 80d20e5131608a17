"""How the mail fares that was sent from a domain in the last days: what became of it, and whether it was authenticated.

Read from recipients and events alone, of the newest messages, so that it costs the same however much was sent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from django.db import connection
from django.utils import timezone

from accounts.ids import first_id_at, time_of
from domains.diagnosis.dkim_record import parse_tags
from domains.models import RecordPurpose, RecordStatus, SendingDomain
from domains.names import registrable_part
from events.reasons import suppresses
from relay.delivery.verdict import Verdict
from relay.finding.search import AHEAD, within
from relay.models import RecipientState
from relay.submission.addresses import domain_of, parse_mailboxes

DAYS = 7
MESSAGES_MOST = 5_000
RECIPIENTS_MOST = 10_000
SECONDS = 2.0
JUDGED_FROM = 100  # recipients; a rate of fewer says little, and one of complaints even less
COMPLAINTS_JUDGED_FROM = 1000

Level = Literal["ok", "info", "warn", "error"]  # info: nothing to judge, or too little

VERIFIED = {Verdict.VERIFIED, Verdict.DANE_VERIFIED}
# Not tried, or not meant to be.
UNTRIED = {
    RecipientState.SUBMITTED,
    RecipientState.SCHEDULED,
    RecipientState.HELD,
    RecipientState.CANCELLED,
    RecipientState.SUPPRESSED,
}


@dataclass(frozen=True, slots=True)
class Dmarc:
    """The domain's DMARC record as last seen (RFC 7489, 6.3); `policy` is empty when it has none."""

    record: str = ""
    policy: str = ""
    strict_dkim: bool = False
    strict_spf: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """`count` of `of` recipients; `advice`: what is good, and what to do."""

    code: str
    title: str
    count: int
    of: int
    level: Level
    advice: str

    @property
    def rate(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def percent(self) -> str:
        """In words that never round to all or to nothing."""
        if not self.of:
            return "–"
        percent = 100 * self.count / self.of
        digits = 2 if percent < 1 else 1
        rounded = round(percent, digits)
        if 0 < self.count < self.of:
            rounded = min(max(rounded, 0.01), 99.9)
        return f"{rounded:.{digits}f}".rstrip("0").rstrip(".") + " %"


@dataclass(frozen=True, slots=True)
class DomainHealth:
    """`is_sample`: more was sent since `since` - 7 days than was looked at, which begins at `since`.

    `selectors`: of the DKIM signatures on what was delivered, with how many recipients each. Without `messages` there is
    nothing else.
    """

    since: datetime
    messages: int = 0
    recipients: int = 0
    is_sample: bool = False
    measures: tuple[Measure, ...] = ()
    selectors: tuple[tuple[str, int], ...] = ()
    dmarc: Dmarc = Dmarc()

    def measure(self, code: str) -> Measure:
        return next(measure for measure in self.measures if measure.code == code)


def domain_health(domain: SendingDomain) -> DomainHealth:
    """Raises relay.finding.search.TookTooLong."""
    now = timezone.now()
    start, end = first_id_at(now - timedelta(days=DAYS)), first_id_at(now + AHEAD)
    terms: dict[str, Any] = {
        "organization": domain.organization_id, "domain": domain.pk, "low": start, "high": end,
        "messages": MESSAGES_MOST, "recipients": RECIPIENTS_MOST,
    }  # fmt: skip
    with within(SECONDS) as check, connection.cursor() as cursor:

        def ask(statement: str) -> list[Any]:
            check()
            cursor.execute(statement, terms)
            return cursor.fetchall()

        ((messages, seen, oldest, newest),) = ask(_NEWEST)
        if not messages:
            return DomainHealth(now - timedelta(days=DAYS))
        terms |= {"low": oldest, "newest": newest}  # by which the partitions before them are left out
        states = [_State(*row) for row in ask(_TAKEN + _STATES)]
        cursor.execute(
            "SET LOCAL enable_nestloop = off"
        )  # of as many messages as events: PostgreSQL takes them for few
        deliveries = _by_author(ask(_TAKEN + _DELIVERIES))
        cursor.execute("SET LOCAL enable_nestloop = DEFAULT")
        ((complaints,),) = ask(_TAKEN + _COMPLAINTS)
    is_sample = seen > messages
    return DomainHealth(
        since=time_of(oldest) if is_sample else now - timedelta(days=DAYS),
        messages=messages,
        recipients=sum(one.number for one in states),
        is_sample=is_sample,
        measures=tuple(_measures(states, deliveries, complaints, dmarc := dmarc_of(domain))),
        selectors=tuple(_selectors(deliveries)),
        dmarc=dmarc,
    )


def dmarc_of(domain: SendingDomain) -> Dmarc:
    """From what the last check of its DNS found."""
    record = domain.records.filter(purpose=RecordPurpose.DMARC, status=RecordStatus.FOUND).first()
    for value in record.found if record else ():
        tags = {name.lower(): text.lower() for name, text in parse_tags(value.strip()) or ()}
        if tags.get("v") == "dmarc1":
            return Dmarc(value, tags.get("p", ""), tags.get("adkim") == "s", tags.get("aspf") == "s")
    return Dmarc()


def is_aligned(from_domain: str, authenticated: str, *, strict: bool) -> bool:
    """RFC 7489, 3.1: the same domain, or, unless `strict`, of the same organizational domain."""
    if not from_domain or not authenticated:
        return False
    if strict or from_domain == authenticated:
        return from_domain == authenticated
    return registrable_part(from_domain) == registrable_part(authenticated)


# ---- Reading ---------------------------------------------------------------------------------------------------------


class _State(NamedTuple):
    state: str
    reason: str
    is_retried: bool
    number: int


class _Delivery(NamedTuple):
    """`author`: the domain in From. `dkim`, `tls`: of the event's detail (events.log), None where it has none.
    `return_path`: its domain."""

    author: str
    dkim: str | None
    tls: str | None
    return_path: str | None
    number: int

    @property
    def signed_by(self) -> str:
        return str(json.loads(self.dkim)["domain"]) if self.dkim else ""

    @property
    def selectors(self) -> list[str]:
        dkim = json.loads(self.dkim or "{}")
        return dkim.get("selectors") or ([dkim["selector"]] if dkim else [])

    @property
    def is_verified(self) -> bool:
        return self.tls is not None and json.loads(self.tls).get("verdict") in VERIFIED


def _by_author(rows: Iterable[Any]) -> list[_Delivery]:
    """Of many From headers, such as those with an address for each ticket, the few domains."""
    counted: Counter[tuple[str, str | None, str | None, str | None]] = Counter()
    for header_from, dkim, tls, return_path, number in rows:
        counted[_author_of(header_from), dkim, tls, return_path] += number
    return [_Delivery(*facts, number) for facts, number in counted.items()]


@lru_cache(maxsize=1000)
def _author_of(header_from: str) -> str:
    """Of the first author, whose domain signs (relay.submission.accept); empty when it cannot be read."""
    mailboxes = parse_mailboxes(header_from)
    return (mailboxes and domain_of(mailboxes[0][1])) or ""


# The newest messages, as many as there is room for; one more than that tells that there are more. `seen`: how many were met.
_NEWEST = """
    SELECT count(*) FILTER (WHERE fits), count(*), (array_agg(id ORDER BY id) FILTER (WHERE fits))[1],
           (array_agg(id ORDER BY id DESC))[1]
    FROM (SELECT id, row_number() OVER newest <= %(messages)s
                     AND (row_number() OVER newest = 1 OR sum(recipient_count) OVER newest <= %(recipients)s) AS fits
          FROM (SELECT id, recipient_count FROM relay_message
                WHERE organization_id = %(organization)s AND domain_id = %(domain)s AND id >= %(low)s AND id < %(high)s
                ORDER BY id DESC LIMIT %(messages)s + 1) met
          WINDOW newest AS (ORDER BY id DESC)) counted
"""
_TAKEN = """
    WITH taken AS MATERIALIZED (
        SELECT id, left(header_from, 1000) AS header_from FROM relay_message
        WHERE organization_id = %(organization)s AND domain_id = %(domain)s AND id >= %(low)s AND id <= %(newest)s)
"""
# An array in place of a join: one pass through the index of each partition, whatever the planner thinks of its size.
_STATES = """
    SELECT state, reason, attempts > 1, count(*) FROM relay_recipient
    WHERE message_id = ANY(ARRAY(SELECT id FROM taken)) AND id >= %(low)s AND id < %(high)s
    GROUP BY 1, 2, 3
"""
_DELIVERIES = """
    SELECT header_from, (detail -> 'dkim')::text, (detail -> 'tls')::text, split_part(detail ->> 'return_path', '@', 2),
           count(*)
    FROM events_event e JOIN taken ON taken.id = e.message_id
    WHERE e.message_id = ANY(ARRAY(SELECT id FROM taken)) AND e.id >= %(low)s AND e.id < %(high)s AND e.type = 'delivered'
    GROUP BY 1, 2, 3, 4
"""
# They are few, and have an index of their own.
_COMPLAINTS = """
    SELECT count(DISTINCT recipient_id) FROM events_event
    WHERE organization_id = %(organization)s AND type = 'complained' AND id >= %(low)s AND id < %(high)s
      AND message_id = ANY(ARRAY(SELECT id FROM taken))
"""


# ---- Judging ---------------------------------------------------------------------------------------------------------


def _measures(states: list[_State], deliveries: list[_Delivery], complaints: int, dmarc: Dmarc) -> Iterable[Measure]:
    tried = [one for one in states if one.state not in UNTRIED or one.is_retried]
    attempted, delivered = _sum(tried), _sum(one for one in tried if one.state == RecipientState.DELIVERED)
    bounced = [one for one in tried if one.state == RecipientState.BOUNCED]
    dead = _sum(one for one in bounced if suppresses(one.reason))
    retried = _sum(one for one in tried if one.is_retried or one.state == RecipientState.DEFERRED)
    yield _high("delivered", "Delivered", delivered, attempted, 0.95, 0.85)
    yield _low("hard_bounces", "Hard bounces", dead, attempted, 0.02, 0.05)
    yield _low("other_bounces", "Other bounces", _sum(bounced) - dead, attempted, 0.02, 0.05)
    yield _low("deferred", "Deferred", retried, attempted, 0.10, 1.01)
    told = _low("complaints", "Complaints", complaints, delivered, 0.001, 0.003)
    yield told if complaints else replace(told, level="info", advice=f"None was reported. {told.advice}")

    known = _sum(deliveries)
    yield _high("tls", "Encrypted", _sum(one for one in deliveries if one.tls), known, 0.95, 0.0)
    verified = _sum(one for one in deliveries if one.is_verified)
    yield Measure("tls_verified", "Certificate verified", verified, known, "info", ADVICE["tls_verified"])
    dkim, spf = _aligned(deliveries, dmarc)
    yield _authenticated("dkim", "DKIM aligned", _sum(dkim), known)
    yield _authenticated("spf", "SPF aligned", _sum(spf), known)
    passed = _sum({*dkim, *spf})
    worst: Level = "error" if dmarc.policy in {"quarantine", "reject"} else "warn"
    level: Level = "info" if not known else "ok" if passed == known else worst
    yield Measure("dmarc", "DMARC passes", passed, known, level, _dmarc_advice(dmarc))


def _aligned(deliveries: list[_Delivery], dmarc: Dmarc) -> tuple[list[_Delivery], list[_Delivery]]:
    """Those with an aligned signature, and those with an aligned return path."""
    dkim, spf = [], []
    for one in deliveries:
        if is_aligned(one.author, one.signed_by, strict=dmarc.strict_dkim):
            dkim.append(one)
        if is_aligned(one.author, one.return_path or "", strict=dmarc.strict_spf):
            spf.append(one)
    return dkim, spf


def _selectors(deliveries: list[_Delivery]) -> Iterable[tuple[str, int]]:
    counted: Counter[str] = Counter()
    for one in deliveries:
        for selector in one.selectors:
            counted[selector] += one.number
    return counted.most_common()


def _sum(rows: Iterable[_State] | Iterable[_Delivery]) -> int:
    return sum(row.number for row in rows)


def _low(code: str, title: str, count: int, of: int, warn: float, error: float) -> Measure:
    """The lower the better."""
    rate = count / of if of else 0.0
    level: Level = "error" if rate >= error else "warn" if rate >= warn else "ok"
    return Measure(code, title, count, of, _weighed(level, code, of), ADVICE[code])


def _high(code: str, title: str, count: int, of: int, warn: float, error: float) -> Measure:
    rate = count / of if of else 1.0
    level: Level = "error" if rate < error else "warn" if rate < warn else "ok"
    return Measure(code, title, count, of, _weighed(level, code, of), ADVICE[code])


def _authenticated(code: str, title: str, count: int, of: int) -> Measure:
    level: Level = "info" if not of else "ok" if count == of else "warn"
    return Measure(code, title, count, of, level, ADVICE[code])


def _weighed(level: Level, code: str, of: int) -> Level:
    judged_from = COMPLAINTS_JUDGED_FROM if code == "complaints" else JUDGED_FROM
    return level if of and (level == "ok" or of >= judged_from) else "info"


ADVICE = {
    "delivered": "95 % and more is usual for mail that people asked for.",
    "hard_bounces": "The address or its domain does not exist. Keep it under 2 %; from 5 % on receivers take the sender for "
    "a spammer. Such addresses are suppressed: take them out of your lists.",
    "other_bounces": "Refused for another reason, or given up after the retry period. Keep it under 2 %, and look into it "
    "from 5 % on: the message’s page tells the reason.",
    "deferred": "Put off at least once and tried again. Some is normal; more than 10 % may mean that receivers slow you down.",
    "complaints": "People who pressed “spam”. Gmail and Yahoo ask for less than 0.1 %, and never 0.3 %: from there on they "
    "put mail into spam or refuse it. Receivers’ reports are not read yet.",
    "tls": "Gmail asks for encryption of all mail. What is missing here is up to the receiving servers.",
    "tls_verified": "The receiving server proved its name. Many receivers use certificates that nobody can verify.",
    "dkim": "Signed by a domain that fits the From address (RFC 7489, 3.1.1).",
    "spf": "The return path fits the From address (RFC 7489, 3.1.2). Where it does not, DKIM alone carries DMARC.",
}


MEASURES = (*ADVICE, "dmarc")  # by code, in the order of a page


def _dmarc_advice(dmarc: Dmarc) -> str:
    needs = "DMARC wants DKIM or SPF to be aligned."
    if not dmarc.policy:
        return (
            f"{needs} No DMARC record was found at this domain, so receivers apply no policy of its own to what fails."
        )
    what = {"quarantine": "put into spam", "reject": "refused"}.get(dmarc.policy, "treated as any other")
    ways = [way for way, is_so in (("DKIM", dmarc.strict_dkim), ("SPF", dmarc.strict_spf)) if is_so]
    strict = f", with strict alignment of {' and '.join(ways)}" if ways else ""
    return f"{needs} By your record (p={dmarc.policy}{strict}) mail that fails is {what}."
