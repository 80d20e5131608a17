"""The sandbox's DNS in its roles, and its lies, asked by real packets over the real zone."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from dns.rcode import NOERROR, NXDOMAIN, REFUSED, SERVFAIL

from accounts.models import Organization
from domains.models import SendingDomain
from domains.services import add_domain, remove_domain
from domains.verification import check_domain
from relay.sandbox.dns_hosts import DNS_HOSTS, OWN
from relay.sandbox.faults import KINDS
from relay.sandbox.internet import (
    FURTHER_ADDRESSES,
    NAME_SERVERS,
    REGISTRY,
    REGISTRY_SERVER,
    Arrival,
    ZoneRows,
    respond,
)
from relay.sandbox.mistakes import MISTAKES, NAMES, TYPES, VALUES
from relay.sandbox.models import ZoneFault, ZoneRecord
from relay.sandbox.zone import host_of, publish, withdraw
from tests.factories import make_domain, make_tenant
from tests.sandbox_servers import HOST, dns_over_database

pytestmark = pytest.mark.django_db(transaction=True)

FIRST, SECOND, REGISTRYS = HOST, FURTHER_ADDRESSES[2], FURTHER_ADDRESSES[REGISTRY]
TOKEN = "_plugsend.demo.test"
RETURN_PATH = "psrp.demo.test"


class Dns:
    """Asks the server at `port`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def resolver(self, name: str, type_: str, **more: Any) -> dns.message.Message:
        return self.ask(name, type_, HOST, dns.flags.RD, **more)

    def authority(self, name: str, type_: str, at: str = FIRST, **more: Any) -> dns.message.Message:
        return self.ask(name, type_, at, 0, **more)

    def ask(
        self, name: str, type_: str, at: str, flags: int, *, tcp: bool = False, edns: bool = True, timeout_s: float = 5
    ) -> dns.message.Message:
        query = dns.message.make_query(name, type_, use_edns=0 if edns else False, payload=1232)
        query.flags = dns.flags.Flag(flags)
        return (dns.query.tcp if tcp else dns.query.udp)(query, at, port=self.port, timeout=timeout_s)


@pytest.fixture
def zone(transactional_db: None) -> Iterator[Dns]:
    with dns_over_database() as server:
        yield Dns(server.port)


@pytest.fixture
def domain() -> SendingDomain:
    return add_domain(Organization.objects.create(name="Ours"), "demo.test")


def values(response: dns.message.Message, type_: str, section: str = "answer") -> list[str]:
    return sorted(
        rdata.to_text().strip('"').lower()
        for rrset in getattr(response, section)
        if rrset.rdtype == dns.rdatatype.from_text(type_)
        for rdata in rrset
    )


def owner(response: dns.message.Message, section: str = "authority") -> str:
    [rrset] = [rrset for rrset in getattr(response, section) if rrset.rdtype == dns.rdatatype.SOA]
    return str(rrset.name).lower()


def is_set(response: dns.message.Message, *flags: str) -> bool:
    return set(dns.flags.to_text(response.flags).split()) >= set(flags)


def explained(response: dns.message.Message) -> list[int]:
    return [int(option.code) for option in response.options if isinstance(option, dns.edns.EDEOption)]


def token_of(domain: SendingDomain) -> str:
    return domain.records.get(purpose="ownership").value


def fault(kind: str, name: str = "demo.test", **fields: Any) -> ZoneFault:
    return ZoneFault.objects.create(name=name, kind=kind, **fields)


# ---- Roles and zones -------------------------------------------------------------------------------------------------


def test_resolver_and_authority_are_told_apart_by_what_is_desired(zone: Dns) -> None:
    resolved, told = zone.resolver("demo.test", "MX"), zone.authority("demo.test", "MX")
    assert values(resolved, "MX") == values(told, "MX") == ["10 mx.sandbox.test."]
    assert dns.flags.to_text(resolved.flags) == "QR RD RA"
    assert dns.flags.to_text(told.flags) == "QR AA"
    assert is_set(zone.ask("demo.test", "MX", HOST, dns.flags.RD | dns.flags.CD), "RA", "CD")


