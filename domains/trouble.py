"""What a domain that was verified lacks, or why it may not send any more: for its page, the list and the overview."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Prefetch, Q

from accounts.models import Organization
from domains.course import stops_at
from domains.models import DnsRecord, DomainStatus, RecordStatus, SendingDomain
from domains.verification import standing_of

_LOST = Q(required=True, status__in=[RecordStatus.MISSING, RecordStatus.DIFFERENT])


@dataclass(frozen=True, slots=True)
class Trouble:
    """`kind`: once (a record was missed at the last look), failing (its owners are warned), stopped or taken_over."""

    domain: SendingDomain
    kind: str
    since: datetime | None
    stops_at: datetime | None
    records: list[DnsRecord]


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """For `domains/parts/trouble.html`."""
    return {"trouble": _trouble(domain, list(domain.records.filter(_LOST)))}


def troubles_of(organization: Organization) -> list[Trouble]:
    """What its owners have to do something about. For `domains/parts/troubles.html`."""
    is_bad = Q(status__in=[DomainStatus.STOPPED, DomainStatus.TAKEN_OVER]) | Q(warned_at__isnull=False)
    lost = Prefetch("records", DnsRecord.objects.filter(_LOST), to_attr="lost")
    domains = SendingDomain.objects.of(organization).filter(is_bad).order_by("name").prefetch_related(lost)
    found = [_trouble(domain, domain.lost) for domain in domains]
    return [trouble for trouble in found if trouble]


def _trouble(domain: SendingDomain, lost: list[DnsRecord]) -> Trouble | None:
    if domain.status in {DomainStatus.STOPPED, DomainStatus.TAKEN_OVER}:
        return Trouble(domain, domain.status, domain.failing_since or domain.status_at, None, lost)
    if not domain.is_verified or domain.failing_since is None:
        return None
    kind = "failing" if domain.warned_at else "once"
    stops = stops_at(standing_of(domain), scale=settings.DOMAIN_LOSS_SCALE)
    return Trouble(domain, kind, domain.failing_since, stops, lost)
