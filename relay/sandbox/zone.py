"""Publishes a sending domain's records in the sandbox's zone, as its owner would at a DNS host, with a mistake on request."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from domains.connect.keys import signing_key
from domains.models import SendingDomain
from domains.names import registrable_part
from relay.sandbox.dns_hosts import DNS_HOSTS, OWN, host_with
from relay.sandbox.faults import Fault
from relay.sandbox.mistakes import Row, as_asked, with_mistake
from relay.sandbox.models import ZoneFault, ZoneRecord


def publish(domain: SendingDomain, *, mistake: str = "", host: str = OWN) -> int:
    """Makes the zone hold exactly the asked-for records, or what comes of a mistake of `relay.sandbox.mistakes`, in place of
    whatever was published for the domain, or stands at its records' names. Returns how many rows they are.

    `host`: the DNS host of `relay.sandbox.dns_hosts` at which this happens. Raises KeyError: no such mistake or host.
    """
    with transaction.atomic():
        if _cleared(domain) is None:
            return 0
        publication = as_asked(domain.name, domain.records.all())
        if mistake:
            publication = with_mistake(publication, mistake)
        rows = [*publication.rows, *_name_servers(domain, host)]
        ZoneRecord.objects.bulk_create((_record(row, domain) for row in rows), ignore_conflicts=True)
        ZoneFault.objects.bulk_create(_zone_fault(fault, domain) for fault in publication.faults)
    return len(publication.rows)


def publish_connect_key() -> None:
    """Makes the zone hold the public key of our requests to DNS hosts (`domains.connect.keys`), as an operator would."""
    wanted = signing_key().public_records()
    rows = [ZoneRecord(name=name, type="TXT", value=value) for name, value in wanted]
    with transaction.atomic():
        former = ZoneRecord.objects.filter(name__in=[row.name for row in rows], type="TXT")
        former.exclude(value__in=[row.value for row in rows]).delete()
        ZoneRecord.objects.bulk_create(rows, ignore_conflicts=True)


def withdraw(domain: SendingDomain) -> None:
    """Takes everything that was published for the domain, or stands at its records' names, out of the zone, and all faults."""
    with transaction.atomic():
        _cleared(domain)


def host_of(domain: SendingDomain) -> str:
    """The key of the DNS host that the domain is at."""
    rows = ZoneRecord.objects.filter(name=registrable_part(domain.name), type="NS")
    return host_with({value.rstrip(".") for value in rows.values_list("value", flat=True)})


def _name_servers(domain: SendingDomain, host: str) -> list[Row]:
    """The sandbox's own need no rows: every domain has them by itself."""
    servers = () if host == OWN else DNS_HOSTS[host].name_servers
    return [Row("", registrable_part(domain.name), "NS", f"{server}.") for server in servers]


def _cleared(domain: SendingDomain) -> SendingDomain | None:
    """Locked, so that of two who publish at once the later one has it all. None: it was removed."""
    current = SendingDomain.objects.of(domain.organization_id).select_for_update().filter(pk=domain.pk).first()
    names = [record.name for record in domain.records.all()]
    ZoneRecord.objects.filter(Q(published_for=domain.pk) | Q(name__in=names)).delete()
    ZoneFault.objects.filter(Q(published_for=domain.pk) | Q(name__in=[domain.name, *names])).delete()
    return current


def _record(row: Row, domain: SendingDomain) -> ZoneRecord:
    return ZoneRecord(name=row.name, type=row.type, value=row.value, published_for=domain)


def _zone_fault(fault: Fault, domain: SendingDomain) -> ZoneFault:
    until = None if fault.remaining_s is None else timezone.now() + timedelta(seconds=fault.remaining_s)
    return ZoneFault(
        name=fault.name, kind=fault.kind, role=fault.role or "", server=fault.server,
        rows=fault.rows, ede=fault.ede, until=until, published_for=domain,
    )  # fmt: skip