def test_only_resolvers_follow_an_alias_into_another_zone(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    ZoneRecord.objects.create(name="a.demo.test", type="CNAME", value="b.demo.test.")
    ZoneRecord.objects.create(name="b.demo.test", type="TXT", value="within")
    assert values(zone.resolver(RETURN_PATH, "MX"), "MX") == ["10 mail.plugsend.test."]
    told = zone.authority(RETURN_PATH, "MX")
    assert (values(told, "CNAME"), values(told, "MX")) == (["returns.plugsend.test."], [])
    assert values(zone.authority("a.demo.test", "TXT"), "TXT") == ["within"]


def test_target_of_return_paths_has_what_it_needs(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    spf = ["v=spf1 ip4:127.0.0.1 ip6:::1 -all"]
    assert values(zone.resolver(RETURN_PATH, "TXT"), "TXT") == spf
    for ask in (zone.resolver, zone.authority):
        assert values(ask("returns.plugsend.test", "TXT"), "TXT") == spf
        assert values(ask("returns.plugsend.test", "MX"), "MX") == ["10 mail.plugsend.test."]
        assert values(ask("returns.plugsend.test", "A"), "A") == [HOST]
    assert not values(zone.resolver("psrp.unpublished.test", "A"), "A")  # or it would look like a proxy


@pytest.mark.parametrize(
    ("name", "apex"),
    [
        ("demo.test", "demo.test."),
        ("mail.demo.test", "demo.test."),
        ("_x._y.demo.test", "demo.test."),
        ("deep.below.example.co.uk", "example.co.uk."),
        ("sub.own.test", "sub.own.test."),
        ("_x.sub.own.test", "sub.own.test."),
        ("own.test", "own.test."),
        ("test", "test."),
        ("anything.nxdomain.test", "test."),
    ],
)
def test_apex_of_a_zone_is_found_by_its_soa(zone: Dns, name: str, apex: str) -> None:
    ZoneRecord.objects.create(name="sub.own.test", type="NS", value="ada.ns.cloudflare.com.")
    for ask in (zone.resolver, zone.authority):
        response = ask(name, "SOA")
        assert owner(response, "answer" if f"{name}." == apex else "authority") == apex


def test_domain_has_two_name_servers_at_addresses_of_their_own_or_those_of_its_rows(zone: Dns) -> None:
    assert values(zone.resolver("demo.test", "NS"), "NS") == [f"{server}." for server in NAME_SERVERS]
    assert not values(zone.resolver("mail.demo.test", "NS"), "NS")
    assert [values(zone.resolver(server, "A"), "A") for server in NAME_SERVERS] == [[FIRST], [SECOND]]
    for server in ("ada.ns.cloudflare.com.", "bob.ns.cloudflare.com."):
        ZoneRecord.objects.create(name="demo.test", type="NS", value=server)
    cloudflare = ["ada.ns.cloudflare.com.", "bob.ns.cloudflare.com."]
    assert values(zone.resolver("demo.test", "NS"), "NS") == cloudflare
    assert values(zone.authority("demo.test", "NS"), "NS") == cloudflare
    assert values(zone.resolver("ada.ns.cloudflare.com", "A"), "A") == [HOST]


def test_domain_at_another_dns_host_has_that_ones_name_servers(zone: Dns, domain: SendingDomain) -> None:
    for key, host in DNS_HOSTS.items():
        publish(domain, mistake="servers_disagree", host=key)
        assert host_of(domain) == key
        assert values(zone.resolver("demo.test", "NS"), "NS") == sorted(f"{server}." for server in host.name_servers)
        first, second = (values(zone.resolver(server, "A"), "A")[0] for server in host.name_servers)
        assert values(zone.authority(TOKEN, "TXT", first), "TXT") == [token_of(domain)]
        assert zone.authority(TOKEN, "TXT", second).rcode() == NXDOMAIN
    withdraw(domain)
    assert host_of(domain) == OWN


@pytest.mark.parametrize("at", [FIRST, SECOND])
@pytest.mark.parametrize("tcp", [False, True])
def test_both_name_servers_answer_from_the_zone(zone: Dns, domain: SendingDomain, at: str, tcp: bool) -> None:
    publish(domain)
    assert values(zone.authority(TOKEN, "TXT", at, tcp=tcp), "TXT") == [token_of(domain)]


def test_registry_refers_to_the_name_servers_of_a_domain(zone: Dns) -> None:
    assert values(zone.resolver("test", "NS"), "NS") == [f"{REGISTRY_SERVER}."]
    assert values(zone.resolver(REGISTRY_SERVER, "A"), "A") == [REGISTRYS]
    referral = zone.authority("_x.mail.demo.test", "TXT", REGISTRYS)
    assert not is_set(referral, "AA")
    assert [str(rrset.name) for rrset in referral.authority] == ["demo.test."]
    assert values(referral, "NS", "authority") == [f"{server}." for server in NAME_SERVERS]
    assert values(referral, "A", "additional") == [FIRST, SECOND]
    gone = zone.authority("nxdomain.test", "NS", REGISTRYS)
    assert (gone.rcode(), is_set(gone, "AA"), owner(gone)) == (NXDOMAIN, True, "test.")
    assert is_set(zone.authority("test", "NS", REGISTRYS), "AA")


def test_where_loopback_has_one_address_all_name_servers_are_there() -> None:
    async def nothing(name: str) -> ZoneRows:
        return ZoneRows()

    for server in (*NAME_SERVERS, REGISTRY_SERVER):
        response = asyncio.run(respond(dns.message.make_query(server, "A"), nothing, Arrival(apart=False)))
        assert response is not None
        assert values(response, "A") == [HOST]


def test_server_goes_on_with_one_address_where_loopback_has_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.sandbox.dns_server.FURTHER_ADDRESSES", {2: "192.0.2.2", REGISTRY: "192.0.2.3"})
    with dns_over_database() as server:
        one = Dns(server.port)
        assert "All name servers are at one address" in caplog.text
        assert [values(one.resolver(name, "A"), "A") for name in (*NAME_SERVERS, REGISTRY_SERVER)] == [[HOST]] * 3
        assert values(one.authority("demo.test", "NS"), "NS") == [f"{name}." for name in NAME_SERVERS]


def test_a_zone_with_a_ds_record_is_validated(zone: Dns) -> None:
    ZoneRecord.objects.create(name="signed.test", type="DS", value="1 13 2 " + "AB" * 32)
    ZoneRecord.objects.create(name="signed.test", type="CNAME", value="unsigned.test.")
    ZoneRecord.objects.create(name="_x.signed.test", type="TXT", value="signed")
    wanted = dns.flags.RD | dns.flags.AD
    assert is_set(zone.ask("_x.signed.test", "TXT", HOST, wanted), "AD")
    assert is_set(zone.ask("_none.signed.test", "TXT", HOST, wanted), "AD")
    assert not is_set(zone.ask("signed.test", "MX", HOST, wanted), "AD")  # through an alias into an unsigned zone
    ZoneRecord.objects.create(name="unsigned.test", type="CNAME", value="_x.signed.test.")
    assert not is_set(zone.ask("unsigned.test", "TXT", HOST, wanted), "AD")
    assert not is_set(zone.resolver("_x.signed.test", "TXT"), "AD")  # RFC 6840, 5.8: not asked for
    assert not is_set(zone.ask("_x.demo.test", "TXT", HOST, wanted), "AD")
    assert not is_set(zone.ask("_x.signed.test", "TXT", HOST, dns.flags.AD), "AD")


# ---- Wildcards (RFC 4592) --------------------------------------------------------------------------------------------


def test_wildcard_gives_to_what_does_not_exist_and_no_further(zone: Dns) -> None:
    ZoneRecord.objects.create(name="*.demo.test", type="TXT", value="any")
    ZoneRecord.objects.create(name="_domainkey.demo.test", type="TXT", value="own")
    ZoneRecord.objects.create(name="deep.empty.demo.test", type="TXT", value="deep")

    def at(name: str) -> list[str]:
        response = zone.authority(name, "TXT")
        assert all(str(rrset.name).lower() == f"{name}." for rrset in response.answer)
        return values(response, "TXT")

    assert at("whatever.demo.test") == ["any"]
    assert at("_a._b.demo.test") == ["any"]
    assert at("_domainkey.demo.test") == ["own"]
    assert at("ps1._domainkey.demo.test") == []  # its parent exists
    assert at("empty.demo.test") == []  # an empty non-terminal
    assert at("other.empty.demo.test") == []
    assert at("demo.test") == []
    assert at("whatever.other.test") == []


def test_wildcard_alias_leads_every_name_to_its_target(zone: Dns) -> None:
    ZoneRecord.objects.create(name="*.demo.test", type="CNAME", value="parked.example.")
    ZoneRecord.objects.create(name="parked.example", type="TXT", value="for sale")
    response = zone.resolver("_dmarc.demo.test", "TXT")
    assert values(response, "CNAME") == ["parked.example."]
    assert values(response, "TXT") == ["for sale"]


# ---- Lies ------------------------------------------------------------------------------------------------------------


def test_stale_resolver_counts_down_and_then_tells_the_truth(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    stale = fault(
        "old", TOKEN, role="resolver", rows=[["TXT", "former"]], until=timezone.now() + timedelta(seconds=100)
    )
    response = zone.resolver(TOKEN, "TXT")
    assert values(response, "TXT") == ["former"]
    assert 90 <= response.answer[0].ttl <= 100
    assert values(zone.authority(TOKEN, "TXT"), "TXT") == [token_of(domain)]
    ZoneFault.objects.filter(pk=stale.pk).update(until=timezone.now() + timedelta(seconds=40))
    assert 30 <= zone.resolver(TOKEN, "TXT").answer[0].ttl <= 40
    ZoneFault.objects.filter(pk=stale.pk).update(until=timezone.now())
    assert values(zone.resolver(TOKEN, "TXT"), "TXT") == [token_of(domain)]


def test_resolver_remembers_that_there_was_nothing(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    for name in (TOKEN, RETURN_PATH):
        fault("old", name, role="resolver", until=timezone.now() + timedelta(seconds=100))
    response = zone.resolver(TOKEN, "TXT")
    assert response.rcode() == NXDOMAIN
    [soa] = response.authority
    assert 90 <= min(soa.ttl, soa[0].minimum) <= 100  # RFC 2308, 5
    nothing = zone.resolver(RETURN_PATH, "CNAME")
    assert (nothing.rcode(), nothing.answer) == (NOERROR, [])
    assert values(zone.resolver("_dmarc.demo.test", "TXT"), "TXT")


def test_name_servers_disagree(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    fault("old", TOKEN, role="authority", server=2, rows=[["TXT", "former"]])
    assert values(zone.authority(TOKEN, "TXT", FIRST), "TXT") == [token_of(domain)]
    assert values(zone.authority(TOKEN, "TXT", SECOND), "TXT") == ["former"]
    assert values(zone.resolver(TOKEN, "TXT"), "TXT") == [token_of(domain)]


def test_what_was_there_before_is_told_of_one_name_alone(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    fault("old", "demo.test", role="authority", server=1, rows=[["TXT", "former"]])
    assert values(zone.authority("demo.test", "TXT"), "TXT") == ["former"]
    assert values(zone.authority(TOKEN, "TXT"), "TXT") == [token_of(domain)]


def test_registry_knows_nothing_of_what_is_wrong_at_the_domain(zone: Dns) -> None:
    fault("refused")
    assert zone.authority("demo.test", "NS").rcode() == REFUSED
    referral = zone.authority("demo.test", "NS", REGISTRYS)
    assert values(referral, "NS", "authority") == [f"{server}." for server in NAME_SERVERS]


def test_domain_that_does_not_exist_is_denied_by_everybody_with_all_below(zone: Dns, domain: SendingDomain) -> None:
    publish(domain, mistake="nxdomain")
    for name, type_ in (("demo.test", "NS"), ("demo.test", "SOA"), (TOKEN, "TXT"), ("mail.demo.test", "A")):
        answers = [zone.resolver(name, type_), zone.authority(name, type_), zone.authority(name, type_, REGISTRYS)]
        assert [response.rcode() for response in answers] == [NXDOMAIN] * 3
        assert [owner(response) for response in answers] == ["test."] * 3
    assert zone.resolver("not-demo.test", "MX").rcode() == NOERROR


def test_name_alone_can_be_denied(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    fault("nxdomain", TOKEN)
    assert (zone.authority(TOKEN, "TXT").rcode(), owner(zone.authority(TOKEN, "TXT"))) == (NXDOMAIN, "demo.test.")
    assert values(zone.authority("_dmarc.demo.test", "TXT"), "TXT")


@pytest.mark.parametrize(("kind", "rcode"), [("servfail", SERVFAIL), ("refused", REFUSED), ("upward", NOERROR)])
def test_where_all_authorities_are_of_no_use_resolvers_fail(zone: Dns, kind: str, rcode: dns.rcode.Rcode) -> None:
    fault(kind, role="authority")
    for at in (FIRST, SECOND):
        told = zone.authority(TOKEN, "TXT", at)
        assert (told.rcode(), told.answer) == (rcode, [])
    response = zone.resolver(TOKEN, "TXT")
    assert (response.rcode(), explained(response)) == (SERVFAIL, [22])
    unchecked = zone.ask(TOKEN, "TXT", HOST, dns.flags.RD | dns.flags.CD)
    assert unchecked.rcode() == SERVFAIL  # what makes it different from a failed validation
    assert explained(zone.resolver(TOKEN, "TXT", edns=False)) == []
    assert values(zone.authority("demo.test", "NS", REGISTRYS), "NS", "authority")  # the registry knows nothing of it


@pytest.mark.parametrize(
    ("kind", "rcode"), [("servfail", SERVFAIL), ("refused", REFUSED), ("nxdomain", NXDOMAIN), ("truncated", NOERROR)]
)
def test_resolver_may_be_the_one_that_fails(
    zone: Dns, domain: SendingDomain, kind: str, rcode: dns.rcode.Rcode
) -> None:
    publish(domain)
    fault(kind, role="resolver")
    response = zone.resolver(TOKEN, "TXT")
    assert (response.rcode(), response.answer) == (rcode, [])
    assert values(zone.authority(TOKEN, "TXT"), "TXT") == [token_of(domain)]


def test_lame_authorities_answer_without_aa_or_refer_upward(zone: Dns, domain: SendingDomain) -> None:
    publish(domain)
    lame = fault("lame", role="authority")
    response = zone.authority(TOKEN, "TXT")
    assert values(response, "TXT") == [token_of(domain)]
    assert not is_set(response, "AA")
    assert zone.resolver(TOKEN, "TXT").rcode() == SERVFAIL
    ZoneFault.objects.filter(pk=lame.pk).update(kind="upward", server=2)
    upward = zone.authority(TOKEN, "TXT", SECOND)
    assert not is_set(upward, "AA")
    assert [str(rrset.name) for rrset in upward.authority if rrset.rdtype == dns.rdatatype.NS] == ["."]
    assert is_set(zone.authority(TOKEN, "TXT", FIRST), "AA")
    assert values(zone.resolver(TOKEN, "TXT"), "TXT") == [token_of(domain)]


@pytest.mark.parametrize("tcp", [False, True])
def test_silent_authority_never_answers(zone: Dns, tcp: bool) -> None:
    fault("silent", role="authority", server=2)
    with pytest.raises(dns.exception.Timeout):
        zone.authority(TOKEN, "TXT", SECOND, tcp=tcp, timeout_s=0.1)
    assert zone.authority(TOKEN, "TXT", FIRST).rcode() == NXDOMAIN
    assert zone.resolver(TOKEN, "TXT").rcode() == NXDOMAIN


@pytest.mark.parametrize("code", [6, 9, 10])
def test_failed_validation_is_explained_and_overridden(zone: Dns, domain: SendingDomain, code: int) -> None:
    publish(domain)
    fault("bogus", ede=code)
    response = zone.resolver(TOKEN, "TXT")
    assert (response.rcode(), explained(response), response.answer) == (SERVFAIL, [code], [])
    unchecked = zone.ask(TOKEN, "TXT", HOST, dns.flags.RD | dns.flags.CD)
    assert values(unchecked, "TXT") == [token_of(domain)]
    assert values(zone.authority(TOKEN, "TXT"), "TXT") == [token_of(domain)]


def test_what_is_cut_over_udp_comes_whole_over_tcp(zone: Dns, domain: SendingDomain) -> None:
    publish(domain, mistake="truncated")
    for ask in (zone.resolver, zone.authority):
        cut = ask(TOKEN, "TXT")
        assert is_set(cut, "TC")
        assert not cut.answer
        assert values(ask(TOKEN, "TXT", tcp=True), "TXT") == [token_of(domain)]


def test_gravest_fault_shows(zone: Dns) -> None:
    for kind in ("truncated", "servfail", "nxdomain"):
        fault(kind)
    assert zone.authority(TOKEN, "TXT").rcode() == SERVFAIL


# ---- Mistakes --------------------------------------------------------------------------------------------------------


def held() -> list[tuple[str, str, str]]:
    return list(ZoneRecord.objects.order_by("name", "type", "value").values_list("name", "type", "value"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_changes_what_dns_says_and_leaves_nothing_behind(domain: SendingDomain, mistake: str) -> None:
    ZoneRecord.objects.create(name="demo.test", type="TXT", value="kept")
    ZoneRecord.objects.create(name="demo.test", type="NS", value="ada.ns.cloudflare.com.")
    before = held()
    publish(domain)
    right = held()

    publish(domain, mistake=mistake)
    assert (held(), ZoneFault.objects.exists()) != (right, False)
    assert len({name for name, type_, _ in held() if type_ == "CNAME"}) == sum(
        type_ == "CNAME" for _, type_, _ in held()
    )
    aliases = {name for name, type_, _ in held() if type_ == "CNAME"}
    assert not any(name in aliases for name, type_, _ in held() if type_ != "CNAME")  # RFC 1034, 3.6.2

    publish(domain)
    assert (held(), ZoneFault.objects.exists()) == (right, False)
    publish(domain, mistake=mistake)
    withdraw(domain)
    assert (held(), ZoneFault.objects.exists()) == (before, False)
    publish(domain, mistake=mistake)
    remove_domain(domain)
    assert (held(), ZoneFault.objects.exists()) == (before, False)


@pytest.mark.parametrize("mistake", [one.name for one in MISTAKES.values() if one.group in {NAMES, VALUES, TYPES}])
def test_domain_with_a_mistake_in_its_records_is_not_verified(
    zone: Dns, domain: SendingDomain, mistake: str, settings: Any
) -> None:
    settings.DNS_NAMESERVERS = [f"{HOST}:{zone.port}"]
    publish(domain, mistake=mistake)
    assert not check_domain(domain).is_verified
    publish(domain)
    assert check_domain(domain).is_verified


def test_values_of_some_mistakes(zone: Dns, domain: SendingDomain) -> None:
    def asked(purpose: str) -> tuple[str, str]:
        record = domain.records.get(purpose=purpose)
        return record.name, record.value

    def shown(name: str, type_: str = "TXT") -> list[bytes]:
        return [b"".join(rdata.strings) for rrset in zone.authority(name, type_, tcp=True).answer for rdata in rrset]

    dkim, key = asked("dkim")
    token = token_of(domain).encode()
    publish(domain, mistake="doubled_name")
    assert shown(f"{TOKEN}.demo.test") == [token]
    publish(domain, mistake="underscore_refused")
    assert shown("plugsend.demo.test") == [token]
    assert shown(dkim.replace("_", "")) == [key.encode()]
    publish(domain, mistake="name_empty")
    assert {token, key.encode()} <= set(shown("demo.test"))
    publish(domain, mistake="quotes")
    assert shown(TOKEN) == [b'"' + token + b'"']
    publish(domain, mistake="key_cut_off")
    assert shown(dkim) == [key[:255].encode()]
    publish(domain, mistake="key_part_lost")
    [lost] = shown(dkim)
    at = key.index("p=") + 2 + 64
    assert lost.decode() == key[:at] + key[at + 64 :]
    publish(domain, mistake="key_in_two_records")
    assert sorted(shown(dkim), key=len, reverse=True) == [key[:255].encode(), key[255:].encode()]
    publish(domain, mistake="two_dkim")
    assert len(shown(dkim)) == 2
    publish(domain, mistake="keys_swapped")
    assert shown(dkim) == [asked("dkim_next")[1].encode()]
    publish(domain, mistake="no_policy")
    assert shown("_dmarc.demo.test") == [b"v=DMARC1; rua=mailto:postmaster@demo.test"]
    publish(domain, mistake="target_doubled")
    assert values(zone.authority(RETURN_PATH, "CNAME"), "CNAME") == ["returns.plugsend.test.demo.test."]
    publish(domain, mistake="proxied")
    assert values(zone.resolver(RETURN_PATH, "A"), "A") == ["192.0.2.10", "192.0.2.11"]
    assert not values(zone.resolver(RETURN_PATH, "CNAME"), "CNAME")
    publish(domain, mistake="cached_old")
    assert values(zone.resolver(RETURN_PATH, "CNAME"), "CNAME") == ["returns.another-service.example."]
    assert 170 <= zone.resolver(RETURN_PATH, "CNAME").answer[0].ttl <= 180
    assert values(zone.authority(RETURN_PATH, "CNAME"), "CNAME") == ["returns.plugsend.test."]
    publish(domain, mistake="spf_too_many_lookups")
    [spf] = shown("demo.test")
    assert all(shown(part.removeprefix("include:")) for part in spf.decode().split()[1:-1])


def test_of_two_who_publish_at_once_the_later_one_has_it_all(domain: SendingDomain) -> None:
    def publish_with(mistake: str) -> None:
        try:
            publish(domain, mistake=mistake)
        finally:
            connection.close()

    outcomes = []
    for mistake in ("quotes", "doubled_name"):
        publish(domain, mistake=mistake)
        outcomes.append(held())
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(publish_with, mistake) for mistake in ("quotes", "doubled_name") * 8]:
            done.result(20)
    assert held() in outcomes


def test_names_too_long_for_dns_are_not_published() -> None:
    long = ".".join(["l" * 60] * 3 + ["x" * 40, "test"])
    domain = add_domain(Organization.objects.create(name="Ours"), long)
    assert publish(domain, mistake="doubled_name") == 0


def test_faults_of_whoever_had_the_domain_before_go_when_it_is_published_anew(domain: SendingDomain) -> None:
    publish(domain, mistake="silent")
    other = add_domain(Organization.objects.create(name="Theirs"), "demo.test")
    publish(other)
    assert not ZoneFault.objects.exists()
    remove_domain(domain)  # what is in the zone now is the other's
    assert ZoneRecord.objects.filter(name=TOKEN).count() == 1


def test_the_page_about_lies_names_them_all(settings: Any) -> None:
    page = (settings.BASE_DIR / "docs" / "sandbox-dns.md").read_text()
    told = [*((one.name, one.words) for one in MISTAKES.values()), *KINDS.items()]
    assert [name for name, words in told if f"| `{name}` | {words} |" not in page] == []


# ---- Pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(zone: Dns, settings: Any) -> Any:
    settings.DNS_NAMESERVERS = [f"{HOST}:{zone.port}"]
    tenant = make_tenant()
    domain = make_domain(tenant.organization, "demo.test", verified=False)

    def post(view: str, **data: str) -> str:
        return tenant.client.post(reverse(view, args=[domain.pk]), data, follow=True).content.decode()

    post.domain = domain  # type: ignore[attr-defined]
    return post


def test_page_offers_every_mistake_and_publishes_with_it(page: Any) -> None:
    shown = page("sandbox:publish", mistake="quotes", host="cloudflare")
    assert '<option value="cloudflare" selected' in shown
    assert all(f'value="{name}"' in shown for name in MISTAKES)
    assert "Published in the sandbox zone with a mistake: quotation marks inside the values." in shown
    assert ZoneRecord.objects.filter(name=TOKEN, value__startswith='"').exists()
    assert "You can send from any address" in page("sandbox:publish")
    assert "You can send from any address" in page("sandbox:publish", mistake="")


def test_page_takes_the_records_away_again(page: Any) -> None:
    page("sandbox:publish")
    assert "taken out of the sandbox zone" in page("sandbox:withdraw")
    assert not ZoneRecord.objects.exists()
    assert page.domain.records.get(purpose="ownership").status == "missing"


def test_unknown_mistake_is_told_and_publishes_nothing(page: Any) -> None:
    assert "There is no such mistake" in page("sandbox:publish", mistake="typo")
    assert "There is no such mistake or DNS host" in page("sandbox:publish", host="typo")
    assert not ZoneRecord.objects.exists()


def test_outside_the_sandbox_there_is_nothing_of_this(page: Any, settings: Any) -> None:
    settings.SANDBOX = False
    tenant = make_tenant("Other")
    domain = make_domain(tenant.organization, "other.test")
    shown = tenant.client.get(reverse("domain", args=[domain.pk])).content.decode()
    assert "andbox zone" not in shown
    assert tenant.client.post(reverse("sandbox:withdraw", args=[domain.pk])).status_code == 404
