"""Publishes a sending domain's records in the sandbox's zone, as its owner would at a DNS provider."""

from django.db import transaction

from domains.connect_keys import signing_key
from domains.models import SendingDomain
from relay.sandbox.models import ZoneRecord


def publish(domain: SendingDomain) -> int:
    """Makes the zone hold exactly the asked-for records at their names. Returns how many they are."""
    records = list(domain.records.all())
    with transaction.atomic():
        _clear(domain)
        ZoneRecord.objects.bulk_create(
            ZoneRecord(name=record.name, type=record.type, value=_zone_value(record.type, record.value))
            for record in records
        )
    return len(records)


def publish_connect_key() -> None:
    """Makes the zone hold the public key of our requests to DNS hosts (`domains.connect_keys`), as an operator would."""
    wanted = signing_key().public_records()
    rows = [ZoneRecord(name=name, type="TXT", value=value) for name, value in wanted]
    with transaction.atomic():
        former = ZoneRecord.objects.filter(name__in=[row.name for row in rows], type="TXT")
        former.exclude(value__in=[row.value for row in rows]).delete()
        ZoneRecord.objects.bulk_create(rows, ignore_conflicts=True)


def withdraw(domain: SendingDomain) -> None:
    """Takes everything at the names of the asked-for records out of the zone."""
    with transaction.atomic():
        _clear(domain)


def _clear(domain: SendingDomain) -> None:
    ZoneRecord.objects.filter(name__in=[record.name for record in domain.records.all()]).delete()


def _zone_value(type_: str, value: str) -> str:
    return f"{value.rstrip('.')}." if type_ == "CNAME" else value
