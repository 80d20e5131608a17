"""The DNS resolvers of this process, sync and async, over the name servers that the settings name."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

import dns.asyncresolver
import dns.flags
import dns.nameserver
import dns.resolver
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

LIFETIME_S = 5.0  # for one question, all servers and retries together
TIMEOUT_S = 2.0  # for one server's answer
# DNS flag day 2020: the largest UDP answer that is not fragmented anywhere; beyond it TCP takes over.
UDP_PAYLOAD = 1232
CACHE_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a DNS server listens."""

    address: str
    port: int = 53


def check_resolvers() -> tuple[Endpoint, ...]:
    """Those that checks of domains ask: DOMAIN_CHECK_RESOLVERS, else DNS_NAMESERVERS, else the machine's own."""
    for setting in ("DOMAIN_CHECK_RESOLVERS", "DNS_NAMESERVERS"):
        if entries := getattr(settings, setting):
            return endpoints(setting, entries)
    return _machine_resolvers()


@lru_cache(maxsize=1)
def _machine_resolvers() -> tuple[Endpoint, ...]:
    try:
        own = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        own = []
    return tuple(Endpoint(entry) for entry in own if isinstance(entry, str))


def endpoints(setting: str, entries: Sequence[str]) -> tuple[Endpoint, ...]:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`. Raises ImproperlyConfigured."""
    return tuple(_endpoint(setting, entry) for entry in entries)


def resolver() -> dns.resolver.Resolver:
    """For threads. It keeps no answers: who presses "check again" wants to know what is there now."""
    return _resolver(tuple(settings.DNS_NAMESERVERS))


def async_resolver() -> dns.asyncresolver.Resolver:
    """For event loops. It keeps answers as long as their TTL says: a burst to one destination asks once."""
    return async_resolver_over(tuple(settings.DNS_NAMESERVERS))


@lru_cache(maxsize=16)
def async_resolver_over(nameservers: tuple[str, ...]) -> dns.asyncresolver.Resolver:
    """As `async_resolver`, over the name servers given."""
    made = dns.asyncresolver.Resolver(configure=not nameservers)
    made.cache = dns.resolver.LRUCache(CACHE_ENTRIES)
    _configure(made, nameservers)
    return made


@lru_cache(maxsize=16)
def _resolver(nameservers: tuple[str, ...]) -> dns.resolver.Resolver:
    made = dns.resolver.Resolver(configure=not nameservers)
    _configure(made, nameservers)
    return made


def _configure(made: dns.resolver.BaseResolver, nameservers: tuple[str, ...]) -> None:
    if nameservers:
        made.nameservers = [
            dns.nameserver.Do53Nameserver(server.address, server.port)
            for server in endpoints("DNS_NAMESERVERS", nameservers)
        ]
    made.lifetime = LIFETIME_S
    made.timeout = TIMEOUT_S
    made.use_edns(0, 0, UDP_PAYLOAD)
    made.flags = dns.flags.RD | dns.flags.AD  # RFC 6840, 5.7: tell us whether the answer was validated


def _endpoint(setting: str, entry: str) -> Endpoint:
    host, port = entry, 53
    if entry.startswith("[") or entry.count(":") == 1:
        host, _, digits = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "53")
        port = int(digits) if digits.isdigit() else 0
    host = host.strip("[]")
    try:
        ip_address(host)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise ImproperlyConfigured(f"{setting}: “{entry}” is not an IP address, optionally with a port (192.0.2.1:53).")
    return Endpoint(host, port)
