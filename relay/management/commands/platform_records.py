"""`manage.py platform_records [--address …] [--check]`: what to publish for this installation, or what of it is missing."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import dns.exception
import dns.rdata
import dns.resolver
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from dns.rdtypes.txtbase import TXTBase

from domains.dns.resolver import resolver
from domains.models import DnsRecord, RecordStatus
from domains.networks import source_for
from domains.platform_zone import PlatformRecord, fault_of, platform_records, sources_of, zone_file
from relay.models import SourceAddress

AT_ONCE = 16
OWN_MAIL = "PlugSend’s own mail, from its own sending domain"
ANYWHERE = ("192.0.2.1", "2001:db8::1")  # only looked up in our own routes; RFC 5737, RFC 3849


class Command(BaseCommand):
    help = "Prints the DNS records of this installation as a zone file. --check asks DNS; exit code 1: something is missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--address", action="append", default=[], help="a public address that mail leaves from; repeated"
        )
        parser.add_argument("--check", action="store_true", help="ask DNS for the records and say what is missing")

    def handle(self, *args: Any, address: list[str], check: bool, **options: Any) -> None:
        records, own = _records(address), _of_system_domain()
        if not check:
            self.stdout.write(
                zone_file([*records, *(PlatformRecord(one.name, one.type, one.value, OWN_MAIL) for one in own)])
            )
            return
        with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
            faults = dict(zip(records, threads.map(_look, records), strict=True))
        for record, fault in faults.items():
            self.stdout.write(f"{'WRONG' if fault else 'ok   '} {record.type} {record.name} {fault}".rstrip())
        wrong = [one for one in own if one.required and one.status != RecordStatus.FOUND]
        for one in wrong:
            self.stdout.write(
                f"WRONG {one.type} {one.name} {one.get_status_display().lower()}. {one.explanation}".rstrip()
            )
        if wrong or any(faults.values()):
            sys.exit(1)
        self.stdout.write("All is as it should be.")


def _records(addresses: list[str]) -> list[PlatformRecord]:
    named = list(SourceAddress.objects.filter(is_active=True).values_list("address", "ehlo_name").order_by("address"))
    own = addresses or ([] if named else _public_addresses())
    try:
        sources = sources_of(settings.HOSTNAME, own, named)
    except ValueError as error:
        raise CommandError(f"--address: {error}.") from None
    if not sources:
        raise CommandError(
            "This machine has no public address of its own. Say which mail leaves from: --address 203.0.113.5"
        )
    return platform_records(settings.HOSTNAME, settings.RETURN_PATH_TARGET, sources)


def _public_addresses() -> list[str]:
    found = [source_for(anywhere) for anywhere in ANYWHERE]
    return [address for address in found if address and ip_address(address).is_global]


def _of_system_domain() -> list[DnsRecord]:
    """With their status as of its last check: it is checked as every sending domain is."""
    rows = DnsRecord.objects.filter(domain__organization__is_system=True, domain__name=settings.SYSTEM_DOMAIN)
    return list(rows.order_by("position"))


def _look(record: PlatformRecord) -> str:
    try:
        answer = resolver().resolve(f"{record.name}.", record.type, search=False, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return fault_of(record, [])
    except dns.exception.DNSException as error:
        return f"could not be looked up: {error}"
    return fault_of(record, [_text(rdata) for rdata in answer])


def _text(rdata: dns.rdata.Rdata) -> str:
    return b"".join(rdata.strings).decode("utf-8", "replace") if isinstance(rdata, TXTBase) else rdata.to_text()
