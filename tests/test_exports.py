"""A domain's records as zone file, Terraform and JSON: other programs read back exactly what is expected in DNS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import dns.rdatatype
import dns.zone
import hcl2
import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from domains.exports import (
    PROVIDERS,
    STRING_OCTETS,
    ExportedRecord,
    RecordSet,
    as_data,
    record_set,
    split_text,
    terraform,
    usual_provider,
    zone_file,
)
from domains.models import RecordPurpose, RecordStatus, SendingDomain
from tests.factories import Tenant, make_domain, make_tenant
from tests.foreign_clients import need
from tests.rest import make_api, refused

HOSTILE = [
    'say "v=DKIM1"; p=\\x\\\\',
    "semicolons; and (brackets) $ORIGIN @ * \t tabs",
    "bücher.例え.🐎",
    "${var.secret} %{ if true } $${x} %%{y} # // /*",
    "line\none\rtwo\x00\x7f\u2028",
    "",
    "a" * 255 + '"' * 255 + "b",
    "é" * 300,
]


def make_set(*values: str) -> RecordSet:
    texts = [
        ExportedRecord(
            f"dkim_s{n}", "TXT", f"s{n}._domainkey.mail", f"s{n}._domainkey.mail.acme.test", value, "dkim", True
        )
        for n, value in enumerate(values)
    ]
    alias = ExportedRecord(
        "return_path", "CNAME", "psrp.mail", "psrp.mail.acme.test", "returns.plugsend.test", "return_path", True
    )
    return RecordSet("mail.acme.test", "acme.test", (*texts, alias))


def contents(records: RecordSet) -> dict[str, tuple[str, str]]:
    return {record.fqdn: (record.type, record.value) for record in records.records}


# ---- Zone file -------------------------------------------------------------------------------------------------------

HEAD = "@ 3600 IN SOA ns.acme.test. hostmaster.acme.test. 1 3600 600 86400 300\n@ 3600 IN NS ns.elsewhere.test.\n"


def read_zone(text: str) -> dict[str, tuple[str, str]]:
    """By dnspython: type and value of each name, below the zone's own records."""
    zone = dns.zone.from_text(HEAD + text, origin="acme.test.", relativize=False)
    found = {}
    for name, _, rdata in zone.iterate_rdatas():
        if rdata.rdtype == dns.rdatatype.TXT:
            assert all(len(part) <= STRING_OCTETS for part in rdata.strings)
            found[name.to_text(True)] = ("TXT", b"".join(rdata.strings).decode())
        elif rdata.rdtype == dns.rdatatype.CNAME:
            found[name.to_text(True)] = ("CNAME", rdata.target.to_text(True))
    return found


@pytest.mark.parametrize("value", HOSTILE)
def test_a_zone_file_says_exactly_the_values(value: str) -> None:
    records = make_set(value)
    assert read_zone(zone_file(records)) == contents(records)


@given(st.text(max_size=900))
def test_any_text_survives_the_zone_file(value: str) -> None:
    records = make_set(value)
    assert read_zone(zone_file(records)) == contents(records)


@given(st.text(max_size=900))
def test_strings_are_as_long_as_they_may_be_and_cut_no_character(value: str) -> None:
    parts = split_text(value)
    assert "".join(part.decode() for part in parts) == value
    assert all(STRING_OCTETS - 3 <= len(part) <= STRING_OCTETS for part in parts[:-1])


def test_bind_takes_the_zone_file(tmp_path: Path) -> None:
    need(shutil.which("named-checkzone"), "named-checkzone")
    path = tmp_path / "acme.test.zone"
    path.write_text(HEAD + zone_file(make_set(*HOSTILE)))
    run = subprocess.run(
        ["named-checkzone", "-D", "-o", "-", "acme.test", str(path)], capture_output=True, text=True, timeout=20
    )
    assert run.returncode == 0, run.stdout + run.stderr
    compiled = "\n".join(line for line in run.stdout.splitlines() if " IN " in line)
    zone = dns.zone.from_text(compiled, origin="acme.test.", relativize=False)
    said = zone.get_rdataset("s0._domainkey.mail.acme.test.", "TXT")
    assert b"".join(said[0].strings).decode() == HOSTILE[0]


# ---- Terraform -------------------------------------------------------------------------------------------------------


