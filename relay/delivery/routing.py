"""Where a destination's mail goes: its exchangers by MX (RFC 5321, 5.1) and their addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.resolver
from django.conf import settings

from domains.dns.resolver import async_resolver
from domains.networks import is_allowed, is_ipv6, is_named, source_for

MOST_ADDRESSES = 6  # tried in one attempt
OWN_ADDRESSES_KEPT_S = 300

# Underscores are no part of a host name, yet some exchangers have them. A last label of digits alone: an address.
_HOST = re.compile(r"(?!.*\.\d+$)(?!\d+$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.I)


class RoutingFailed(Exception):
    """There is no way to the destination; `reason` is a key of `events.reasons.REASONS`."""

    def __init__(self, reason: str, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.reason, self.text, self.permanent = reason, text, permanent


@dataclass(frozen=True, slots=True)
class Route:
    """Where a destination's mail goes. `group`: the same for all destinations that the same exchangers serve."""

    destination: str
    exchangers: tuple[str, ...]  # in the order in which to try them
    group: str
    is_authentic: bool = False  # by DNSSEC, as a resolver says that we trust to validate (DNS_VALIDATES)
    smarthost_port: int | None = None  # of RELAY_SMARTHOST


@dataclass(frozen=True, slots=True)
class Hop:
    """One address of one exchanger. `is_authentic`: the way from the destination to the address is, by DNSSEC."""

    host: str
    address: str
    port: int
    is_authentic: bool = False
    is_smarthost: bool = False


