"""Asking and judging in the shape of `domains.asking` and `domains.diagnosis`, by the one resolver of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dns.exception
import dns.rdata
import dns.resolver
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.TXT import TXT

from domains import records as rules
from domains.evidence import Elsewhere, Evidence, Failure, Heard, RecordEvidence, ZoneEvidence
from domains.models import DnsRecord
from domains.resolver import resolver

LOOKUPS_AT_ONCE = 16
FAILURES = {
    Failure.TIMEOUT: "The name servers did not answer in time.",
    Failure.SERVFAIL: "The name servers answered with an error.",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    status: str
    found: tuple[str, ...] = ()
    diagnosis: str = ""
    explanation: str = ""
    visible_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class ZoneVerdict:
    diagnosis: str = ""
    explanation: str = ""


def gather(domains: Sequence[tuple[str, Sequence[DnsRecord]]]) -> list[Evidence]:
    """What DNS says of these domains and their records, all asked side by side. Never raises."""
    questions = [(record, name) for name, records in domains for record in records]
    with ThreadPoolExecutor(max_workers=LOOKUPS_AT_ONCE, thread_name_prefix="dns") as threads:
        heard = dict(zip([record.pk for record, _ in questions], threads.map(_look, questions), strict=True))
    return [Evidence(ZoneEvidence(), {record.pk: heard[record.pk] for record in records}) for _, records in domains]


def judge(record: DnsRecord, evidence: RecordEvidence, zone: ZoneEvidence) -> Verdict:
    heard = evidence.resolvers[0]
    answers = rules.Answers(
        values=heard.values,
        failure=FAILURES[heard.failure] if heard.failure else "",
        other_type=evidence.wrong_type,
        doubled_name=evidence.doubled.name if evidence.doubled else "",
        doubled=evidence.doubled.values if evidence.doubled else (),
    )
    verdict = rules.judge(record, answers)
    return Verdict(verdict.status, verdict.found, explanation=verdict.explanation)


def judge_zone(zone: ZoneEvidence) -> ZoneVerdict:
    return ZoneVerdict()


def _look(question: tuple[DnsRecord, str]) -> RecordEvidence:
    record, domain_name = question
    try:
        values, alias = _ask(record.name, record.type)
    except dns.exception.DNSException as error:
        failure = Failure.TIMEOUT if isinstance(error, dns.exception.Timeout) else Failure.SERVFAIL
        return RecordEvidence(resolvers=(Heard("resolver", failure=failure),))
    heard = (Heard("resolver", values, alias=alias),)
    if values:
        return RecordEvidence(resolvers=heard)
    wrong_type: tuple[str, ...] = (alias,) if alias else ()
    if record.type == "CNAME":
        wrong_type = _ask_aside(record.name, "TXT")
    doubled = f"{record.name}.{domain_name}"
    return RecordEvidence(
        resolvers=heard, wrong_type=wrong_type, doubled=Elsewhere(doubled, _ask_aside(doubled, record.type))
    )


def _ask(name: str, type_: str) -> tuple[tuple[str, ...], str]:
    """The values at a name, and the alias through which they came, if any. Raises dns.exception.DNSException."""
    try:
        answer = resolver().resolve(name + ".", type_, search=False, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return (), ""
    canonical = str(answer.canonical_name).rstrip(".").lower()
    alias = "" if type_ == "CNAME" or canonical == name else canonical
    return tuple(sorted(_text(rdata) for rdata in answer.rrset or ())), alias


def _ask_aside(name: str, type_: str) -> tuple[str, ...]:
    """For explanations only: no answer counts as nothing there."""
    try:
        return _ask(name, type_)[0]
    except dns.exception.DNSException:  # also names that became too long
        return ()


def _text(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, TXT):
        # PostgreSQL's text takes no NUL.
        return b"".join(rdata.strings).decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert isinstance(rdata, CNAME)
    return str(rdata.target).rstrip(".")