def literal(expression: str) -> str:
    """The value of a quoted template without interpolation (HCL native syntax specification)."""
    assert (expression[0], expression[-1]) == ('"', '"')
    body = re.sub(r'\\u([0-9a-f]{4})|\\(["\\])', lambda m: chr(int(m[1], 16)) if m[1] else m[2], expression[1:-1])
    assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", body), "it would be evaluated"
    return body.replace("$${", "${").replace("%%{", "%{")


def unquoted(text: str, base: int = 10) -> str:
    """The text of quoted character-strings with numbers of that base."""
    octets = bytearray()
    for part in re.findall(r'"((?:[^"\\]|\\.)*)"', text, re.DOTALL):
        for number, escaped, plain in re.findall(r"\\(\d{3})|\\(.)|([^\\])", part, re.DOTALL):
            octets += bytes([int(number, base)]) if number else (escaped or plain).encode()
    return octets.decode()


def resources(text: str) -> list[tuple[str, dict[str, Any]]]:
    read: Any = hcl2.loads(text)
    return [
        (literal(kind), attributes)
        for resource in read.get("resource", [])
        for kind, named in resource.items()
        if not kind.startswith("__")
        for attributes in (block for label, block in named.items() if not label.startswith("__"))
    ]


def values_of(provider: str, text: str) -> dict[str, tuple[str, str]]:
    """What each resource would put into DNS, as the provider's documentation says it reads its attributes."""
    if provider == "generic":
        read: Any = hcl2.loads(text)
        [entries] = [value for key, value in read["locals"][0].items() if not key.startswith("__")]
        return {literal(e["fqdn"]): (literal(e["type"]), literal(e["value"])) for e in entries.values()}
    found = {}
    for kind, attributes in resources(text):
        name = literal(attributes["name"])
        if provider in {"azure", "digitalocean", "hetzner"}:
            name = f"{name}.acme.test"
        type_ = "CNAME" if "cname" in kind else literal(attributes["type"]) if "type" in attributes else "TXT"
        match provider:
            case "cloudflare":
                value = literal(attributes["content"])
                value = unquoted(value) if type_ == "TXT" else value
            case "aws":
                value = literal(attributes["records"][0])
                value = unquoted(f'"{value}"', 8) if type_ == "TXT" else value
            case "google":
                assert name.endswith(".")
                value = literal(attributes["rrdatas"][0])
                value = unquoted(value) if type_ == "TXT" else value
            case "azure":
                value = literal(attributes["record"] if type_ == "CNAME" else attributes["record"][0]["value"])
            case "digitalocean":
                value = literal(attributes["value"])
            case "hetzner":
                value = literal(attributes["records"][0]["value"])
                value = unquoted(value) if type_ == "TXT" else value
        if type_ == "CNAME" and provider in {"google", "digitalocean", "hetzner"}:
            assert value.endswith("."), "else the host would add the zone"
        found[name.rstrip(".")] = (type_, value.rstrip(".") if type_ == "CNAME" else value)
    return found


@pytest.mark.parametrize("provider", PROVIDERS)
def test_terraform_reads_exactly_the_values(provider: str) -> None:
    records = make_set(*HOSTILE)
    assert values_of(provider, terraform(records, provider)) == contents(records)


@given(st.text(max_size=300))
def test_any_text_survives_terraform(value: str) -> None:
    records = make_set(value)
    for provider in ("aws", "generic"):
        assert values_of(provider, terraform(records, provider)) == contents(records)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_files_of_several_domains_can_stand_side_by_side(provider: str) -> None:
    """In one module no name may be there twice."""
    one, other = make_set("a"), make_set("b")
    other = RecordSet("news.acme.test", "acme.test", other.records)
    text = terraform(one, provider) + terraform(other, provider)
    names = re.findall(r"^(?:resource|variable|data) .*|^  \w+ = \{$", text, re.M)
    assert len(names) == len(set(names)) > 0


def test_the_provider_is_the_one_that_is_usual_at_the_dns_host() -> None:
    assert (usual_provider("cloudflare"), usual_provider("route53")) == ("cloudflare", "aws")
    assert usual_provider("") == usual_provider("somewhere_else") == "generic"


# ---- Of a domain -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    return make_domain(tenant.organization, "mail.acme.test", verified=False)


def expected(domain: SendingDomain) -> dict[str, tuple[str, str]]:
    return {record.name: (record.type, record.value) for record in domain.records.all()}


