"""Brings what DNS says about domains and their records (`domains.dns.evidence`): from the zone's own servers first, then from
public resolvers, and, where a record is not to be seen, from the places where it may have gone instead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import dns.name
import dns.rdatatype
from dns.name import Name
from dns.rdatatype import RdataType

from domains.dns.answers import Answer, Referral, read_answer, text_of
from domains.dns.evidence import Evidence, Failure, Heard, NameServer, RecordEvidence, ZoneEvidence
from domains.dns.exchange import Exchange, NoAnswer
from domains.dns.resolver import Endpoint, check_resolvers
from domains.dns.servers import Authority, DnsServers, Resolved
from domains.dns.side_looks import SideLooks
from domains.dns.zones import MOST_CUTS, Zone, Zones

WITHIN_S = 8.0  # all of a call

T = TypeVar("T")

logger = logging.getLogger(__name__)


class AskedRecord(Protocol):
    """What is asked of a record: one of `domains.models.DnsRecord`, or whatever has the same."""

    @property
    def id(self) -> Hashable: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...


def gather(domains: Sequence[tuple[str, Sequence[AskedRecord]]]) -> list[Evidence]:
    """The evidence of each domain, all questions side by side, for threads that may wait: at most some 8 s. What DNS does not
    tell in that time is among the evidence as a failure. Raises nothing but ImproperlyConfigured."""
    return asyncio.run(_gather(domains))


async def _gather(domains: Sequence[tuple[str, Sequence[AskedRecord]]]) -> list[Evidence]:
    servers = DnsServers(Exchange(WITHIN_S), check_resolvers())
    zones = Zones(servers)
    return list(await asyncio.gather(*(_Look(*domain, servers, zones).safe_evidence() for domain in domains)))


@dataclass(frozen=True, slots=True)
class _Said:
    """What the authorities of `zone` said of a record, in the order of their names."""

    zone: Zone
    heard: tuple[Heard, ...] = ()

    @property
    def answers(self) -> list[Heard]:
        return [heard for heard in self.heard if heard.failure is None]


class _Look:
    """At one domain and its records."""

    def __init__(self, domain: str, records: Sequence[AskedRecord], servers: DnsServers, zones: Zones) -> None:
        self._domain, self._records = domain, records
        self._servers, self._zones = servers, zones
        self._dnssec = ""
        self._asked: dict[Hashable, asyncio.Future[Any]] = {}

    async def safe_evidence(self) -> Evidence:
        """An accident of ours with one domain, whose packets strangers write, does not stop the checks of all others."""
        try:
            return await self._evidence()
        except Exception:
            logger.exception("the look at the DNS of %s failed", self._domain)
            nothing = {record.id: RecordEvidence() for record in self._records}
            return Evidence(ZoneEvidence(failure=Failure.MALFORMED), nothing)

    async def _evidence(self) -> Evidence:
        zone, said = await self._authorities_say(afresh=False)
        if zone.is_remembered and not any(one.answers for one in said):
            zone, said = await self._authorities_say(afresh=True)
        zone_answers = any(one.answers for one in said)
        side_looks = SideLooks(self._servers, dns.name.from_text(self._domain), zone if zone_answers else None)
        completed = [self._complete(record, one, side_looks) for record, one in zip(self._records, said, strict=True)]
        records = dict(zip([record.id for record in self._records], await asyncio.gather(*completed), strict=True))
        return Evidence(self._zone_evidence(zone, said), records)

    def _zone_evidence(self, zone: Zone, said: Sequence[_Said]) -> ZoneEvidence:
        heard = [one for record in said if record.zone.apex == zone.apex for one in record.heard]
        return ZoneEvidence(
            apex=text_of(zone.apex) if zone.apex else "",
            name_servers=tuple(_name_server(authority, heard) for authority in zone.authorities),
            exists=zone.exists,
            failure=zone.failure,
            dnssec=zone.dnssec or self._dnssec,
        )

    # ---- The record itself ---------------------------------------------------------------------------------------

    async def _authorities_say(self, *, afresh: bool) -> tuple[Zone, list[_Said]]:
        zone = await self._zones.find(self._domain, afresh=afresh)
        asked = [self._said(zone, *_question(record)) for record in self._records]
        return zone, list(await asyncio.gather(*asked))

    async def _said(self, zone: Zone, name: Name, type_: RdataType) -> _Said:
        """By the authorities of the zone, or of one below it to which they refer."""
        for _ in range(MOST_CUTS):
            if zone.apex is None:
                break
            asked = [self._ask_authority(authority, zone.apex, name, type_) for authority in zone.authorities]
            heard = await asyncio.gather(*asked)
            referral = next((one for one in heard if isinstance(one, Referral)), None)
            if referral is None:
                return _Said(zone, tuple(one for one in heard if isinstance(one, Heard)))
            zone = await self._once(("zone", referral.cut), self._zones.delegated, referral)
        return _Said(zone)

    async def _ask_authority(
        self, authority: Authority, apex: Name, name: Name, type_: RdataType
    ) -> Heard | Referral | None:
        """None where it cannot be asked from here."""
        if authority.is_out_of_reach:
            return None
        try:
            reply = await self._servers.ask_authority(authority, apex, name, type_)
            if isinstance(reply, Referral):
                return reply
            answer = read_answer(reply, name, type_)
            is_all = answer.is_whole and answer.end.is_subdomain(apex)
            # RFC 1034, 3.6.2: a CNAME stands for all types. Of what it leads to outside its zone this server has only hearsay.
            rest = answer if is_all else await self._once(("rest", answer.end, type_), self._resolve, answer.end, type_)
        except NoAnswer as no_answer:
            return Heard(authority.name, failure=no_answer.failure)
        ttl_s = min(answer.ttl_s, rest.ttl_s)
        return Heard(authority.name, rest.values, exists=answer.exists, alias=answer.alias, ttl_s=ttl_s)

    async def _resolvers_say(self, name: Name, type_: RdataType) -> tuple[Heard, ...]:
        asked = [self._ask_resolver(resolver, name, type_) for resolver in self._servers.resolvers]
        return tuple(await asyncio.gather(*asked))

    async def _ask_resolver(self, resolver: Endpoint, name: Name, type_: RdataType) -> Heard:
        try:
            answer = self._believed(await self._servers.resolve_by(resolver, name, type_), name, type_)
        except NoAnswer as no_answer:
            self._dnssec = self._dnssec or no_answer.dnssec
            return Heard(resolver.address, failure=no_answer.failure)
        return Heard(resolver.address, answer.values, exists=answer.exists, alias=answer.alias, ttl_s=answer.ttl_s)

    async def _resolve(self, name: Name, type_: RdataType) -> Answer:
        """Raises NoAnswer."""
        return self._believed(await self._servers.resolve(name, type_), name, type_)

    def _believed(self, resolved: Resolved, name: Name, type_: RdataType) -> Answer:
        """Raises NoAnswer where nobody who validates would believe it."""
        if resolved.dnssec:
            raise NoAnswer(Failure.BOGUS, resolved.dnssec)
        return read_answer(resolved.reply, name, type_)

    # ---- All of it -----------------------------------------------------------------------------------------------

    async def _complete(self, record: AskedRecord, said: _Said, side_looks: SideLooks) -> RecordEvidence:
        name, type_ = _question(record)
        if not said.answers:
            resolvers = await self._resolvers_say(name, type_)
            answers = [heard for heard in resolvers if heard.failure is None]
            beside = await side_looks.beside(name, type_, answers, None) if answers else RecordEvidence()
        elif all(heard.values for heard in said.answers):
            resolvers, beside = await asyncio.gather(
                self._resolvers_say(name, type_), side_looks.beside(name, type_, said.answers, said.zone)
            )
        else:
            resolvers, beside = (), await side_looks.beside(name, type_, said.answers, said.zone)
        inherited = await side_looks.inherited(name) if said.answers or resolvers else None
        return replace(beside, authority=said.heard, resolvers=resolvers, inherited=inherited)

    async def _once(self, key: Hashable, ask: Callable[..., Awaitable[T]], *about: Any) -> T:
        """What several records or servers want to know is asked once."""
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(ask(*about))
        result: T = await self._asked[key]
        return result


def _question(record: AskedRecord) -> tuple[Name, RdataType]:
    return dns.name.from_text(record.name), dns.rdatatype.from_text(record.type)


def _name_server(authority: Authority, heard: Sequence[Heard]) -> NameServer:
    failures = [one.failure for one in heard if one.server == authority.name]
    return NameServer(
        authority.name, authority.addresses, failures[0] if failures and all(failures) else authority.failure
    )
