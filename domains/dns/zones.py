"""Which zone a domain is in, and who answers for it.

Resolvers remember for long that there is nothing, and some then hold that there is nothing below either (RFC 8020). So they
are asked only about the registered domain, whose records others look up all the time; what is below, its own servers tell.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from time import monotonic

import dns.name
from django.conf import settings
from dns.name import Name
from dns.rdatatype import RdataType

from domains.dns.answers import Referral, read_answer, read_name_servers, read_soa_owner, text_of
from domains.dns.evidence import Failure
from domains.dns.exchange import NoAnswer
from domains.dns.servers import MOST_AUTHORITIES, Authority, DnsServers
from domains.names import registrable_part

MOST_LEARNED = 4  # addresses of a name server
MOST_CUTS = 4  # delegations below each other that are followed
CACHE_FOR_S = 30.0
CACHED_ZONES = 2000


@dataclass(frozen=True, slots=True)
class Zone:
    """`exists`, `failure` and `dnssec` as in `ZoneEvidence`. `is_remembered`: from the cache."""

    apex: Name | None = None
    authorities: tuple[Authority, ...] = ()
    exists: bool = True
    failure: Failure | None = None
    dnssec: str = ""
    is_remembered: bool = False


class Zones:
    """Finds zones, over the servers given."""

    def __init__(self, servers: DnsServers) -> None:
        self._servers = servers

    async def find(self, domain: str, *, afresh: bool = False) -> Zone:
        """The zone of a domain, by its absolute name; what was found in the last seconds, unless `afresh`, as who gets no
        answer from a remembered one should ask. Raises nothing of DNS: `failure` tells."""
        key = (domain, self._servers.resolvers, settings.DNS_AUTHORITY_PORT)
        if not afresh and (zone := CACHE.get(key)):
            return replace(zone, is_remembered=True)
        zone = await self._find(dns.name.from_text(domain), dns.name.from_text(registrable_part(domain)))
        CACHE.put(key, zone)
        return zone

    async def delegated(self, referral: Referral, dnssec: str = "") -> Zone:
        """The zone that a referral leads to."""
        return Zone(referral.cut, await self._authorities(referral.names, referral.glue), dnssec=dnssec)

    async def _find(self, domain: Name, registered: Name) -> Zone:
        zone = await self._by_resolver(registered)
        if not zone.authorities and (told := await self._by_registry(registered)):
            zone = replace(told, dnssec=zone.dnssec)
        return replace(await self._descend(zone, domain), exists=zone.exists)

    async def _by_resolver(self, name: Name) -> Zone:
        """The zone that a name is in, as a resolver knows it."""
        asked, dnssec = name, ""
        for _ in range(MOST_CUTS):
            try:
                resolved = await self._servers.resolve(asked, RdataType.NS)
            except NoAnswer as no_answer:
                return Zone(failure=no_answer.failure, dnssec=dnssec or no_answer.dnssec)
            reply, dnssec = resolved.reply, dnssec or resolved.dnssec
            if names := read_name_servers(reply, asked):
                return Zone(asked, await self._authorities(names), dnssec=dnssec)
            if not read_answer(reply, asked, RdataType.NS).exists:
                return Zone(exists=False, dnssec=dnssec)
            owner = read_soa_owner(reply, asked)
            if owner == asked:
                return Zone(asked, dnssec=dnssec)  # without name servers: something answers in their place
            asked = owner or asked.parent()
            if asked == dns.name.root:
                break
        return Zone(failure=Failure.MALFORMED, dnssec=dnssec)

    async def _by_registry(self, registered: Name) -> Zone | None:
        """What the servers above tell: they know what is new, and whom they name although nobody answers there."""
        registry = await self._by_resolver(registered.parent())
        told = await self._descend(registry, registered)
        if not told.exists:
            return Zone(exists=False)
        return told if told.apex == registered else None

    async def _descend(self, zone: Zone, name: Name) -> Zone:
        """To the zone that the name is in, as authorities from `zone` on tell. `exists` is the name's."""
        for _ in range(MOST_CUTS):
            if zone.apex is None or zone.apex == name:
                return zone
            try:
                below = await self._next_below(zone, zone.apex, name)
            except NoAnswer:
                return zone
            if below.apex == zone.apex:
                return below
            zone = below
        return zone

    async def _next_below(self, zone: Zone, apex: Name, name: Name) -> Zone:
        """The next zone on the way to a name, or, at its end, the same one. Raises NoAnswer."""
        reply = await self._servers.ask_any_authority(zone.authorities, apex, name, RdataType.NS)
        if isinstance(reply, Referral):
            return await self.delegated(reply, zone.dnssec)
        cut, names = name, read_name_servers(reply, name)
        owner = read_soa_owner(reply, name)
        if not names and owner and owner != apex and owner.is_subdomain(apex):
            # The same servers have a zone in between.
            cut, there = owner, await self._servers.ask_any_authority(zone.authorities, apex, owner, RdataType.NS)
            names = () if isinstance(there, Referral) else read_name_servers(there, owner)
        if names:
            return Zone(cut, await self._authorities(names), dnssec=zone.dnssec)
        return replace(zone, exists=read_answer(reply, name, RdataType.NS).exists)

    async def _authorities(
        self, names: Sequence[Name], glue: Mapping[Name, tuple[str, ...]] | None = None
    ) -> tuple[Authority, ...]:
        known = glue or {}
        asked = [self._authority(name, known.get(name, ())) for name in names[:MOST_AUTHORITIES]]
        return tuple(await asyncio.gather(*asked))

    async def _authority(self, name: Name, glue: tuple[str, ...]) -> Authority:
        if glue:
            return Authority(text_of(name), glue[:MOST_LEARNED])
        answers = await asyncio.gather(*(self._addresses(name, type_) for type_ in (RdataType.A, RdataType.AAAA)))
        by_turns = zip_longest(*(addresses for addresses, _ in answers))
        addresses = tuple(address for pair in by_turns for address in pair if address)[:MOST_LEARNED]
        failure = next((failure for _, failure in answers if failure), Failure.TIMEOUT)
        return Authority(text_of(name), addresses, None if addresses else failure)

    async def _addresses(self, name: Name, type_: RdataType) -> tuple[tuple[str, ...], Failure | None]:
        try:
            reply = (await self._servers.resolve(name, type_)).reply
        except NoAnswer as no_answer:
            return (), no_answer.failure
        return read_answer(reply, name, type_).values, None


# ---- Cache -----------------------------------------------------------------------------------------------------------

Key = tuple[object, ...]


class ZoneCache:
    """What was found in the last seconds, for pages that ask every few. For all threads of the process."""

    def __init__(self, keep_for_s: float = CACHE_FOR_S, most: int = CACHED_ZONES) -> None:
        self._keep_for_s, self._most = keep_for_s, most
        self._lock = threading.Lock()
        self._zones: OrderedDict[Key, tuple[float, Zone]] = OrderedDict()  # the oldest first

    def get(self, key: Key) -> Zone | None:
        with self._lock:
            found_at, zone = self._zones.get(key, (0.0, None))
        return zone if monotonic() - found_at < self._keep_for_s else None

    def put(self, key: Key, zone: Zone) -> None:
        with self._lock:
            self._zones.pop(key, None)
            self._zones[key] = monotonic(), zone
            while len(self._zones) > self._most:
                self._zones.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._zones.clear()


CACHE = ZoneCache()
