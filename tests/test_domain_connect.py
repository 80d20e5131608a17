"""Domain Connect, from discovery to verified: the sandbox's DNS host over real HTTP, DNS over real packets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jsonschema
import pytest
from django.core import signing
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from domains.connect import client as domain_connect
from domains.connect.client import Discovered, discover, may_suggest_dmarc, refresh
from domains.connect.keys import signing_key
from domains.connect.template import KEY_SLOTS, public_key_values, template, wanted
from domains.dkim.keys import create_dkim_key
from domains.guarded_fetch import Answer, GuardedClient, Url
from domains.models import (
    ConnectKey,
    DkimAlgorithm,
    DkimKeyState,
    DnsRecord,
    RecordPurpose,
    SendingDomain,
)
from domains.records import key_record
from relay.sandbox.internet import ZoneRows
from relay.sandbox.models import ZoneRecord
from relay.sandbox.zone import publish_connect_key
from tests.factories import Tenant, make_domain, make_tenant
from tests.platform import REPO
from tests.sandbox_servers import HOST, dns_over, dns_over_database, silent_port

PAGES = "http://testserver"  # what Django's test client calls us


@dataclass
class World:
    """A sandbox with its web server, its DNS, and the public key in it."""

    tenant: Tenant
    settings: Any

    def add(self, name: str = "acme.test") -> SendingDomain:
        domain = make_domain(self.tenant.organization, name, verified=False)
        domain.domain_connect = discover(name)
        domain.save()
        return domain

    def ask(self, domain: SendingDomain) -> str:
        """The link to the host that the page's button leads to."""
        answer = self.tenant.client.get(reverse("domain_connect", args=[domain.pk]))
        assert answer.status_code == 302
        return str(answer["Location"])

    def consent(self, url: str, **form: str) -> str:
        """What the owner does at the host; returns where they are sent back to."""
        page = Client().get(url)
        assert page.status_code == 200, page.content.decode()
        answer = Client().post(url, form)
        assert answer.status_code == 302
        return str(answer["Location"])

    def page(self, domain: SendingDomain) -> str:
        return self.tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()


@pytest.fixture
def world(transactional_db: None, live_server: Any, settings: Any) -> Iterator[World]:
    settings.WEB_URL, settings.WEB_PORT = PAGES, urlsplit(live_server.url).port
    settings.ALLOWED_HOSTS = ["*"]
    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]
        publish_connect_key()
        yield World(make_tenant(), settings)


def zone_rows(*, of: str) -> set[tuple[str, str, str]]:
    rows = ZoneRecord.objects.filter(name__endswith=of).values_list("name", "type", "value")
    return {(name, type_, value.rstrip(".") if type_ == "CNAME" else value) for name, type_, value in rows}


def expected(domain: SendingDomain) -> set[tuple[str, str, str]]:
    return {(record.name, record.type, record.value) for record in domain.records.all()}


# ---- The whole way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["acme.test", "mail.acme.test"])
def test_one_click_and_the_domain_is_verified(world: World, name: str) -> None:
    domain = world.add(name)
    assert "Set up at Sandbox DNS in one click" in world.page(domain)

    url = world.ask(domain)
    query = parse_qs(urlsplit(url).query)
    assert query["domain"] == ["acme.test"]
    assert query.get("host", [""]) == [name.removesuffix("acme.test").rstrip(".")]
    consent = Client().get(url).content.decode()
    for record in domain.records.all():
        assert record.name in consent
    assert zone_rows(of=name) == set()

    back = world.consent(url, connect="")
    assert zone_rows(of=name) == expected(domain)
    answer = world.tenant.client.get(back, follow=True)

    domain.refresh_from_db()
    assert domain.is_verified
    assert answer.redirect_chain == [(reverse("domain", args=[domain.pk]), 302)]
    page = answer.content.decode()
    assert f"Sandbox DNS has added the records: {name} is verified." in page
    assert "in one click" not in page


def test_nothing_is_believed_that_dns_does_not_say(world: World) -> None:
    domain = world.add()
    state = parse_qs(urlsplit(world.ask(domain)).query)["state"][0]

    answer = world.tenant.client.get(reverse("domain_connected", args=[domain.pk]), {"state": state}, follow=True)

    domain.refresh_from_db()
    assert not domain.is_verified
    assert domain.checked_at is not None
    assert "They show here as soon as DNS has them" in answer.content.decode()


