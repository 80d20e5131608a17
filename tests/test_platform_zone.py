"""The records of the platform's own zone: printed, read back by a parser of zone files, and looked for in DNS."""

from __future__ import annotations

import re

import dns.zone
import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from accounts.models import Organization
from domains.models import DnsRecord, RecordStatus
from domains.platform_zone import PlatformRecord, fault_of, platform_records, sources_of, zone_file
from domains.services import add_domain
from relay.models import IpPool, SourceAddress
from tests.dns_zone import SERVFAIL
from tests.served_zone import zone_of

NAME, TARGET = "mail.example.com", "returns.example.com"
RECORDS = platform_records(
    NAME, TARGET, sources_of(NAME, ["203.0.113.5", "2001:db8::5"], [("203.0.113.6", "mta2.example.com")])
)
SPF = "v=spf1 ip4:203.0.113.5 ip6:2001:db8::5 ip4:203.0.113.6 -all"


def short(records: list[PlatformRecord]) -> list[tuple[str, str, str]]:
    return [(record.name, record.type, record.value) for record in records]


def test_records_of_an_installation() -> None:
    assert short(RECORDS) == [
        ("mail.example.com", "A", "203.0.113.5"),
        ("mail.example.com", "AAAA", "2001:db8::5"),
        ("mta2.example.com", "A", "203.0.113.6"),
        ("returns.example.com", "MX", "10 mail.example.com"),
        ("returns.example.com", "TXT", SPF),
        ("mail.example.com", "TXT", "v=spf1 a -all"),
        ("mta2.example.com", "TXT", "v=spf1 a -all"),
        ("5.113.0.203.in-addr.arpa", "PTR", "mail.example.com"),
        ("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR", "mail.example.com"),
        ("6.113.0.203.in-addr.arpa", "PTR", "mta2.example.com"),
    ]


def test_zone_file_is_one() -> None:
    many = sources_of("mail.example.com", [f"203.0.113.{number}" for number in range(40)])
    records = platform_records("mail.example.com", "returns.example.com", many)
    zone = dns.zone.from_text(zone_file(records), origin="example.com.", relativize=False, check_origin=False)
    told = {
        (name.to_text(True), rdata.rdtype.name, rdata.to_text().replace('" "', "").strip('"').rstrip("."))
        for name, _, rdata in zone.iterate_rdatas()
    }
    assert told == {one for one in short(records) if one[1] != "PTR"}
    assert zone_file(records).count("IN PTR mail.example.com.") == 40


def test_one_name_for_all_has_one_spf_record() -> None:
    records = platform_records("mail.example.com.", "MAIL.example.com", sources_of("mail.example.com", ["203.0.113.5"]))
    assert [record.value for record in records if record.type == "TXT"] == ["v=spf1 ip4:203.0.113.5 -all"]


BY_TYPE = {record.type: record for record in reversed(RECORDS)} | {"TXT": RECORDS[4]}


@pytest.mark.parametrize(
    ("type_", "found", "fault"),
    [
        ("A", ["203.0.113.5", "203.0.113.9"], ""),
        ("A", ["203.0.113.9"], "holds 203.0.113.9 instead"),
        ("AAAA", ["2001:DB8:0:0::5"], ""),
        ("A", [], "is missing"),
        ("MX", ["20 Mail.Example.com."], ""),
        ("MX", ["10 mx.other.test."], "leads to mx.other.test instead"),
        ("PTR", ["MAIL.example.com."], ""),
        ("PTR", ["host-5.isp.test."], "names host-5.isp.test instead"),
        ("TXT", [SPF], ""),
        ("TXT", ["v=spf1 ip4:203.0.113.0/24 ip6:2001:db8::/32 ~all", "other text"], ""),
        ("TXT", ["v=spf1 include:_spf.example.com -all"], ""),
        ("TXT", ["v=spf1 ip4:203.0.113.5 -all"], "does not hold ip6:2001:db8::5, ip4:203.0.113.6"),
        (
            "TXT",
            ["v=spf1 -ip4:203.0.113.0/24 ip6:2001:db8::/32 -all"],
            "does not hold ip4:203.0.113.5, ip4:203.0.113.6",
        ),
        ("TXT", ["other text"], "has 0 SPF records instead of one"),
        ("TXT", [SPF, SPF], "has 2 SPF records instead of one"),
        (
            "TXT",
            ["v=spf1 ipv4:203.0.113.5 -all"],
            "has a mistake at character 8: “ipv4:203.0.113.5” is no mechanism of SPF",
        ),
    ],
)
def test_what_dns_holds_is_judged(type_: str, found: list[str], fault: str) -> None:
    told = fault_of(BY_TYPE[type_], found)
    assert told.startswith(fault) if "mistake" in fault else told == fault


