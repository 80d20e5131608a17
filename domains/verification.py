"""Asks DNS for a domain's records, keeps what it said, verifies the domain when all required ones are there, and lets its DKIM
keys take their turns."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import dns.exception
import dns.rdata
import dns.resolver
from django.db import IntegrityError, transaction
from django.utils import timezone
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.TXT import TXT

from domains.diagnosis import Verdict, judge
from domains.dkim_rotation import after_look
from domains.evidence import Elsewhere, Failure, Heard, RecordEvidence, ZoneEvidence
from domains.models import DnsRecord, DomainStatus, RecordPurpose, RecordStatus, SendingDomain
from domains.resolver import resolver

LOOKUPS_AT_ONCE = 16

CHECK_PENDING_AT_LEAST_EVERY = timedelta(hours=1)
CHECK_PENDING_AT_MOST_EVERY = timedelta(seconds=15)
CHECK_VERIFIED_EVERY = timedelta(days=1)

HELD_BY_ANOTHER = (
    "The record is right, but another organization has verified this domain, and a domain belongs to one organization. "
    "If it is yours, remove it from the other account or write to support."
)


def check_domain(domain: SendingDomain) -> SendingDomain:
    """Looks up all records of a domain (some 5 s at worst, when DNS is silent) and returns it as it is then stored."""
    return check_domains([domain])[0]


def check_domains(domains: Sequence[SendingDomain]) -> list[SendingDomain]:
    """As `check_domain`, with all look-ups of all domains side by side; no transaction is open meanwhile."""
    asked = [(domain, list(domain.records.all())) for domain in domains]
    lookups = [(record, domain.name) for domain, records in asked for record in records]
    with ThreadPoolExecutor(max_workers=LOOKUPS_AT_ONCE, thread_name_prefix="dns") as threads:
        verdicts = dict(zip([record.pk for record, _ in lookups], threads.map(_look, lookups), strict=True))
    return [_store(domain, records, [verdicts[record.pk] for record in records]) for domain, records in asked]


def next_check_after(status: str, age: timedelta) -> timedelta:
    """How long to wait before the next check of a domain that was added `age` ago.

    People publish records within minutes of adding a domain, or much later: the wait grows with the age.
    """
    if status == DomainStatus.VERIFIED:
        return CHECK_VERIFIED_EVERY
    return min(max(age / 20, CHECK_PENDING_AT_MOST_EVERY), CHECK_PENDING_AT_LEAST_EVERY)


# ---- Asking ----------------------------------------------------------------------------------------------------------


def _look(lookup: tuple[DnsRecord, str]) -> Verdict:
    record, domain_name = lookup
    return judge(record, gather(record.name, record.type, domain_name), ZoneEvidence(apex=domain_name))


def gather(name: str, type_: str, domain_name: str) -> RecordEvidence:
    """What DNS holds at a name, and, when there is nothing, where the record may have gone instead. Never raises."""
    try:
        values, alias = _ask(name, type_)
    except dns.exception.DNSException as error:
        return RecordEvidence(authority=(Heard("", failure=_failure(error)),))
    heard = (Heard("", values, alias=alias),)
    if values:
        return RecordEvidence(resolvers=heard, authority=heard)
    wrong_type: tuple[str, ...] = (alias,) if alias else ()
    if type_ == "CNAME":
        wrong_type = _ask_aside(name, "TXT")
    doubled_name = f"{name}.{domain_name}"
    return RecordEvidence(
        resolvers=heard,
        authority=heard,
        wrong_type=wrong_type,
        doubled=Elsewhere(doubled_name, _ask_aside(doubled_name, type_)),
    )


def _ask(name: str, type_: str) -> tuple[tuple[str, ...], str]:
    """The values at a name, and the alias through which they came, if any. A name that does not exist has none.

    Raises dns.exception.DNSException when DNS does not answer.
    """
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


def _failure(error: dns.exception.DNSException) -> Failure:
    return Failure.TIMEOUT if isinstance(error, dns.exception.Timeout) else Failure.SERVFAIL


# ---- Keeping ---------------------------------------------------------------------------------------------------------


def _store(domain: SendingDomain, records: Sequence[DnsRecord], verdicts: Sequence[Verdict]) -> SendingDomain:
    now = timezone.now()
    for record, verdict in zip(records, verdicts, strict=True):
        record.status, record.explanation, record.checked_at = verdict.status, verdict.explanation, now
        record.found, record.diagnosis = list(verdict.found), verdict.diagnosis
    with transaction.atomic():
        stored = SendingDomain.objects.select_for_update().filter(pk=domain.pk).first()
        if stored is None:
            return domain  # removed while DNS was asked
        keys_want_look_at = after_look(stored, records, now)
        # A verified domain that lost records stays verified; its records show the loss. What follows from it (a
        # warning, then a stop) is a decision that a single look must not take. Time-outs never unverify.
        if not stored.is_verified and _all_required_found(records) and not _verify(stored, now):
            _say_held_by_another(records)
        DnsRecord.objects.bulk_update(records, ["status", "found", "diagnosis", "explanation", "checked_at"])
        stored.checked_at = now
        wanted_at = now + next_check_after(stored.status, now - stored.created_at)
        stored.next_check_at = min(wanted_at, keys_want_look_at or wanted_at)
        stored.save(update_fields=["checked_at", "next_check_at"])
    return stored


def _all_required_found(records: Sequence[DnsRecord]) -> bool:
    required = [record for record in records if record.required]
    return bool(required) and all(record.status == RecordStatus.FOUND for record in required)


def _verify(domain: SendingDomain, now: datetime) -> bool:
    """Marks the domain verified. False when another organization was first; the database decides (see the model)."""
    domain.status, domain.verified_at = DomainStatus.VERIFIED, now
    try:
        with transaction.atomic():
            domain.save(update_fields=["status", "verified_at"])
    except IntegrityError:
        domain.status, domain.verified_at = DomainStatus.PENDING, None
        return False
    return True


def _say_held_by_another(records: Sequence[DnsRecord]) -> None:
    for record in records:
        if record.purpose == RecordPurpose.OWNERSHIP:
            record.explanation = HELD_BY_ANOTHER
