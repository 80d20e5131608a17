"""The DNS hosts that a domain of the sandbox can be at: by their name servers it is recognised as theirs. No I/O.

The sandbox's own two name servers play those of each: the first and the second.
"""

from dataclasses import dataclass

OWN = "sandbox"


@dataclass(frozen=True, slots=True)
class DnsHost:
    title: str
    name_servers: tuple[str, str]


DNS_HOSTS = {
    OWN: DnsHost("The sandbox itself", ("ns1.dns.sandbox.test", "ns2.dns.sandbox.test")),
    "cloudflare": DnsHost("Cloudflare", ("ada.ns.cloudflare.com", "bob.ns.cloudflare.com")),
    "godaddy": DnsHost("GoDaddy", ("ns01.domaincontrol.com", "ns02.domaincontrol.com")),
    "namecheap": DnsHost("Namecheap", ("dns1.registrar-servers.com", "dns2.registrar-servers.com")),
    "route53": DnsHost("Amazon Route 53", ("ns-1.awsdns-00.com", "ns-600.awsdns-11.net")),
    "google": DnsHost("Google Cloud DNS", ("ns-cloud-a1.googledomains.com", "ns-cloud-a2.googledomains.com")),
    "hetzner": DnsHost("Hetzner", ("helium.ns.hetzner.de", "hydrogen.ns.hetzner.com")),
    "ionos": DnsHost("IONOS", ("ns1041.ui-dns.com", "ns1056.ui-dns.org")),
    "unknown": DnsHost("One that nobody knows", ("ns1.small-dns.example", "ns2.small-dns.example")),
}


def host_with(name_servers: set[str]) -> str:
    """The key of the host whose name servers these are; the sandbox's own when it is none of them."""
    return next((key for key, host in DNS_HOSTS.items() if set(host.name_servers) == name_servers), OWN)
