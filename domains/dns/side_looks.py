"""Where a DNS record may have gone instead, and what else is in its place: side looks, which only explain. A failure there is
as if there were nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

import dns.exception
import dns.name
from dns.name import Name
from dns.rdatatype import RdataType

from domains.dns.answers import Answer, Referral, read_answer, text_of
from domains.dns.evidence import Elsewhere, Heard, RecordEvidence
from domains.dns.exchange import NoAnswer
from domains.dns.servers import DnsServers
from domains.dns.zones import Zone
from domains.names import registrable_part
from domains.records import DMARC_LABEL

TXT, CNAME, A, AAAA = RdataType.TXT, RdataType.CNAME, RdataType.A, RdataType.AAAA


class SideLooks:
    """Of one domain. `zone` is the domain's: its authorities are asked, or, when it is None, a resolver."""

    def __init__(self, servers: DnsServers, domain: Name, zone: Zone | None) -> None:
        self._servers, self._domain, self._zone = servers, domain, zone
        self._stray_label = f"x{secrets.token_hex(8)}"  # a name that nobody made
        self._asked: dict[tuple[object, ...], asyncio.Task[Answer | None]] = {}

    async def beside(self, name: Name, type_: RdataType, answers: Sequence[Heard], zone: Zone | None) -> RecordEvidence:
        """All of a record's evidence but the answers, of which there is at least one. `zone`: the one the record is in."""
        if seen := next((heard for heard in answers if heard.values), None):
            return RecordEvidence(is_wildcard=await self._is_wildcard(zone, name, type_, seen.alias, seen.values))
        is_cname = type_ == CNAME
        here = name if is_cname and any(heard.exists for heard in answers) else None
        texts, ipv4, ipv6, doubled, bare, at_apex = await asyncio.gather(
            self._values(zone, here, TXT),
            self._values(zone, here, A),
            self._values(zone, here, AAAA),
            self._elsewhere(self._doubled(name), type_),
            self._elsewhere(self._bare(name), type_),
            self._values(self._zone, self._domain, type_),
        )
        alias = next((heard.alias for heard in answers if heard.alias), "")
        found = [(type_, alias, ()), (TXT, "", texts), (A, "", ipv4), (AAAA, "", ipv6)]
        strange = next((one for one in found if one[1] or one[2]), None)
        return RecordEvidence(
            wrong_type=(alias,) if alias else texts,
            addresses=ipv4 + ipv6,
            doubled=doubled,
            bare=bare,
            at_apex=at_apex,
            is_wildcard=await self._is_wildcard(zone, name, *strange) if strange else False,
        )

    async def inherited(self, name: Name) -> Elsewhere | None:
        """For DMARC: what the organizational domain has, when the domain is a subdomain (RFC 7489, 6.6.3, step 3)."""
        organizational = dns.name.from_text(registrable_part(text_of(self._domain)))
        if name.labels[0].lower() != DMARC_LABEL.encode() or organizational == self._domain:
            return None
        above = Name([DMARC_LABEL.encode(), *organizational.labels])
        apex = self._zone.apex if self._zone else None
        is_inside = apex is not None and above.is_subdomain(apex)
        values = await self._values(self._zone if is_inside else None, above, TXT)
        return Elsewhere(text_of(above), values) if values else None

    async def _is_wildcard(
        self, zone: Zone | None, name: Name, type_: RdataType, alias: str, values: tuple[str, ...]
    ) -> bool:
        """Whether a name that nobody made, beside this one, has the same (RFC 4592)."""
        stray = _joined([self._stray_label.encode()], name.parent())
        if stray is None or (zone and name == zone.apex):
            return False
        answer = await self._answer(zone, stray, type_)
        return answer is not None and (answer.alias == alias if alias else answer.values == values)

    # ---- Names ---------------------------------------------------------------------------------------------------

    def _doubled(self, name: Name) -> list[Name]:
        """DNS hosts add the name of their zone, which is not always the domain's."""
        ends = {self._domain, self._zone.apex if self._zone and self._zone.apex else self._domain}
        return [doubled for end in sorted(ends) if (doubled := _joined(name.labels[:-1], end))]

    def _bare(self, name: Name) -> list[Name]:
        """For hosts that refuse underscores."""
        own = name.labels[: len(name.labels) - len(self._domain.labels)]
        stripped = [label.lstrip(b"_") for label in own]
        bare = _joined(stripped, self._domain) if all(stripped) and stripped != list(own) else None
        return [bare] if bare else []

    # ---- Asking --------------------------------------------------------------------------------------------------

    async def _elsewhere(self, names: Sequence[Name], type_: RdataType) -> Elsewhere | None:
        for name, values in zip(
            names, await asyncio.gather(*(self._values(self._zone, name, type_) for name in names)), strict=True
        ):
            if values:
                return Elsewhere(text_of(name), values)
        return None

    async def _values(self, zone: Zone | None, name: Name | None, type_: RdataType) -> tuple[str, ...]:
        answer = await self._answer(zone, name, type_) if name else None
        return answer.values if answer else ()

    async def _answer(self, zone: Zone | None, name: Name, type_: RdataType) -> Answer | None:
        """Asked once, for all records that want to know."""
        key = (zone and zone.apex, name, type_)
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(self._ask(zone, name, type_))
        return await self._asked[key]

    async def _ask(self, zone: Zone | None, name: Name, type_: RdataType) -> Answer | None:
        try:
            if zone is None or zone.apex is None:
                return read_answer((await self._servers.resolve(name, type_)).reply, name, type_)
            reply = await self._servers.ask_any_authority(zone.authorities, zone.apex, name, type_)
        except NoAnswer:
            return None
        return None if isinstance(reply, Referral) else read_answer(reply, name, type_)


def _joined(labels: Sequence[bytes], end: Name) -> Name | None:
    """None where the name would be too long (RFC 1035, 2.3.4)."""
    try:
        return Name([*labels, *end.labels])
    except dns.exception.DNSException:
        return None
