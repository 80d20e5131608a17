"""A look at domains: DNS is asked (`domains.dns.asking`), what it said is judged (`domains.diagnosis.judge`), and what follows
(`domains.course`) is stored with its audit entries and mails, in one transaction for each domain."""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.notices import notify_owners
from accounts.walls import across_organizations
from domains.course import Seen, Sight, Standing, Step, Turn, sight_of, step, stops_at
from domains.diagnosis.hosts import recognise
from domains.diagnosis.judge import Verdict, judge, judge_zone
from domains.dkim.rotation import after_look
from domains.dns.asking import gather
from domains.dns.evidence import Evidence, RecordEvidence, ZoneEvidence
from domains.models import DnsRecord, DomainStatus, RecordPurpose, RecordStatus, SendingDomain
from domains.records import OWNERSHIP_PREFIX
from domains.signals import domain_lost

TOKEN_OCTETS = 20
LOST = {RecordStatus.MISSING, RecordStatus.DIFFERENT}

# Templates of mails to owners (`accounts.notices`), by what has happened; other turns are on pages only.
MAILS = {Turn.WARNED: "domain_failing", Turn.STOPPED: "domain_stopped"}


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a domain brought: `records` as they were asked for, with what is to be said of each."""

    domain: SendingDomain
    records: Mapping[UUID, tuple[DnsRecord, Verdict]]
    zone: ZoneEvidence
    at: datetime


def check_domain(domain: SendingDomain, by: Actor = SYSTEM, *, now: datetime | None = None) -> SendingDomain:
    """Looks at a domain, whoever else may do so (some 8 s at worst, when DNS is silent). Returns it as then stored."""
    return check_domains([domain], by, now=now)[0]


def check_domains(
    domains: Sequence[SendingDomain], by: Actor = SYSTEM, *, now: datetime | None = None
) -> list[SendingDomain]:
    """As `check_domain`, with all questions side by side; no transaction is open meanwhile."""
    at = now or timezone.now()
    asked = [(domain, list(domain.records.all())) for domain in domains]
    heard = gather([(domain.name, records) for domain, records in asked])
    looks = [_look(domain, records, evidence, at) for (domain, records), evidence in zip(asked, heard, strict=True)]
    return [_store(look, by) for look in looks]


def ownership_token() -> str:
    return secrets.token_hex(TOKEN_OCTETS)


def standing_of(domain: SendingDomain) -> Standing:
    return Standing(domain.status, domain.status_at, domain.failing_since, domain.warned_at)


# ---- Keeping ---------------------------------------------------------------------------------------------------------


def _look(domain: SendingDomain, records: Sequence[DnsRecord], evidence: Evidence, at: datetime) -> Look:
    def judged(record: DnsRecord) -> Verdict:
        heard = evidence.records.get(record.pk, RecordEvidence())
        return judge(record, heard, evidence.zone, siblings=records)

    return Look(domain, {record.pk: (record, judged(record)) for record in records}, evidence.zone, at)


@across_organizations()  # whoever else has the domain may lose it
def _store(look: Look, by: Actor) -> SendingDomain:
    # A domain that may be about to be proved is locked with those of the same name, for the sake of who has it now.
    is_whole = _sight([_judged(*one) for one in look.records.values()]) == Sight.WHOLE
    is_proof = is_whole and not SendingDomain.objects.filter(pk=look.domain.pk, status=DomainStatus.VERIFIED).exists()
    with transaction.atomic():
        rivals = _lock(look.domain, with_rivals=is_proof)
        domain = rivals.pop(look.domain.pk, None)
        if domain is None:
            return look.domain  # removed while DNS was asked
        if domain.checked_at and look.at < domain.checked_at <= timezone.now():
            return domain  # what began later knows better (and a clock that was wrong does not)
        records = _keep_verdicts(domain, look)
        keys_want_look_at = after_look(domain, records, look.at)
        sight = _sight(records) if is_proof or domain.is_verified else Sight.UNCLEAR
        taken = step(
            standing_of(domain),
            Seen(sight, look.at, _visible_at(records)),
            scale=settings.DOMAIN_LOSS_SCALE,
            chance=random.random(),  # noqa: S311 - spreads looks over the day
        )
        if taken.turn == Turn.VERIFIED:
            for rival in rivals.values():
                if rival.status in {DomainStatus.VERIFIED, DomainStatus.STOPPED}:
                    _take_from(rival, look.at)
        _advance(domain, taken, records, by)
        _keep_zone(domain, look.zone)
        domain.checked_at = look.at
        domain.next_check_at = min(filter(None, [taken.next_check_at, keys_want_look_at]))
        domain.save()
    return domain


def _lock(domain: SendingDomain, *, with_rivals: bool) -> dict[UUID, SendingDomain]:
    """In one order, so that two organizations that prove a domain at once wait for each other and not in a circle."""
    rows = SendingDomain.objects.select_for_update().order_by("pk")
    return {row.pk: row for row in (rows.filter(name=domain.name) if with_rivals else rows.filter(pk=domain.pk))}


def _keep_verdicts(domain: SendingDomain, look: Look) -> list[DnsRecord]:
    """The domain's records as they are now. What has been asked for differently meanwhile is not judged."""
    records = list(domain.records.all())
    judged = [_judged(record, look.records[record.pk][1], look.at) for record in records if _was_asked(record, look)]
    DnsRecord.objects.bulk_update(judged, ["status", "found", "diagnosis", "explanation", "visible_at", "checked_at"])
    return records


