"""DNS hosts are recognised by their name servers, and what is typed into their forms is right for each."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.diagnosis.hosts import (
    BY_KEY,
    HOSTS,
    UNKNOWN,
    DnsHost,
    hints,
    page_part,
    quoted,
    recognise,
    typed_name,
    typed_value,
)
from domains.models import SendingDomain
from tests.factories import Tenant, make_domain, make_tenant

SEEN = {
    "cloudflare": "ada.ns.cloudflare.com bob.ns.cloudflare.com",
    "godaddy": "ns01.domaincontrol.com ns02.domaincontrol.com",
    "namecheap": "dns1.registrar-servers.com dns2.registrar-servers.com",
    "route53": "ns-2048.awsdns-64.com ns-1.awsdns-00.net ns-1024.awsdns-00.org ns-1536.awsdns-00.co.uk",
    "google": "ns-cloud-a1.googledomains.com ns-cloud-a2.googledomains.com",
    "squarespace": "ns01.squarespacedns.com ns02.squarespacedns.com",
    "azure": "ns1-08.azure-dns.com ns2-08.azure-dns.net ns3-08.azure-dns.org ns4-08.azure-dns.info",
    "digitalocean": "ns1.digitalocean.com ns2.digitalocean.com",
    "hetzner": "hydrogen.ns.hetzner.com oxygen.ns.hetzner.com helium.ns.hetzner.de",
    "ovh": "dns19.ovh.net ns19.ovh.net",
    "ionos": "ns1045.ui-dns.com ns1045.ui-dns.de ns1045.ui-dns.org ns1045.ui-dns.biz",
    "gandi": "ns-1-a.gandi.net ns-2-b.gandi.net ns-3-c.gandi.net",
    "porkbun": "curitiba.ns.porkbun.com fortaleza.ns.porkbun.com",
    "name_com": "ns1cvw.name.com ns2cvw.name.com",
    "hover": "ns1.hover.com ns2.hover.com",
    "vercel": "ns1.vercel-dns.com ns2.vercel-dns.com",
    "ns1": "dns1.p01.nsone.net dns2.p01.nsone.net",
    "dnsimple": "ns1.dnsimple.com ns2.dnsimple-edge.net ns3.dnsimple.com ns4.dnsimple-edge.org",
    "wix": "ns10.wixdns.net ns11.wixdns.net",
    "wordpress_com": "ns1.wordpress.com ns2.wordpress.com",
    "strato": "docks01.rzone.de shades01.rzone.de",
    "hostinger": "ns1.dns-parking.com ns2.dns-parking.com",
    "bluehost": "ns1.bluehost.com ns2.bluehost.com",
    "hostgator": "ns6001.hostgator.com ns6002.hostgator.com",
    "linode": "ns1.linode.com ns2.linode.com",
    "akamai": "a1-64.akam.net a20-65.akam.net",
    "vultr": "ns1.vultr.com ns2.vultr.com",
    "netcup": "root-dns.netcup.net second-dns.netcup.net third-dns.netcup.net",
    "inwx": "ns.inwx.de ns2.inwx.de ns3.inwx.eu",
    "one_com": "ns01.one.com ns02.one.com",
    "loopia": "ns1.loopia.se ns2.loopia.se",
    "dnsmadeeasy": "ns10.dnsmadeeasy.com ns11.dnsmadeeasy.com",
    "constellix": "ns11.constellix.com ns41.constellix.net",
    "easydns": "dns1.easydns.com dns2.easydns.net dns3.easydns.org dns4.easydns.info",
    "dreamhost": "ns1.dreamhost.com ns2.dreamhost.com",
    "domeneshop": "ns1.hyp.net ns2.hyp.net",
    "transip": "ns0.transip.net ns1.transip.nl ns2.transip.eu",
    "infomaniak": "ns11.infomaniak.ch ns12.infomaniak.ch",
    "register_it": "ns1.register.it ns2.register.it",
    "aruba": "dns.technorail.com dns2.technorail.com dns3.arubadns.net dns4.arubadns.cz",
    "network_solutions": "ns1.worldnic.com ns2.worldnic.com",
    "fastmail": "ns1.messagingengine.com ns2.messagingengine.com",
    "dynadot": "ns1.dyna-ns.net ns2.dyna-ns.net",
    "spaceship": "launch1.spaceship.net launch2.spaceship.net",
    "alibaba": "dns9.hichina.com dns10.hichina.com",
    "dnspod": "f1g1ns1.dnspod.net ns3.dnsv2.com ns4.dnsv2.com",
    "oracle": "ns1.p68.dns.oraclecloud.net ns2.p68.dns.oraclecloud.net",
    "ultradns": "udns1.ultradns.com pdns2.ultradns.net",
    "desec": "ns1.desec.io ns2.desec.org",
    "cloudns": "pns31.cloudns.net pns32.cloudns.net",
    "hurricane_electric": "ns1.he.net ns2.he.net ns3.he.net",
    "njalla": "1-you.njalla.no 2-can.njalla.in 3-get.njalla.fo",
    "scaleway": "ns0.dom.scw.cloud ns1.dom.scw.cloud",
    "simply": "ns1.simply.com ns2.simply.com",
    "fasthosts": "ns1.livedns.co.uk ns2.livedns.co.uk",
    "siteground": "ns1.siteground.net ns2.siteground.net",
    "all_inkl": "ns5.kasserver.com ns6.kasserver.com",
    "host_europe": "ns1.hans.hosteurope.de ns2.hans.hosteurope.de",
    "united_domains": "ns.udag.de ns.udagdns.net",
    "rackspace": "dns1.stabletransit.com dns2.stabletransit.com",
    "sandbox": "ns1.dns.sandbox.test ns2.dns.sandbox.test",
}


@pytest.mark.parametrize("key", [host.key for host in HOSTS])
def test_host_is_recognised_by_its_name_servers(key: str) -> None:
    names = SEEN[key].split()
    assert recognise(names) is BY_KEY[key]
    assert recognise([f"{name.upper()}." for name in names]) is BY_KEY[key]


@pytest.mark.parametrize(
    "names",
    [
        [],
        [""],
        ["ns1.example.com", "ns2.example.com"],  # white label
        ["notcloudflare.com", "ns.cloudflare.com.example"],
        ["x.badname.com", "ns1.somename.com"],  # not Name.com
        ["ada.ns.cloudflare.com", "ns01.domaincontrol.com"],  # both must be edited: no one host's steps will do
    ],
)
def test_others_are_unknown(names: list[str]) -> None:
    assert recognise(names) is UNKNOWN


def test_most_of_the_name_servers_decide() -> None:
    assert recognise(["ada.ns.cloudflare.com", "bob.ns.cloudflare.com", "ns1.example.com"]).key == "cloudflare"


@pytest.mark.parametrize("host", [*HOSTS, UNKNOWN], ids=lambda host: host.key)
def test_host_can_be_shown(host: DnsHost) -> None:
    page = urlsplit(host.page_for("example.com"))
    assert (page.scheme, bool(page.hostname)) == ("https", True) or not host.page
    assert "{" not in host.page_for("example.com")
    assert host.way
    assert all(step.endswith((".", "…")) for step in (*host.way, *hints(host)))
    assert len(host.key) <= 40
    assert len(BY_KEY) == len(HOSTS) + 1


@pytest.mark.parametrize(
    ("name", "apex", "key", "typed"),
    [
        ("_plugsend.example.com", "example.com", "cloudflare", "_plugsend"),
        ("_plugsend.mail.example.com", "example.com", "cloudflare", "_plugsend.mail"),
        ("_plugsend.mail.example.com", "mail.example.com", "cloudflare", "_plugsend"),
        ("ps1._domainkey.example.co.uk", "", "unknown", "ps1._domainkey"),
        ("_dmarc.example.com", "example.com", "hurricane_electric", "_dmarc.example.com"),
        ("example.com", "example.com", "cloudflare", "@"),
        ("example.com", "example.com", "route53", ""),
        ("example.com", "example.com", "hurricane_electric", "example.com"),
        ("_dmarc.notexample.com", "example.com", "cloudflare", "_dmarc.notexample.com"),
    ],
)
def test_name_is_typed_as_the_form_wants_it(name: str, apex: str, key: str, typed: str) -> None:
    assert typed_name(name, apex, BY_KEY[key]) == typed


@given(st.text("abcdefghijk-_", min_size=1, max_size=20), st.sampled_from([*HOSTS, UNKNOWN]))
def test_what_is_typed_comes_out_as_the_name(label: str, host: DnsHost) -> None:
    typed = typed_name(f"{label}.example.com", "example.com", host)
    assert (typed if host.names == "full" else f"{typed}.example.com") == f"{label}.example.com"


def test_value_is_typed_as_the_form_wants_it() -> None:
    assert typed_value("CNAME", "returns.example.net", BY_KEY["hetzner"]) == "returns.example.net."
    assert typed_value("CNAME", "returns.example.net", BY_KEY["cloudflare"]) == "returns.example.net"
    assert typed_value("TXT", "v=DMARC1; p=none", BY_KEY["route53"]) == '"v=DMARC1; p=none"'
    assert typed_value("TXT", "v=DMARC1; p=none", UNKNOWN) == "v=DMARC1; p=none"


@given(st.text("abc=; +/", max_size=800))
def test_quoted_strings_hold_the_value_in_parts_that_fit(value: str) -> None:
    parts = quoted(value).removeprefix('"').removesuffix('"').split('" "')
    assert "".join(parts) == value
    assert all(len(part) <= 255 for part in parts)


# ---- On the page -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tenant(db: Any) -> Tenant:
    return make_tenant()


@pytest.fixture
def domain(tenant: Tenant) -> SendingDomain:
    return make_domain(tenant.organization, "mail.example.com", verified=False)


def page_of(tenant: Tenant, domain: SendingDomain, **known: Any) -> str:
    SendingDomain.objects.filter(pk=domain.pk).update(**known)
    return str(tenant.client.get(f"/domains/{domain.pk}/").content.decode())


def test_page_shows_the_host_with_its_steps(tenant: Tenant, domain: SendingDomain) -> None:
    page = page_of(tenant, domain, zone="example.com", nameservers=SEEN["namecheap"].split())
    assert "Open DNS at Namecheap" in page
    assert 'href="https://ap.www.namecheap.com/domains/domaincontrolpanel/example.com/advancedns"' in page
    assert "Steps at Namecheap" in page
    assert 'data-copy="_plugsend.mail"' in page


def test_page_has_general_steps_for_a_host_that_nobody_knows(tenant: Tenant, domain: SendingDomain) -> None:
    page = page_of(tenant, domain, zone="example.com", nameservers=["ns1.white-label.example"])
    assert "Not recognised by the name servers ns1.white-label.example." in page
    assert "Steps that fit most DNS hosts" in page
    assert "Open DNS at" not in page


def test_page_says_what_is_wrong_with_the_zone(tenant: Tenant, domain: SendingDomain) -> None:
    assert "example.com does not exist." in page_of(tenant, domain, zone_explanation="example.com does not exist.")


def test_page_shows_nothing_before_the_name_servers_are_known(tenant: Tenant, domain: SendingDomain) -> None:
    assert page_part(domain) == {"dns_host": None}
    assert "host-heading" not in page_of(tenant, domain)