def test_a_new_key_is_offered_for_a_verified_domain_and_no_other_record_is_lost(world: World) -> None:
    domain = world.add()
    world.tenant.client.get(world.consent(world.ask(domain), connect=""))
    key = create_dkim_key(domain, DkimAlgorithm.RSA, DkimKeyState.WAITING)
    asked = key_record(domain, key)
    DnsRecord.objects.create(
        domain=domain,
        purpose=asked.purpose,
        dkim_key=key,
        type=asked.type,
        name=asked.name,
        value=asked.value,
        position=9,
    )
    assert "in one click" in world.page(domain)

    world.tenant.client.get(world.consent(world.ask(domain), connect=""))

    assert zone_rows(of="acme.test") == expected(domain)
    assert "in one click" not in world.page(domain)


# ---- DMARC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "policies", "is_suggested"),
    [
        ("acme.test", {}, True),
        ("acme.test", {"_dmarc.acme.test": "v=DMARC1; p=reject"}, False),
        ("acme.test", {"_dmarc.acme.test": "v=DMARC1; p=none; rua=mailto:postmaster@acme.test"}, True),  # ours
        ("mail.acme.test", {"_dmarc.mail.acme.test": "v=DMARC1; p=reject"}, False),
        ("mail.acme.test", {"_dmarc.acme.test": "v=DMARC1; p=reject"}, False),  # it holds for what is below
        ("mail.acme.test", {"_dmarc.other.acme.test": "v=DMARC1; p=reject"}, True),
    ],
)
def test_a_policy_that_is_there_is_never_touched(
    world: World, name: str, policies: dict[str, str], is_suggested: bool
) -> None:
    for at, policy in policies.items():
        ZoneRecord.objects.create(name=at, type="TXT", value=policy)
    domain = world.add(name)

    url = world.ask(domain)
    world.tenant.client.get(world.consent(url, connect=""))

    assert ("dmarc" in parse_qs(urlsplit(url).query)["groupId"][0].split(",")) is is_suggested
    domain.refresh_from_db()
    assert domain.is_verified
    for at, policy in policies.items():
        assert ZoneRecord.objects.get(name=at, type="TXT").value == policy


def test_without_an_answer_no_policy_is_suggested(world: World) -> None:
    domain = world.add()
    assert may_suggest_dmarc(domain)
    ZoneRecord.objects.create(name="_dmarc.acme.test", type="CNAME", value="x.servfail.test.")
    assert not may_suggest_dmarc(domain)


# ---- What the host replaces ------------------------------------------------------------------------------------------


def test_the_host_replaces_what_is_in_the_way_and_nothing_else(world: World) -> None:
    domain = world.add()
    key = domain.records.get(purpose=RecordPurpose.DKIM)
    for at, type_, value in [
        ("_plugsend.acme.test", "TXT", "plugsend-verification=another"),
        ("_plugsend.acme.test", "TXT", "something else"),
        (key.name, "TXT", "v=DKIM1; k=rsa; p=old"),
        ("psrp.acme.test", "TXT", "v=spf1 -all"),
        ("acme.test", "TXT", "v=spf1 mx -all"),
    ]:
        ZoneRecord.objects.create(name=at, type=type_, value=value)

    url = world.ask(domain)
    assert "Replaces TXT" in Client().get(url).content.decode()
    world.consent(url, connect="")

    others = {("_plugsend.acme.test", "TXT", "something else"), ("acme.test", "TXT", "v=spf1 mx -all")}
    assert zone_rows(of="acme.test") == expected(domain) | others


# ---- Not agreed, or not ours -----------------------------------------------------------------------------------------


def test_who_cancels_at_the_host_is_told_so(world: World) -> None:
    domain = world.add()
    back = world.consent(world.ask(domain), cancel="")

    page = world.tenant.client.get(back, follow=True).content.decode()

    assert "You cancelled at Sandbox DNS. Nothing was changed there." in page
    assert zone_rows(of="acme.test") == set()


@pytest.mark.parametrize(
    ("error", "description", "told"),
    [
        ("access_denied", "", "Sandbox DNS did not let it happen"),
        ("access_denied", "user_cancel by button", "You cancelled at Sandbox DNS"),
        ("server_error", "", "Try again in a few minutes"),
        ("temporarily_unavailable", "x", "Try again in a few minutes"),
        ("invalid_request", "missing <b>key</b>", "did not take our request (invalid_request)"),
        ("<script>", "", "did not take our request (unknown error)"),
    ],
)
def test_errors_of_the_host_are_told_in_words(world: World, error: str, description: str, told: str) -> None:
    domain = world.add()
    state = parse_qs(urlsplit(world.ask(domain)).query)["state"][0]
    given = {"state": state, "error": error, "error_description": description}
    page = world.tenant.client.get(reverse("domain_connected", args=[domain.pk]), given, follow=True).content.decode()
    assert told in page
    assert "<script>" not in page.partition("<main")[2]