class Router:
    """Asks DNS; the resolver keeps answers for their TTL, also that there is nothing (RFC 2308)."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self.resolver = resolver or async_resolver()
        self._own: tuple[float, frozenset[str]] = (0.0, frozenset())

    async def route(self, destination: str) -> Route:
        """Exchangers of equal preference come in an order drawn anew each time. Raises `RoutingFailed`."""
        if settings.RELAY_SMARTHOST:
            host, _, port = settings.RELAY_SMARTHOST.rpartition(":")
            host = host.strip("[]")
            return Route(destination, (host,), f"smarthost {settings.RELAY_SMARTHOST}", smarthost_port=int(port))
        preferences, is_authentic = await self._exchangers(destination)
        preferences = _before_us(preferences, settings.HOSTNAME)
        if not preferences:
            raise RoutingFailed(
                "loops_to_us", f"We ourselves ({settings.HOSTNAME}) are an exchanger of {destination}.", permanent=True
            )
        best = min(preferences.values())
        group = " ".join(sorted(host for host, preference in preferences.items() if preference == best))
        order = sorted(preferences, key=lambda host: (preferences[host], random.random()))  # noqa: S311
        return Route(destination, tuple(order), group, is_authentic)

    async def hops(self, route: Route, *, source_address: str | None = None) -> AsyncIterator[Hop]:
        """In the order in which to try them; later ones are looked up only when asked for. Raises `RoutingFailed`.

        `source_address`: what we shall speak from; addresses of the other family are left out.
        """
        left, failures = MOST_ADDRESSES, list[RoutingFailed]()
        for host in route.exchangers:
            try:
                if route.smarthost_port is not None:
                    addresses, is_authentic = await _machines_own_lookup(host, route.smarthost_port), False
                else:
                    addresses, is_authentic = await self._addresses(host)
                    await self._refuse_ourselves(host, addresses)
                reachable = _reachable(host, addresses, source_address)
            except RoutingFailed as failed:
                failures.append(failed)
                if failed.reason == "loops_to_us":
                    break  # RFC 5321, 5.1: what is no more preferred than we are would send it back to us
                continue
            for address in reachable[:left]:
                if route.smarthost_port is not None:
                    yield Hop(host, address, route.smarthost_port, is_smarthost=True)
                else:
                    yield Hop(host, address, settings.EXCHANGER_PORT, route.is_authentic and is_authentic)
            left -= len(reachable)
            if left <= 0:
                return
        if left == MOST_ADDRESSES and failures:
            # While one of them may yet be found, there is hope.
            raise next((failed for failed in failures if not failed.permanent), failures[-1])

    async def _exchangers(self, destination: str) -> tuple[dict[str, int], bool]:
        """Names, lower case, with their preferences; and whether the answer is authentic."""
        try:
            answer = await self.resolver.resolve(destination, "MX")
        except dns.resolver.NXDOMAIN:
            raise RoutingFailed("no_such_domain", f"The domain {destination} does not exist.", permanent=True) from None
        except dns.resolver.NoAnswer as nothing:
            # RFC 5321, 5.1: the domain itself is its exchanger, if it has an address.
            return {destination: 0}, is_authentic_answer(nothing.response())
        except dns.exception.DNSException as error:
            raise dns_failure(f"MX of {destination}", error) from None
        names: dict[str, int] = {}
        for record in sorted(answer, key=lambda record: -record.preference):  # of a name given twice the better counts
            names[record.exchange.to_text(omit_final_dot=True).lower()] = record.preference
        if set(names) <= {"", "."}:
            raise RoutingFailed("no_mail_for_domain", f"{destination} publishes a null MX.", permanent=True)
        # RFC 7505, 3: a null MX stands alone; beside others it says nothing. RFC 5321, 5.1: an MX names a host.
        found = {name: preference for name, preference in names.items() if _HOST.fullmatch(name)}
        if not found:
            named = ", ".join(sorted(names))
            raise RoutingFailed(
                "no_mail_for_domain", f"The MX records of {destination} name no host ({named}).", permanent=True
            )
        return found, is_authentic_answer(answer.response)

    async def _addresses(self, host: str) -> tuple[list[str], bool]:
        """IPv6 and IPv4 by turns, as far as mail may go there; and whether the answers are authentic."""
        looked_up = await asyncio.gather(*(self._look_up(host, kind) for kind in ("AAAA", "A")))
        found = [address for answer in itertools.zip_longest(*(one.found for one in looked_up)) for address in answer]
        found = [address for address in found if address]
        if not found:
            failure = next((one.failure for one in looked_up if one.failure), None)
            raise failure or RoutingFailed("no_mail_for_domain", f"{host} has no address.", permanent=True)
        allowed = [address for address in found if is_allowed(address)]
        if not allowed:
            raise RoutingFailed("forbidden_address", f"{host} is at {found[0]}, not a public address.", permanent=True)
        return allowed, all(one.is_authentic for one in looked_up if one.found)

    async def _look_up(self, host: str, kind: str) -> _LookedUp:
        try:
            answer = await self.resolver.resolve(host, kind)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return _LookedUp()
        except dns.exception.DNSException as error:
            return _LookedUp(failure=dns_failure(f"{kind} of {host}", error))
        return _LookedUp(tuple(record.address for record in answer), is_authentic_answer(answer.response))

    async def _refuse_ourselves(self, host: str, addresses: Iterable[str]) -> None:
        """RFC 5321, 6.3: a loop is seen before it turns. In the sandbox every host is at our own address."""
        if settings.SANDBOX:
            return
        own = await self._own_addresses()
        for address in addresses:
            # Only loopback, when ALLOWED_NETWORKS names it, is meant to be this machine.
            is_meant = ipaddress.ip_address(address).is_loopback and is_named(address)
            if address in own or (source_for(address) == address and not is_meant):
                raise RoutingFailed("loops_to_us", f"{host} is at {address}, our own address.", permanent=True)

    async def _own_addresses(self) -> frozenset[str]:
        """What DNS has for our name: behind a translator no interface has it. Asked for now and then."""
        asked_at, own = self._own
        if settings.HOSTNAME and (not asked_at or time.monotonic() - asked_at > OWN_ADDRESSES_KEPT_S):
            looked_up = await asyncio.gather(*(self._look_up(settings.HOSTNAME, kind) for kind in ("AAAA", "A")))
            own = frozenset(address for one in looked_up for address in one.found)
            self._own = (time.monotonic(), own)
        return own


@dataclass(frozen=True, slots=True)
class _LookedUp:
    found: tuple[str, ...] = ()
    is_authentic: bool = False
    failure: RoutingFailed | None = None


def is_authentic_answer(response: dns.message.Message) -> bool:
    """RFC 6840, 5.8: AD tells that the resolver validated all of it. It is worth what the way to the resolver is."""
    return settings.DNS_VALIDATES and bool(response.flags & dns.flags.AD)


def dns_failure(what: str, error: dns.exception.DNSException) -> RoutingFailed:
    return RoutingFailed("dns_failure", f"DNS did not tell the {what}: {error}", permanent=False)


def _before_us(preferences: dict[str, int], our_name: str) -> dict[str, int]:
    """RFC 5321, 5.1: where we are an exchanger ourselves, only those preferred to us are of use."""
    ours = preferences.get(our_name.lower())
    if ours is None:
        return preferences
    return {host: preference for host, preference in preferences.items() if preference < ours}


async def _machines_own_lookup(host: str, port: int) -> list[str]:
    """The smart host is the operator's own choice: any name this machine knows, any address."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RoutingFailed("dns_failure", f"RELAY_SMARTHOST: {host} was not found: {error}", permanent=False) from None
    return [str(info[4][0]) for info in infos]


def _reachable(host: str, addresses: list[str], source_address: str | None) -> list[str]:
    """Those that we have a route to, in the family of the address we speak from."""
    reachable = [
        address
        for address in addresses
        if (source_address is None or is_ipv6(source_address) == is_ipv6(address)) and source_for(address)
    ]
    if not reachable:
        raise RoutingFailed(
            "unreachable", f"There is no route from here to {host} ({', '.join(addresses)}).", permanent=False
        )
    return reachable
