"""Where a destination's mail goes: its exchangers by MX (RFC 5321, 5.1) and their addresses."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.resolver
from django.conf import settings

from domains.resolver import async_resolver

MOST_ADDRESSES = 6  # tried in one attempt


class RoutingFailed(Exception):
    """There is no way to the destination; `reason` is a key of `events.reasons.REASONS`."""

    def __init__(self, reason: str, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.reason, self.text, self.permanent = reason, text, permanent


@dataclass(frozen=True, slots=True)
class Hop:
    """One address of one exchanger."""

    host: str
    address: str
    port: int


class Router:
    """Asks DNS; the resolver keeps answers for their TTL."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver or async_resolver()

    async def hops(self, destination: str) -> AsyncIterator[Hop]:
        """In the order in which to try them; later ones are looked up only when asked for. Raises `RoutingFailed`."""
        if settings.RELAY_SMARTHOST:
            host, _, port = settings.RELAY_SMARTHOST.rpartition(":")
            yield Hop(host, host, int(port))
            return
        left, failure = MOST_ADDRESSES, None
        for host in await self._exchangers(destination):
            try:
                addresses = await self._addresses(host)
            except RoutingFailed as failed:
                failure = failed
                continue
            for address in addresses[:left]:
                yield Hop(host, address, settings.EXCHANGER_PORT)
            left -= len(addresses)
            if left <= 0:
                return
        if left == MOST_ADDRESSES and failure:
            raise failure

    async def _exchangers(self, destination: str) -> list[str]:
        try:
            answer = await self._resolver.resolve(destination, "MX")
        except dns.resolver.NXDOMAIN:
            raise RoutingFailed("no_such_domain", f"The domain {destination} does not exist.", permanent=True) from None
        except dns.resolver.NoAnswer:
            return [destination]  # RFC 5321, 5.1: the domain itself is its exchanger, if it has an address
        except dns.exception.DNSException as error:
            raise _dns_failure(f"MX of {destination}", error) from None
        records = sorted(answer, key=lambda record: (record.preference, random.random()))  # noqa: S311
        hosts = [record.exchange.to_text(omit_final_dot=True) for record in records]
        if hosts in ([""], ["."]):  # RFC 7505
            raise RoutingFailed("no_mail_for_domain", f"{destination} publishes a null MX.", permanent=True)
        return hosts

    async def _addresses(self, host: str) -> list[str]:
        found: list[str] = []
        failure: RoutingFailed | None = None
        for kind in ("AAAA", "A"):
            try:
                found += [record.address for record in await self._resolver.resolve(host, kind)]
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                continue
            except dns.exception.DNSException as error:
                failure = _dns_failure(f"{kind} of {host}", error)
        if not found:
            raise failure or RoutingFailed("no_mail_for_domain", f"{host} has no address.", permanent=True)
        allowed = [address for address in found if is_allowed(address)]
        if not allowed:
            raise RoutingFailed("forbidden_address", f"{host} is at {found[0]}, not a public address.", permanent=True)
        return allowed


def is_allowed(address: str) -> bool:
    """Outside the sandbox mail goes to public addresses only, never into our own network."""
    if settings.SANDBOX:
        return True
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.is_global and not parsed.is_multicast


def _dns_failure(what: str, error: dns.exception.DNSException) -> RoutingFailed:
    return RoutingFailed("dns_failure", f"DNS did not tell the {what}: {error}", permanent=False)