def test_who_did_not_leave_does_not_come_back(world: World) -> None:
    domain, other = world.add(), world.add("other.test")
    state = parse_qs(urlsplit(world.ask(other)).query)["state"][0]
    colleague_state = signing.dumps(["someone else", str(domain.pk)], salt="domains.connect")
    for wrong in ("", "nonsense", state, colleague_state):
        given = {"state": wrong, "error": "access_denied"}
        world.tenant.client.get(reverse("domain_connected", args=[domain.pk]), given)
    domain.refresh_from_db()
    assert domain.checked_at is None
    assert world.page(domain).count("belongs to no request of yours") == 4


def test_other_organizations_have_no_way_in(world: World) -> None:
    domain = world.add()
    rival = make_tenant("Rival").client
    for view in ("domain_connect", "domain_connected"):
        assert rival.get(reverse(view, args=[domain.pk])).status_code == 404


# ---- The signature ---------------------------------------------------------------------------------------------------


def change_query(url: str, change: Callable[[dict[str, str]], None]) -> str:
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query))
    change(parameters)
    return parts._replace(query=urlencode(parameters)).geturl()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(token="x"),
        lambda p: p.update(domain="victim.test"),
        lambda p: p.update(redirect_uri="https://evil.test/"),
        lambda p: p.update(more="x"),
        lambda p: p.pop("groupId"),
        lambda p: p.pop("sig"),
        lambda p: p.update(sig="AAAA"),
        lambda p: p.update(key="_nobody"),
        lambda p: p.pop("key"),
    ],
)
def test_a_link_that_somebody_changed_does_nothing(world: World, change: Callable[[dict[str, str]], None]) -> None:
    url = change_query(world.ask(world.add()), change)
    page = Client().get(url)
    assert page.status_code == Client().post(url).status_code == 400
    assert "This link does not work" in page.content.decode()
    assert not ZoneRecord.objects.exclude(name__startswith="_dcpubkey").exists()


def test_the_host_wants_the_key_that_dns_has(world: World) -> None:
    domain = world.add()
    ConnectKey.objects.all().delete()  # another key, not published
    assert Client().get(world.ask(domain)).status_code == 400
    publish_connect_key()
    assert Client().get(world.ask(domain)).status_code == 200


@pytest.mark.django_db
def test_the_key_is_made_once_and_sealed() -> None:
    key = signing_key()
    assert signing_key().sign("a=1") == key.sign("a=1")
    stored = bytes(ConnectKey.objects.get().private_key)
    numbers = key.private_key.private_numbers()
    assert numbers.p.to_bytes(128, "big") not in stored
    assert all(len(value) <= 255 for _, value in key.public_records())


# ---- Discovery -------------------------------------------------------------------------------------------------------


def test_what_the_host_tells_is_kept(world: World) -> None:
    found = discover("deep.mail.acme.test")
    assert found == Discovered(
        zone="acme.test",
        provider_id="dns.sandbox.test",
        provider_name="Sandbox DNS",
        url_sync_ux=f"{PAGES}/sandbox/dns-host",
        control_panel="",
        is_supported=True,
    )


def test_hosts_are_asked_side_by_side_and_not_again_for_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    domains = [
        make_domain(world.tenant.organization, name, verified=False) for name in ("one.test", "gone.nxdomain.test")
    ]

    refresh(domains)

    kept = SendingDomain.objects.in_bulk([domain.pk for domain in domains])
    one, gone = (kept[domain.pk].domain_connect for domain in domains)
    assert one == discover("one.test")
    assert gone is None
    SendingDomain.objects.update(domain_connect=None)
    refresh(domains)
    assert set(SendingDomain.objects.values_list("domain_connect", flat=True)) == {None}


def test_outside_the_sandbox_only_public_hosts_are_asked_and_over_tls(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.SANDBOX = False
    with serving({"_domainconnect.acme.test": (("TXT", "127.0.0.1:8443"),)}, settings):
        assert discover("acme.test") is None
        asked = told(monkeypatch, {"/settings": (404, b"")})
        assert discover("acme.test") is None
    assert [(url.scheme, url.authority) for url in asked] == [("https", "127.0.0.1:8443")]


@pytest.mark.django_db
def test_outside_the_sandbox_there_is_no_host_of_ours(client: Client, settings: Any) -> None:
    settings.SANDBOX = False
    for path in ("acme.test/settings", "domainTemplates/providers/plugsend.test/services/sending"):
        assert client.get(f"/sandbox/dns-host/v2/{path}").status_code == 404


def test_a_host_that_does_not_know_our_template_is_not_offered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_connect, "SERVICE_ID", "another")
    domain = world.add()
    assert domain.domain_connect is not None
    assert not domain.domain_connect["is_supported"]
    assert "in one click" not in world.page(domain)
    answer = world.tenant.client.get(reverse("domain_connect", args=[domain.pk]), follow=True)
    assert "cannot add the records by itself" in answer.content.decode()


