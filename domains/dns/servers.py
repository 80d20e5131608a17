"""The two roles of a DNS server, and what an answer is worth in each: resolvers, which look things up for us, may remember
and may validate; and authorities, which know their own zone and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import dns.flags
import dns.message
from django.conf import settings
from dns.name import Name
from dns.rdatatype import RdataType

from domains.dns.answers import Referral, failure_of, read_dnssec_words, read_referral
from domains.dns.evidence import Failure
from domains.dns.exchange import Exchange, NoAnswer, first_answer
from domains.dns.resolver import Endpoint
from domains.networks import is_allowed, source_for

MOST_AUTHORITIES = 4  # of a zone that are asked
MOST_ADDRESSES = 2  # of an authority
UNEXPLAINED = "DNSSEC validation failed"

Reply = dns.message.Message


@dataclass(frozen=True, slots=True)
class Authority:
    """A name server of a zone. `addresses`: what its name leads to, also where nobody may or can be asked from here.
    `failure`: why it has none."""

    name: str
    addresses: tuple[str, ...] = ()
    failure: Failure | None = None

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Zones are written by strangers: their servers are asked only at public addresses, never in our own network."""
        usable = [address for address in self._allowed() if source_for(address)]
        return tuple(Endpoint(address, settings.DNS_AUTHORITY_PORT) for address in usable[:MOST_ADDRESSES])

    @property
    def is_out_of_reach(self) -> bool:
        """There is no way to it from here (mostly: no IPv6), which is nobody's fault."""
        return bool(self._allowed()) and not self.endpoints()

    def _allowed(self) -> list[str]:
        return [address for address in self.addresses if is_allowed(address)]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A resolver's reply. `dnssec`: not empty when it gave the reply only after it was told not to validate, and why."""

    reply: Reply
    dnssec: str = ""


class DnsServers:
    """Both roles over one exchange."""

    def __init__(self, exchange: Exchange, resolvers: Sequence[Endpoint]) -> None:
        self._exchange = exchange
        self.resolvers = tuple(resolvers)

    async def resolve(self, name: Name, type_: RdataType) -> Resolved:
        """By the first resolver that answers. Raises NoAnswer."""
        resolvers = self._exchange.liveliest_first(self.resolvers)
        return await first_answer([partial(self.resolve_by, resolver, name, type_) for resolver in resolvers])

    async def resolve_by(self, resolver: Endpoint, name: Name, type_: RdataType) -> Resolved:
        """Raises NoAnswer."""
        reply = await self._exchange.ask(resolver, name, type_)
        if failure_of(reply) != Failure.SERVFAIL:
            return Resolved(_answer(reply))
        words = read_dnssec_words(reply)
        try:
            # RFC 4035, 3.2.2: with CD the resolver hands over what it does not believe.
            unchecked = _answer(await self._exchange.ask(resolver, name, type_, unchecked=True))
        except NoAnswer as no_answer:
            raise NoAnswer(Failure.BOGUS, words) if words else no_answer from None
        if not words:
            # It did not say why it failed. Perhaps the zone's servers only were slow, and now it knows.
            reply = await self._exchange.ask(resolver, name, type_)
            if failure_of(reply) != Failure.SERVFAIL:
                return Resolved(_answer(reply))
            words = read_dnssec_words(reply) or UNEXPLAINED
        return Resolved(unchecked, words)

    async def ask_authority(self, authority: Authority, apex: Name, name: Name, type_: RdataType) -> Reply | Referral:
        """Of a name in the zone `apex`. Raises NoAnswer, where no address of this server gives an answer."""
        if authority.failure:
            raise NoAnswer(authority.failure)
        endpoints = self._exchange.liveliest_first(authority.endpoints(), zone=apex)
        return await first_answer([partial(self._ask_authority_at, server, apex, name, type_) for server in endpoints])

    async def ask_any_authority(
        self, authorities: Sequence[Authority], apex: Name, name: Name, type_: RdataType
    ) -> Reply | Referral:
        """Raises NoAnswer."""
        return await first_answer(
            [partial(self.ask_authority, authority, apex, name, type_) for authority in authorities]
        )

    async def _ask_authority_at(self, server: Endpoint, apex: Name, name: Name, type_: RdataType) -> Reply | Referral:
        reply = _answer(await self._exchange.ask(server, name, type_, zone=apex))
        if reply.flags & dns.flags.AA:
            return reply
        if referral := read_referral(reply, apex, name):
            return referral
        raise NoAnswer(Failure.LAME)  # RFC 1034, 4.3.1: it speaks from hearsay, or of another zone


def _answer(reply: Reply) -> Reply:
    if failure := failure_of(reply):
        raise NoAnswer(failure)
    return reply