# ---- The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def system_record(db: None, settings: Settings) -> DnsRecord:
    settings.HOSTNAME, settings.RETURN_PATH_TARGET = "mail.example.com", "returns.example.com"
    settings.SYSTEM_DOMAIN = "example.com"
    domain = add_domain(Organization.objects.create(name="PlugSend", is_system=True), "example.com")
    domain.records.update(status=RecordStatus.FOUND)
    return domain.records.get(purpose="return_path")


def test_command_prints_the_zone(system_record: DnsRecord, capsys: pytest.CaptureFixture[str]) -> None:
    SourceAddress.objects.create(
        pool=IpPool.objects.create(name="main"), address="203.0.113.6", ehlo_name="mta2.example.com"
    )
    call_command("platform_records", "--address", "203.0.113.5", "--address", "2001:db8::5")
    printed = capsys.readouterr().out
    assert f'returns.example.com. 3600 IN TXT "{SPF}"' in printed
    assert "psrp.example.com. 3600 IN CNAME returns.example.com." in printed
    assert re.search(r'_domainkey\.example\.com\. 3600 IN TXT "v=DKIM1; k=rsa; p=[^"]+" "[^"]+"', printed)
    dns.zone.from_text(printed, origin="example.com.", check_origin=False)


def test_command_wants_addresses(system_record: DnsRecord) -> None:
    with pytest.raises(CommandError, match="does not appear to be an IPv4 or IPv6 address"):
        call_command("platform_records", "--address", "mail.example.com")


def test_command_checks(system_record: DnsRecord, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    rows: dict[str, list[str] | str] = {
        f"{NAME} A": ["203.0.113.5"],
        f"{TARGET} MX": [f"10 {NAME}."],
        f"{TARGET} TXT": ['"v=spf1 ip4:203.0.113.0/24 " "-all"'],
        f"{NAME} TXT": ['"v=spf1 a -all"'],
        "5.113.0.203.in-addr.arpa PTR": [f"{NAME}."],
    }
    with zone_of(settings, rows) as zone:
        call_command("platform_records", "--address", "203.0.113.5", "--check")
        assert "All is as it should be." in capsys.readouterr().out

        zone.rows |= {f"{NAME} A": ["203.0.113.9"], f"{TARGET} MX": SERVFAIL}
        del zone.rows["5.113.0.203.in-addr.arpa PTR"]
        with pytest.raises(SystemExit) as ended:
            call_command("platform_records", "--address", "203.0.113.5", "--check")
        assert ended.value.code == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"WRONG A {NAME} holds 203.0.113.9 instead"
        assert lines[1].startswith(f"WRONG MX {TARGET} could not be looked up: ")
        assert lines[2:] == [
            f"ok    TXT {TARGET}",
            f"ok    TXT {NAME}",
            "WRONG PTR 5.113.0.203.in-addr.arpa is missing",
        ]


def test_command_tells_what_its_own_domain_lacks(
    system_record: DnsRecord, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    system_record.status, system_record.explanation = RecordStatus.MISSING, "There is no CNAME record yet."
    system_record.save()
    with zone_of(settings, {}), pytest.raises(SystemExit):
        call_command("platform_records", "--address", "203.0.113.5", "--check")
    assert "WRONG CNAME psrp.example.com missing. There is no CNAME record yet." in capsys.readouterr().out
