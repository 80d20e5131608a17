"""Whose name servers a domain has, and how records are typed into that DNS host's form. No look-ups.

What is said of a host's form was true when it was written; where menus were not certain, the steps are general. A host
that lends its name servers to others under their names (white label) is not recognised: `UNKNOWN` fits everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from domains.names import registrable_part

if TYPE_CHECKING:
    from domains.models import DnsRecord, SendingDomain

STRING_OCTETS = 255  # of a TXT record; RFC 1035, 3.3


@dataclass(frozen=True, slots=True)
class DnsHost:
    """`servers`: what the names of its name servers end in, or, from “^” to “$”, a pattern for the whole name.

    `page`: where its DNS is edited; `{zone}` stands for the domain. `names`: whether its form wants the name below the domain
    or the whole. `adds_domain`: whether it completes names by itself. `apex`: what to type for the domain itself, empty: leave
    the field empty. `quotes`: TXT values are typed as quoted strings of at most 255 octets. `final_dot`: a CNAME's target is
    typed with a dot at its end. `proxy`: how to switch off what answers in a CNAME's place. `way`: to the form, step by step.
    `pitfall`: what else goes wrong there. `has_form`: somebody types the records.
    """

    key: str
    name: str
    servers: tuple[str, ...] = ()
    page: str = ""
    way: tuple[str, ...] = ()
    names: Literal["relative", "full"] = "relative"
    adds_domain: bool = True
    apex: str = "@"
    quotes: bool = False
    final_dot: bool = False
    proxy: str = ""
    pitfall: str = ""
    has_form: bool = True

    @property
    def at(self) -> str:
        """For use in a sentence."""
        return f"at {self.name}" if self.is_known else "at your DNS host"

    @property
    def is_known(self) -> bool:
        return self is not UNKNOWN

    def page_for(self, zone: str) -> str:
        return self.page.replace("{zone}", zone)


UNKNOWN = DnsHost(
    "unknown",
    "your DNS host",
    way=(
        "Sign in where your domain’s DNS is managed: as a rule where you bought the domain, or where its website is.",
        "Find the page that lists the domain’s records. It is called DNS, DNS records, zone or name server settings.",
        "Add each record: choose its type, and copy name and value from below.",
    ),
    pitfall="Look at a record that is there already: if its name is written without your domain, leave the domain out of "
    "the new names too.",
)

_ADD = "Add each record: choose its type, and copy name and value from below."

HOSTS = (
    DnsHost(
        "cloudflare", "Cloudflare", ("ns.cloudflare.com",), "https://dash.cloudflare.com/?to=/:account/:zone/dns/records",
        ("Choose the domain, then DNS › Records.", "Press Add record, choose the type, and copy name and value from below.",
         "For the CNAME, set Proxy status to “DNS only”: the cloud must be grey.", "Press Save."),
        proxy="Edit the record at Cloudflare and set Proxy status to “DNS only”: the orange cloud must turn grey.",
    ),
    DnsHost(
        "godaddy", "GoDaddy", ("domaincontrol.com",), "https://dcc.godaddy.com/control/portfolio",
        ("Choose the domain, then DNS.", "Press Add New Record, choose the type, and copy name and value from below.",
         "Press Save."),
    ),
    DnsHost(
        "namecheap", "Namecheap", ("registrar-servers.com",),
        "https://ap.www.namecheap.com/domains/domaincontrolpanel/{zone}/advancedns",
        ("In Domain List press Manage beside the domain, then open Advanced DNS.",
         "Under Host Records press Add New Record and choose TXT Record or CNAME Record.",
         "Copy the name into Host and the value into Value or Target, and save with the green check mark."),
    ),
    DnsHost(
        "route53", "Amazon Route 53", (r"^ns-\d+\.awsdns-\d+\.(com|net|org|co\.uk)$",),
        "https://console.aws.amazon.com/route53/v2/hostedzones",
        ("Open the hosted zone of the domain.", "Press Create record, and copy name and value from below.",
         "TXT values need quotation marks, and the DKIM keys are split into two quoted strings on one line: the values "
         "below are ready for that.", "Press Create records."),
        apex="", quotes=True,
        pitfall="A domain may have several hosted zones of the same name. Only the one whose NS record names the domain’s "
        "name servers counts. Domains of Amazon Lightsail are edited there, under Domains & DNS.",
    ),
    DnsHost(
        "google", "Google Cloud DNS, Squarespace or Shopify", ("googledomains.com",), "",
        ("The name servers are Google’s. Three DNS hosts use them; go to the one where you have the domain.",
         "Squarespace (also for domains that came from Google Domains): account.squarespace.com/domains, the domain, DNS, "
         "DNS Settings, Custom records.",
         "Shopify: in the admin Settings › Domains, the domain, DNS settings.",
         "Google Cloud: Network services › Cloud DNS, the zone, Add standard. There a CNAME’s target ends in a dot, and the "
         "DKIM keys go in as two quoted strings on one line.",
         _ADD),
    ),
    DnsHost(
        "squarespace", "Squarespace", ("squarespacedns.com",), "https://account.squarespace.com/domains",
        ("Choose the domain, then DNS › DNS Settings.", "Under Custom records press Add record.",
         "Choose the type, copy name and value from below, and save."),
    ),
    DnsHost(
        "azure", "Azure DNS", (r"^ns\d+-\d+\.azure-dns\.(com|net|org|info)$",),
        "https://portal.azure.com/#browse/Microsoft.Network%2FdnsZones",
        ("Open the DNS zone of the domain.", "Press Record set (or Recordsets, then Add), and choose the type.",
         "Copy name and value from below, and press OK or Add."),
    ),
    DnsHost(
        "digitalocean", "DigitalOcean", ("digitalocean.com",), "https://cloud.digitalocean.com/networking/domains/{zone}",
        ("Open Networking › Domains and choose the domain.", "Open the tab TXT or CNAME, copy name and value from below.",
         "Press Create Record."),
        final_dot=True,
    ),
    DnsHost(
        "hetzner", "Hetzner", ("ns.hetzner.com", "ns.hetzner.de", "first-ns.de", "second-ns.de", "second-ns.com",
                               "your-server.de"),
        "https://console.hetzner.com/",
        ("Open the domain’s DNS zone: in Hetzner Console under DNS, for web hosting in konsoleH.",
         "Press Add record, choose the type, and copy name and value from below."),
        final_dot=True, pitfall="A target without a dot at its end is taken for a name inside your domain.",
    ),
    DnsHost(
        "ovh", "OVHcloud", ("ovh.net", "ovh.ca", "anycast.me"), "https://www.ovh.com/manager/",
        ("Under Web Cloud › Domain names choose the domain, then DNS zone.",
         "Press Add an entry, choose the type, and copy name and value from below.", "Press Confirm."),
        final_dot=True, apex="", pitfall="A target without a dot at its end is taken for a name inside your domain.",
    ),
    DnsHost(
        "ionos", "IONOS", ("ui-dns.com", "ui-dns.de", "ui-dns.org", "ui-dns.biz"), "https://my.ionos.com/domains",
        ("Choose the domain, then DNS.", "Press Add record, choose the type, and copy name and value from below.",
         "Press Save."),
    ),
    DnsHost(
        "gandi", "Gandi", ("gandi.net",), "https://admin.gandi.net/domain",
        ("Choose the domain, then DNS Records.", "Press Add, choose the type, and copy name and value from below.",
         "Press Create."),
        final_dot=True, pitfall="A target without a dot at its end is taken for a name inside your domain.",
    ),
    DnsHost(
        "porkbun", "Porkbun", ("porkbun.com",), "https://porkbun.com/account/domainsSpeedy",
        ("Beside the domain press DNS.", "Choose the type, copy name and value from below, and press Add."),
        apex="", pitfall="Porkbun’s own parking records answer for all names until you delete them.",
    ),
    DnsHost(
        "name_com", "Name.com", ("name.com",), "https://www.name.com/account/domain",
        ("Choose the domain, then Manage DNS Records.", "Choose the type, copy name and value from below.",
         "Press Add Record."),
        apex="",
    ),
    DnsHost(
        "hover", "Hover", ("hover.com",), "https://www.hover.com/control_panel",
        ("Choose the domain, then DNS.", "Press Add a record, choose the type, and copy name and value from below."),
    ),
    DnsHost(
        "vercel", "Vercel", ("vercel-dns.com", "zeit.world"), "https://vercel.com/dashboard/domains",
        ("Choose the domain. Its DNS records are on that page.",
         "Choose the type, copy name and value from below, and press Add."),
        apex="",
    ),
    DnsHost(
        "ns1", "Netlify or NS1", ("nsone.net",), "",
        ("The name servers are NS1’s, which Netlify uses too; go to the one where you have the domain.",
         "Netlify: app.netlify.com, Domains, the domain, DNS records, Add new record.",
         "NS1: my.nsone.net, the zone, Add record.", _ADD),
    ),
    DnsHost(
        "dnsimple", "DNSimple", ("dnsimple.com", "dnsimple-edge.net", "dnsimple-edge.org", "dnsimple-edge.com"),
        "https://dnsimple.com/login",
        ("Choose the domain, then DNS.", "Press Manage beside DNS records, then Add record, and choose the type.",
         "Copy name and value from below, and press Add Record."),
        apex="",
    ),
    DnsHost(
        "wix", "Wix", ("wixdns.net",), "https://manage.wix.com/account/domains",
        ("Open the domain’s actions (the three dots) and choose Manage DNS Records.",
         "In the section of the type press Add Record, and copy name and value from below.", "Press Save."),
    ),
    DnsHost(
        "wordpress_com", "WordPress.com", ("wordpress.com",), "https://wordpress.com/domains/manage",
        ("Choose the domain, open DNS records and press Manage.",
         "Press Add a record, choose the type, and copy name and value from below.", "Press Add DNS record."),
        apex="",
    ),
    DnsHost(
        "strato", "STRATO", ("rzone.de",), "https://www.strato.de/apps/CustomerService",
        ("Open the package, then Domains › Domainverwaltung, and the domain’s settings (Verwalten).",
         "Open the tab DNS and edit “TXT- und CNAME-Records”.", "Copy name and value from below, and save."),
        apex="",
    ),
    DnsHost(
        "hostinger", "Hostinger", ("dns-parking.com", "hostinger.com"), "https://hpanel.hostinger.com/domains",
        ("Choose the domain, then DNS / Nameservers.", "Under Manage DNS records choose the type.",
         "Copy name and value from below, and press Add Record."),
    ),
    DnsHost(
        "bluehost", "Bluehost", ("bluehost.com",), "https://my.bluehost.com/",
        ("Open Domains, choose the domain, then DNS.", _ADD),
    ),
    DnsHost(
        "hostgator", "HostGator", ("hostgator.com", "websitewelcome.com"), "https://portal.hostgator.com/",
        ("Open cPanel › Zone Editor and press Manage beside the domain.",
         "Press Add Record, choose the type, and copy name and value from below.", "Press Save Record."),
        names="full",
    ),
    DnsHost(
        "linode", "Akamai Cloud (Linode)", ("linode.com",), "https://cloud.linode.com/domains",
        ("Choose the domain.", "In the section of the type press Add, and copy name and value from below.", "Press Save."),
        apex="",
    ),
    DnsHost(
        "akamai", "Akamai Edge DNS", ("akam.net",), "https://control.akamai.com/",
        ("Open Edge DNS and choose the zone.", _ADD, "Submit the change list: until then nothing is published."),
        names="full", adds_domain=False,
    ),
    DnsHost(
        "vultr", "Vultr", ("vultr.com",), "https://my.vultr.com/dns/",
        ("Choose the domain.", "Choose the type, and copy name and value from below. TXT values need quotation marks."),
        apex="", quotes=True,
    ),
    DnsHost(
        "netcup", "netcup", ("root-dns.netcup.net", "second-dns.netcup.net", "third-dns.netcup.net"),
        "https://www.customercontrolpanel.de/",
        ("Open Domains, press the magnifying glass beside the domain, and choose DNS.",
         "Copy name (Host), type and value (Destination) into an empty line, and save."),
        final_dot=True, pitfall="netcup publishes changes some minutes after they are saved.",
    ),
    DnsHost(
        "inwx", "INWX", (r"^ns\d*\.inwx\.(de|eu|net|com|ch|at)$", r"^ns\d*\.domrobot\.com$"), "https://www.inwx.com/",
        ("Open Nameserver and choose the domain.", "Press New record, choose the type, and copy name and value from below."),
        apex="",
    ),
    DnsHost(
        "one_com", "one.com", (r"^ns\d+\.one\.com$",), "https://www.one.com/admin/",
        ("Open the domain’s Advanced settings, then DNS settings › DNS records.",
         "Under Create new record choose the type, and copy name and value from below.", "Press Create record."),
        apex="",
    ),
    DnsHost(
        "loopia", "Loopia", ("loopia.se",), "https://customerzone.loopia.com/",
        ("Choose the domain and open its DNS editor.",
         "Add the name as a subdomain first, then the record below it, with type and value from below."),
    ),
    DnsHost(
        "dnsmadeeasy", "DNS Made Easy", ("dnsmadeeasy.com",), "https://cp.dnsmadeeasy.com/",
        ("Open DNS › Managed DNS and choose the domain.",
         "In the section of the type press the plus sign, and copy name and value from below."),
        apex="", final_dot=True, pitfall="A target without a dot at its end is taken for a name inside your domain.",
    ),
    DnsHost("constellix", "Constellix", ("constellix.com", "constellix.net"), "https://dns.constellix.com/",
            ("Choose the domain.", _ADD), apex="", final_dot=True),
    DnsHost(
        "easydns", "easyDNS", ("easydns.com", "easydns.net", "easydns.org", "easydns.info", "easydns.ca"),
        "https://cp.easydns.com/",
        ("Press DNS beside the domain.", "In the section of the type press Edit, and copy name and value from below.",
         "Press Next, then Confirm: until then nothing is published."),
    ),
    DnsHost(
        "dreamhost", "DreamHost", ("dreamhost.com",), "https://panel.dreamhost.com/",
        ("Open Websites › DNS (or Manage Websites), and choose DNS Settings beside the domain.",
         "Press Add Record, choose the type, and copy name and value from below."),
        apex="",
    ),
    DnsHost(
        "domeneshop", "Domeneshop", ("hyp.net",), "https://domene.shop/admin",
        ("Choose the domain, then DNS records (DNS-pekere).", "Choose the advanced view if it is offered.", _ADD),
    ),
    DnsHost(
        "transip", "TransIP", ("transip.net", "transip.nl", "transip.eu"), "https://www.transip.nl/cp/",
        ("Choose the domain, then DNS.", "Add a line with type, name and value from below, and save."),
        final_dot=True, pitfall="A target without a dot at its end is taken for a name inside your domain.",
    ),
    DnsHost(
        "infomaniak", "Infomaniak", ("infomaniak.ch", "infomaniak.com"), "https://manager.infomaniak.com/",
        ("Open Domains, choose the domain, then DNS zone.", "Press Add a record, choose the type, and copy name and value."),
        apex="",
    ),
    DnsHost(
        "register_it", "Register.it", ("register.it",), "https://controlpanel.register.it/",
        ("Choose the domain, then Domain & DNS › DNS configuration, advanced.", _ADD),
        names="full",
    ),
    DnsHost(
        "aruba", "Aruba", ("technorail.com", "arubadns.net", "arubadns.cz"), "https://admin.aruba.it/",
        ("Choose the domain and open its DNS management (Gestione DNS e Name Server).", _ADD),
    ),
    DnsHost(
        "network_solutions", "Network Solutions", ("worldnic.com",), "https://www.networksolutions.com/",
        ("Sign in, choose the domain, and open Advanced DNS Records (Manage).", _ADD),
    ),
    DnsHost(
        "fastmail", "Fastmail", ("messagingengine.com",), "https://app.fastmail.com/settings/domains",
        ("Choose the domain and open its DNS records.", "Add a custom record with type, name and value from below."),
        apex="",
    ),
    DnsHost(
        "dynadot", "Dynadot", ("dynadot.com", "dyna-ns.net"), "https://www.dynadot.com/account/",
        ("Choose the domain, then DNS Settings, and Dynadot DNS.",
         "Put the records into Subdomain Records, not Domain Record: copy name, type and value from below.", "Press Save DNS."),
    ),
    DnsHost(
        "spaceship", "Spaceship", (r"^launch\d\.spaceship\.net$",), "https://www.spaceship.com/",
        ("Sign in, open Advanced DNS, and choose the domain.",
         "Press Add record, choose the type, and copy name and value from below."),
    ),
    DnsHost(
        "alibaba", "Alibaba Cloud DNS", ("hichina.com", "alidns.com"), "https://dns.console.aliyun.com/",
        ("Choose the domain.", "Press Add Record, choose the type, and copy name and value from below."),
    ),
    DnsHost(
        "dnspod", "DNSPod", ("dnspod.net", "dnspod.com", r"^.*\.dnsv[1-5]\.com$"), "https://console.dnspod.cn/",
        ("Choose the domain.", "Press Add record, choose the type, and copy name and value from below."),
    ),
    DnsHost("oracle", "Oracle Cloud DNS", ("dynect.net", "oraclecloud.net"), "https://cloud.oracle.com/",
            ("Open Networking › DNS management › Zones, and choose the zone.", _ADD,
             "Publish the changes: until then they are a draft."),
            names="full", apex=""),
    DnsHost("ultradns", "UltraDNS", ("ultradns.com", "ultradns.net", "ultradns.org", "ultradns.info", "ultradns.biz",
                                     "ultradns.co.uk"), "https://portal.ultradns.com/",
            ("Choose the zone.", _ADD), names="full", final_dot=True),
    DnsHost("desec", "deSEC", ("desec.io", "desec.org"), "https://desec.io/domains",
            ("Choose the domain.", "Press the plus sign, choose the type, and copy name and value from below."),
            apex="", quotes=True, final_dot=True),
    DnsHost("cloudns", "ClouDNS", ("cloudns.net", "cloudns.uk"), "https://www.cloudns.net/main/",
            ("Choose the zone.", "Press Add new record, choose the type, and copy name and value from below."), apex=""),
    DnsHost(
        "hurricane_electric", "Hurricane Electric", (r"^ns\d\.he\.net$",), "https://dns.he.net/",
        ("Press Edit zone beside the domain.", "Choose the tab of the type, and copy name and value from below.",
         "Press Submit."),
        names="full",
    ),
    DnsHost("njalla", "Njalla", ("njalla.no", "njalla.in", "njalla.fo"), "https://njal.la/domains/",
            ("Choose the domain.", "Press Add record, choose the type, and copy name and value from below.")),
    DnsHost("scaleway", "Scaleway", ("dom.scw.cloud",), "https://console.scaleway.com/domains/",
            ("Choose the domain, then DNS zones, and the zone.", _ADD), apex="", final_dot=True),
    DnsHost("simply", "Simply.com", ("simply.com", "unoeuro.com"), "https://www.simply.com/en/controlpanel/",
            ("Choose the product of the domain, then DNS.", _ADD)),
    DnsHost("fasthosts", "Fasthosts", ("livedns.co.uk",), "https://admin.fasthosts.co.uk/",
            ("Open Domains, choose the domain, then DNS, Advanced.", _ADD)),
    DnsHost("siteground", "SiteGround", ("siteground.net", "siteground.us", "siteground.eu", "siteground.biz"),
            "https://my.siteground.com/",
            ("Open the site’s Site Tools, then Domain › DNS Zone Editor.", "Choose the tab of the type, and copy name and "
             "value from below.", "Press Create.")),
    DnsHost("all_inkl", "ALL-INKL.COM", ("kasserver.com",), "https://kas.all-inkl.com/",
            ("Open Tools › DNS settings and edit the domain.", "Press “create new DNS entry”, and copy name, type and value "
             "from below."), apex="", final_dot=True),
    DnsHost("host_europe", "Host Europe", ("hosteurope.de", "hosteurope.com"), "https://kis.hosteurope.de/",
            ("Open the domain administration and edit the domain’s name server entries.", _ADD)),
    DnsHost("united_domains", "united-domains", ("udag.de", "udagdns.de", "udagdns.net", "ud-dns.de"),
            "https://www.united-domains.de/",
            ("Sign in, open the domain portfolio, and the domain’s DNS (Nameserver) settings.", _ADD)),
    DnsHost("rackspace", "Rackspace", ("stabletransit.com", "dns1.rackspace.com", "dns2.rackspace.com"),
            "https://mycloud.rackspace.com/", ("Open Networking › Cloud DNS and choose the domain.", _ADD), names="full"),
    DnsHost(
        "sandbox", "the sandbox", ("sandbox.test",), "",
        ("This PlugSend runs in sandbox mode and answers for all of DNS itself.",
         "Press “Publish these records in the sandbox zone” on this page."),
        adds_domain=False, has_form=False,
    ),
)  # fmt: skip

BY_KEY = {host.key: host for host in (*HOSTS, UNKNOWN)}


def recognise(name_servers: Iterable[str]) -> DnsHost:
    """The DNS host that has more than half of the name servers; UNKNOWN when there is none."""
    names = {name.strip().rstrip(".").lower() for name in name_servers}
    counted = Counter(host.key for name in names if (host := _host_of(name)))
    key, count = next(iter(counted.most_common(1)), ("unknown", 0))
    return BY_KEY[key] if count * 2 > len(names) else UNKNOWN


def _host_of(name_server: str) -> DnsHost | None:
    return next((host for host in HOSTS if any(_matches(name_server, one) for one in host.servers)), None)


def _matches(name_server: str, pattern: str) -> bool:
    if pattern.startswith("^"):
        return re.match(pattern, name_server) is not None
    return name_server == pattern or name_server.endswith("." + pattern)


# ---- What to type ----------------------------------------------------------------------------------------------------


def typed_name(record_name: str, zone_apex: str, host: DnsHost = UNKNOWN) -> str:
    """What to type as the name of a record. Empty: the field stays empty. Empty apex: that of the registered domain."""
    apex = zone_apex or registrable_part(record_name)
    if record_name == apex:
        return record_name if host.names == "full" else host.apex
    return record_name if host.names == "full" else record_name.removesuffix("." + apex)


def typed_value(type_: str, value: str, host: DnsHost = UNKNOWN) -> str:
    """What to type as the value of a record."""
    if type_ == "CNAME":
        return f"{value.rstrip('.')}." if host.final_dot else value
    return quoted(value) if host.quotes else value


def quoted(value: str) -> str:
    """A TXT's value as quoted strings (RFC 1035, 5.1). For ASCII, of which all that we ask for is made."""
    parts = [value[at : at + STRING_OCTETS] for at in range(0, len(value), STRING_OCTETS)] or [""]
    return " ".join(f'"{part}"' for part in parts)