def test_all_forms_tell_what_is_asked_for(domain: SendingDomain) -> None:
    records = record_set(domain, domain.records.all())

    assert read_zone(zone_file(records)) == expected(domain)
    for provider in PROVIDERS:
        assert values_of(provider, terraform(records, provider)) == expected(domain)
    data = as_data(records)
    assert (data["domain"], data["zone"]) == ("mail.acme.test", "acme.test")
    assert {r["fqdn"]: (r["type"], r["value"]) for r in data["records"]} == expected(domain)
    assert all(f"{r['name']}.acme.test" == r["fqdn"] for r in data["records"])
    assert all("".join(r["strings"]) == r["value"] for r in data["records"] if r["type"] == "TXT")


def test_names_are_relative_to_the_zone_that_dns_told(domain: SendingDomain) -> None:
    domain.zone = "mail.acme.test"
    assert {record.name for record in record_set(domain, domain.records.all()).records} >= {"_plugsend", "psrp"}
    domain.zone = "elsewhere.test"  # nonsense
    assert "_plugsend.mail" in {record.name for record in record_set(domain, domain.records.all()).records}


def test_a_policy_that_is_there_gets_no_second_one_beside_it(domain: SendingDomain) -> None:
    def has_dmarc() -> bool:
        records = record_set(domain, domain.records.all())
        return any(record.purpose == RecordPurpose.DMARC for record in records.records)

    dmarc = domain.records.filter(purpose=RecordPurpose.DMARC)
    assert has_dmarc()
    dmarc.update(status=RecordStatus.FOUND, found=["v=DMARC1; p=reject"])
    assert not has_dmarc()
    dmarc.update(found=[dmarc.get().value])
    assert has_dmarc()


def test_a_key_keeps_its_name_in_terraform_when_its_turn_comes(domain: SendingDomain) -> None:
    before = terraform(record_set(domain, domain.records.all()), "aws")
    domain.records.filter(purpose=RecordPurpose.DKIM_NEXT).update(purpose=RecordPurpose.DKIM)
    after = terraform(record_set(domain, domain.records.all()), "aws")
    names = re.compile(r"^resource .*", re.M)
    assert names.findall(before) == names.findall(after)


# ---- Pages and REST --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "content_type", "ending"),
    [
        ("domain_records_zone", "text/dns; charset=utf-8", "zone"),
        ("domain_records_terraform", "text/plain; charset=utf-8", "tf"),
        ("domain_records_json", "application/json", "json"),
    ],
)
def test_the_page_offers_each_form_to_members_only(
    tenant: Tenant, domain: SendingDomain, view: str, content_type: str, ending: str
) -> None:
    url = reverse(view, args=[domain.pk])
    assert url in tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()

    answer = tenant.client.get(url)

    assert answer["Content-Type"] == content_type
    assert answer["Content-Disposition"] == f'attachment; filename="mail.acme.test.{ending}"'
    assert make_tenant("Rival").client.get(url).status_code == 404


def test_the_provider_can_be_chosen(tenant: Tenant, domain: SendingDomain) -> None:
    url = reverse("domain_records_terraform", args=[domain.pk])
    assert "google_dns_record_set" in tenant.client.get(url, {"provider": "google"}).content.decode()
    shown = tenant.client.get(url, {"provider": "google"}, headers={"HX-Request": "true"}).content.decode()
    assert "google_dns_record_set" in shown
    assert "?provider=google" in shown
    assert tenant.client.get(url, {"provider": "nobody"}).status_code == 404


def test_rest_gives_each_form(tenant: Tenant, domain: SendingDomain) -> None:
    api = make_api(tenant.organization)
    records = record_set(domain, domain.records.all())
    path = f"domains/{domain.pk}/records"

    assert api.get(path).json() == api.get(f"{path}?format=json").json() == json.loads(json.dumps(as_data(records)))
    zone = api.get(f"{path}?format=zone")
    assert (zone["Content-Type"], zone.content.decode()) == ("text/dns; charset=utf-8", zone_file(records))
    chosen = api.get(f"{path}?format=terraform&provider=aws")
    assert (chosen["Content-Type"], chosen.content.decode()) == (
        "text/plain; charset=utf-8",
        terraform(records, "aws"),
    )
    domain.dns_host = "cloudflare"
    domain.save()
    assert "cloudflare_dns_record" in api.get(f"{path}?format=terraform").content.decode()
    refused(api.get(f"{path}?format=xml"), 422, "validation_failed", "/format")
    refused(api.get(f"{path}?format=terraform&provider=nobody"), 422, "validation_failed", "/provider")
    refused(api.get(f"{path}?form=zone"), 422, "validation_failed", "/form")