def told(monkeypatch: pytest.MonkeyPatch, answers: dict[str, tuple[int, bytes]]) -> list[Url]:
    """The host's answers by the end of their path. Returns what is asked for, as it comes."""
    asked: list[Url] = []

    async def request(self: GuardedClient, url: Url, allowance: Any, **_: Any) -> Answer:
        asked.append(url)
        status, body = next(given for path, given in answers.items() if url.target.endswith(path))
        allowance.take(len(body))
        return Answer(status, "", {}, body)

    monkeypatch.setattr(GuardedClient, "request", request)
    return asked


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nonsense", b"[" * 100_000, b'{"a": "' + b"x" * 300_000 + b'"}', b"\xff\xfe", b"null"],
    ids=["empty", "list", "nonsense", "deep", "large", "not utf-8", "null"],
)
def test_nonsense_from_a_host_is_no_offer(body: bytes, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    told(monkeypatch, {"/settings": (200, body)})
    with serving({"_domainconnect.acme.test": (("TXT", "dc.host.test"),)}, settings):
        assert discover("acme.test") is None


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"urlSyncUX": "javascript:alert(1)"}, "url_sync_ux", ""),
        ({"urlSyncUX": "https://user@host.test/"}, "url_sync_ux", ""),
        ({"urlSyncUX": "https://host.test/x?y="}, "url_sync_ux", ""),
        ({"urlSyncUX": None}, "url_sync_ux", ""),
        ({"urlSyncUX": ["https://host.test"]}, "url_sync_ux", ""),
        ({"urlSyncUX": "https://host.test/ux/"}, "url_sync_ux", "https://host.test/ux"),
        ({"urlControlPanel": "https://host.test/?d=%domain%"}, "control_panel", "https://host.test/?d=acme.test"),
        ({"urlControlPanel": "data:text/html,x"}, "control_panel", ""),
        ({"providerDisplayName": "A  \n Brand"}, "provider_name", "A Brand"),
        ({"providerDisplayName": "x" * 999}, "provider_name", "x" * 60),
        ({"providerName": "\ud800", "providerDisplayName": "\u202e"}, "provider_name", "dc.host.test"),
        ({"urlAPI": "ftp://x"}, "is_supported", False),
    ],
)
def test_what_a_host_tells_is_fit_to_be_used(
    change: dict[str, Any], field: str, value: object, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    plain = {"providerName": "Host", "urlSyncUX": "https://host.test", "urlAPI": "https://api.host.test"}
    told(monkeypatch, {"/settings": (200, json.dumps(plain | change).encode()), "/sending": (200, b"")})
    with serving({"_domainconnect.acme.test": (("TXT", "dc.host.test"),)}, settings):
        found: Any = discover("acme.test")
    assert found[field] == value
    json.dumps(found).encode()


@contextmanager
def serving(zone: dict[str, tuple[tuple[str, str], ...]], settings: Any) -> Iterator[None]:
    """A DNS server with these rows."""

    async def lookup(name: str) -> ZoneRows:
        return ZoneRows(zone.get(name, ()))

    with dns_over(lookup) as running:
        settings.DNS_NAMESERVERS = [f"{HOST}:{running.port}"]
        yield


@pytest.mark.parametrize("text", ["", "no host", "https://dc.host.test", "host.test/a?b", "../x", "x" * 3000 + " "])
def test_a_discovery_record_that_names_no_host_is_none(
    text: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    told(monkeypatch, {})
    with serving({"_domainconnect.acme.test": (("TXT", text),)}, settings):
        assert discover("acme.test") is None


def test_hosts_that_are_silent_or_gone_are_none(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_connect, "WITHIN_S", 0.5)
    with silent_port() as silent, serving({"_domainconnect.acme.test": (("TXT", "127.0.0.1:9"),)}, settings):
        assert discover("acme.test") is None
        assert discover("x.servfail.test") is None
        settings.DNS_NAMESERVERS = [f"{HOST}:{silent.getsockname()[1]}"]
        assert discover("acme.test") is None


# ---- The template ----------------------------------------------------------------------------------------------------


@pytest.fixture
def domain(db: None) -> SendingDomain:
    return make_domain(make_tenant().organization, "mail.acme.test", verified=False)


def test_the_template_filled_in_is_what_we_expect_in_dns(domain: SendingDomain) -> None:
    asked = wanted(domain.records.all(), with_dmarc=True)
    assert set(asked.covered) == set(domain.records.all())
    variables = asked.variables | {"fqdn": domain.name}
    filled = set()
    for record in template()["records"]:
        if record["groupId"] in asked.groups:
            text = {key: re.sub("%(.*?)%", lambda m: variables[m[1]], str(value)) for key, value in record.items()}
            filled.add((f"{text['host']}.{domain.name}", record["type"], text.get("data") or text["pointsTo"]))
    assert filled == expected(domain)


def test_keys_beyond_the_slots_are_left_to_the_owner(domain: SendingDomain) -> None:
    for _ in range(4):
        key = create_dkim_key(domain, DkimAlgorithm.RSA, DkimKeyState.RETIRING)
        asked = key_record(domain, key)
        DnsRecord.objects.create(
            domain=domain, purpose=asked.purpose, dkim_key=key, type="TXT", name=asked.name, value=asked.value
        )
    covered = wanted(domain.records.all(), with_dmarc=False).covered
    purposes = [record.purpose for record in covered]
    assert purposes.count("dkim_old") == 1
    assert {"ownership", "return_path", "dkim", "dkim_next", "dkim_ed25519"} < set(purposes)


def test_the_template_keeps_the_rules_of_the_public_repository() -> None:
    """Its schema, as far as our records go, and its "Template Quality Guidelines"."""
    ours = template()
    text = {"type": "string", "minLength": 1}
    common = {"groupId": text, "host": text, "ttl": {"type": "integer"}, "type": {"enum": ["TXT", "CNAME"]}}
    txt = {"data": text, "txtConflictMatchingMode": {"enum": ["All", "Prefix"]}, "txtConflictMatchingPrefix": text}
    essential = {"essential": {"enum": ["Always", "OnApply"]}}
    jsonschema.validate(
        ours,
        {
            "type": "object",
            "required": ["providerId", "providerName", "serviceId", "serviceName", "records", "syncPubKeyDomain"],
            "additionalProperties": False,  # warnPhishing with syncPubKeyDomain is refused
            "properties": {
                **dict.fromkeys(
                    ["providerId", "providerName", "serviceId", "serviceName", "description", "variableDescription",
                     "syncPubKeyDomain", "syncRedirectDomain"], text
                ),
                "version": {"type": "integer"},
                "records": {
                    "type": "array",
                    "items": {
                        "oneOf": [
                            {
                                "properties": {**common, **txt, **essential, "type": {"const": "TXT"}},
                                "required": ["type", "host", "data", "ttl", "groupId", "txtConflictMatchingMode"],
                                "additionalProperties": False,
                            },
                            {
                                "properties": {**common, "pointsTo": text, "type": {"const": "CNAME"}},
                                "required": ["type", "host", "pointsTo", "ttl", "groupId"],
                                "additionalProperties": False,
                            },
                        ]
                    },
                },
            },
        },
    )  # fmt: skip
    assert re.fullmatch("[A-Za-z0-9._-]+", ours["serviceId"])
    for record in ours["records"]:
        value = record.get("data") or record["pointsTo"]
        assert not re.match("%[^%]+%", value), "a bare variable"
        assert not re.fullmatch("%[^%]+%", record["host"]), "a bare variable"
        assert "%host%" not in record["host"]
        assert not value.startswith("v=spf1")
    assert len({slot.group for slot in KEY_SLOTS}) == len(KEY_SLOTS)


def test_the_example_in_the_docs_is_what_the_command_prints(settings: Any) -> None:
    settings.SYSTEM_DOMAIN, settings.RETURN_PATH_TARGET = "plugsend.example", "returns.plugsend.example"
    settings.WEB_URL = "https://app.plugsend.example"
    shown = json.loads((REPO / "docs" / "domain-connect" / "plugsend.example.sending.json").read_text())
    assert shown == template()


@pytest.mark.django_db
def test_the_command_prints_template_and_public_key(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("domain_connect_template")

    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") : said.rindex("}") + 1]) == template()
    for name, value in signing_key().public_records():
        assert f'{name}. IN TXT "{value}"' in said


def test_parts_of_a_public_key_fit_one_string_each() -> None:
    values = public_key_values("k" * 736)  # of 4096 bits
    assert "".join(value.partition("d=")[2] for value in values) == "k" * 736
    assert [value.partition(",")[0] for value in values] == ["p=1", "p=2", "p=3", "p=4"]
    assert all(len(value) < 255 for value in values)