def _was_asked(record: DnsRecord, look: Look) -> bool:
    asked = look.records.get(record.pk)
    return asked is not None and (asked[0].type, asked[0].name, asked[0].value) == (
        record.type, record.name, record.value,
    )  # fmt: skip


def _judged(record: DnsRecord, verdict: Verdict, at: datetime | None = None) -> DnsRecord:
    record.status, record.found = verdict.status, list(verdict.found)
    record.diagnosis, record.explanation = verdict.diagnosis, verdict.explanation
    record.visible_at = at + timedelta(seconds=verdict.visible_in_s) if at and verdict.visible_in_s else None
    record.checked_at = at
    return record


def _sight(records: Iterable[DnsRecord]) -> Sight:
    return sight_of(record.status for record in records if record.required)


def _visible_at(records: Iterable[DnsRecord]) -> datetime | None:
    """If all that is waited for is that caches forget: when the last will have."""
    waited_for = [record for record in records if record.required and record.status != RecordStatus.FOUND]
    moments = [record.visible_at for record in waited_for if record.visible_at]
    return max(moments) if moments and len(moments) == len(waited_for) else None


def _keep_zone(domain: SendingDomain, zone: ZoneEvidence) -> None:
    """Where not even the name servers could be learned, what was known of them stays."""
    verdict = judge_zone(zone)
    domain.zone_diagnosis, domain.zone_explanation = verdict.diagnosis, verdict.explanation
    if zone.apex:
        domain.zone = zone.apex
    if zone.name_servers:
        # A stranger's name with odd octets is longer as text than DNS allows names to be.
        longest = SendingDomain._meta.get_field("name").max_length
        domain.nameservers = [server.name[:longest] for server in zone.name_servers]
        domain.dns_host = recognise(domain.nameservers).key


# ---- What follows ----------------------------------------------------------------------------------------------------


def _advance(domain: SendingDomain, taken: Step, records: Sequence[DnsRecord], by: Actor) -> None:
    """Takes the step, with its audit entry and mail."""
    if taken.turn is None:
        return
    before, after = standing_of(domain), taken.standing
    domain.status, domain.status_at = after.status, after.status_at
    domain.failing_since, domain.warned_at = after.failing_since, after.warned_at
    if taken.turn == Turn.VERIFIED:
        domain.verified_at = after.status_at
    lost = [record for record in records if record.required and record.status in LOST]
    changed_before, changed_after = _changes(before, after)
    if lost and taken.turn != Turn.VERIFIED:
        changed_after["records"] = [f"{record.type} {record.name}: {record.status}" for record in lost]
    # Who looks may have proved it; that records are lost or back is nobody's deed of ours.
    actor = by if taken.turn == Turn.VERIFIED else SYSTEM
    note(actor, f"domain.{taken.turn}", domain, organization_id=domain.organization_id, before=changed_before,
         after=changed_after)  # fmt: skip
    template = MAILS.get(taken.turn, "")
    if taken.turn in {Turn.VERIFIED, Turn.RECOVERED} and before.warned_at:
        template = "domain_recovered"
    if template:
        _tell(domain, template, since=before.failing_since, lost=lost)


def _changes(before: Standing, after: Standing) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that differ, of both, as JSON."""
    names = ("status", "failing_since", "warned_at")
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return _plain(before, changed), _plain(after, changed)


def _plain(standing: Standing, names: Collection[str]) -> dict[str, Any]:
    values = {name: getattr(standing, name) for name in names}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _take_from(former: SendingDomain, now: datetime) -> None:
    """Another organization has proved the domain. This one may come back only by publishing a new token: else both
    records side by side would hand the domain to and fro. Locked by the caller."""
    before = former.status
    former.status, former.status_at = DomainStatus.TAKEN_OVER, now
    former.verified_at = former.failing_since = former.warned_at = None
    former.ownership_token = ownership_token()
    former.next_check_at = now
    former.save()
    former.records.filter(purpose=RecordPurpose.OWNERSHIP).update(
        value=OWNERSHIP_PREFIX + former.ownership_token, status=RecordStatus.UNCHECKED, found=[], diagnosis="",
        explanation="", visible_at=None, checked_at=None,
    )  # fmt: skip
    # By whom is the other organization's secret.
    note(SYSTEM, "domain.taken_over", former, organization_id=former.organization_id, before={"status": before},
         after={"status": former.status})  # fmt: skip
    _tell(former, "domain_taken_over")
    domain_lost.send(SendingDomain, domain_id=former.pk, reason="domain_taken_over")


def _tell(
    domain: SendingDomain, template: str, *, since: datetime | None = None, lost: Sequence[DnsRecord] = ()
) -> None:
    stops = stops_at(standing_of(domain), scale=settings.DOMAIN_LOSS_SCALE)
    notify_owners(
        domain.organization,
        template,
        domain=domain.display_name,
        domain_id=str(domain.pk),
        since=_moment(since or domain.failing_since),
        stops_at=_moment(stops),
        records=[
            {"type": record.type, "name": record.name, "value": record.value, "explanation": record.explanation}
            for record in lost
        ],
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment:%-d %B %Y, %H:%M} UTC" if moment else ""