# ---- On the domain's page --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypedRecord:
    """A record as it is typed at a DNS host."""

    type: str
    name: str
    value: str


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """For templates/domains/parts/host.html. `dns_host` is None while the name servers are not known."""
    if not domain.nameservers:
        return {"dns_host": None}
    host = recognise(domain.nameservers)
    return {
        "dns_host": host,
        "dns_host_page": host.page_for(domain.zone or registrable_part(domain.name)),
        "dns_host_hints": hints(host),
    }


def typed(record: DnsRecord, domain: SendingDomain) -> TypedRecord:
    """What to type at the domain's DNS host; where that is not known, the record as it is."""
    host = recognise(domain.nameservers)
    if not (host.is_known and host.has_form):
        return TypedRecord(record.type, record.name, record.value)
    name = typed_name(record.name, domain.zone, host)
    return TypedRecord(record.type, name, typed_value(record.type, record.value, host))


def hints(host: DnsHost) -> Sequence[str]:
    """What to mind in the form, beside its steps."""
    said = []
    if host.is_known and host.adds_domain and host.names == "relative":
        said.append(f"{host.name} adds your domain to each name by itself: type the names as they stand below.")
    elif host.names == "full":
        said.append("Type whole names here, with your domain at the end.")
    if host.final_dot:
        said.append("Type the CNAME’s target with a dot at its end.")
    if host.quotes:
        said.append("TXT values are typed in quotation marks; the copy buttons put them there.")
    return [*said, *([host.pitfall] if host.pitfall else [])]
