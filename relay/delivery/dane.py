"""DANE for SMTP (RFC 7672): what DNS, signed, says about an exchanger's certificate (TLSA records, RFC 6698 and 7671)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, IntEnum

import dns.asyncresolver
import dns.exception
import dns.resolver
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from domains.networks import is_ipv6
from relay.delivery.routing import Hop, is_authentic_answer
from relay.delivery.verdict import MALFORMED, Chain, parse, verifies


class Usage(IntEnum):
    TRUST_ANCHOR = 2  # DANE-TA: the record names an authority above the server's certificate
    END_ENTITY = 3  # DANE-EE: it names the server's own


class Selector(IntEnum):
    CERTIFICATE = 0
    PUBLIC_KEY = 1


class Matching(IntEnum):
    FULL = 0
    SHA256 = 1
    SHA512 = 2


_OCTETS = {Matching.SHA256: 32, Matching.SHA512: 64}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record (RFC 6698, 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


class DaneState(Enum):
    NONE = "none"  # DNSSEC does not vouch, or says that there is no record
    USABLE = "usable"
    UNUSABLE = "unusable"  # there are records, and none that we could check
    FAILED = "failed"  # nobody knows: DNS did not answer


@dataclass(frozen=True, slots=True)
class Dane:
    """What was found for an exchanger. `base`: the name that it was found at."""

    state: DaneState = DaneState.NONE
    records: tuple[Tlsa, ...] = ()
    base: str = ""
    error: str = ""


async def look_up(resolver: dns.asyncresolver.Resolver, hop: Hop) -> Dane:
    """RFC 7672, 2.2: asked only where the way to the address is authentic."""
    if not hop.is_authentic:
        return Dane()
    for base in await _bases(resolver, hop):
        try:
            answer = await resolver.resolve(f"_{hop.port}._tcp.{base}", "TLSA")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            continue
        except dns.exception.DNSException as error:
            return Dane(DaneState.FAILED, base=base, error=f"DNS did not tell the TLSA records of {base}: {error}")
        if not is_authentic_answer(answer.response):
            continue
        records = tuple(Tlsa(one.usage, one.selector, one.mtype, one.cert) for one in answer)
        usable = usable_of(records)
        return Dane(DaneState.USABLE if usable else DaneState.UNUSABLE, usable, base)
    return Dane()


async def _bases(resolver: dns.asyncresolver.Resolver, hop: Hop) -> list[str]:
    """RFC 7672, 2.2.2: where the exchanger is an alias, first the name that it stands for."""
    try:
        answer = await resolver.resolve(hop.host, "AAAA" if is_ipv6(hop.address) else "A")
    except dns.exception.DNSException:  # it was there a moment ago
        return [hop.host]
    canonical = answer.canonical_name.to_text(omit_final_dot=True).lower()
    return list(dict.fromkeys((canonical, hop.host)))


def usable_of(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """RFC 7672, 3.1.3: PKIX-TA and PKIX-EE are of no use here; RFC 7671, 9: of the digests the strongest one counts."""
    known = [record for record in records if _is_known(record)]
    strongest: dict[tuple[int, int], int] = {}
    for record in known:
        key = (record.usage, record.selector)
        strongest[key] = max(strongest.get(key, 0), record.matching)
    return tuple(
        record for record in known if record.matching in (Matching.FULL, strongest[record.usage, record.selector])
    )


def _is_known(record: Tlsa) -> bool:
    return (
        record.usage in (Usage.TRUST_ANCHOR, Usage.END_ENTITY)
        and record.selector in (Selector.CERTIFICATE, Selector.PUBLIC_KEY)
        and (
            len(record.data) == _OCTETS[Matching(record.matching)]
            if record.matching in _OCTETS
            else record.matching == Matching.FULL and len(record.data) > 0
        )
    )


def matches_chain(chain: Chain, records: Sequence[Tlsa], names: Sequence[str], now: datetime | None = None) -> bool:
    """Whether one of the usable records vouches for the chain. `names`: those that the certificate may have."""
    try:
        own = parse(chain[:1])[0]
        # RFC 7671, 5.1: with DANE-EE neither names nor dates matter, nor what is sent along.
        if any(record.usage == Usage.END_ENTITY and _matches(record, own) for record in records):
            return True
        _, *above = parse(chain)
    except MALFORMED:
        return False
    anchors = [
        anchor
        for record in records
        if record.usage == Usage.TRUST_ANCHOR
        for anchor in [*(one for one in (own, *above) if _matches(record, one)), *_published(record)]
    ]
    if not anchors:
        return False
    store, now = Store(anchors), now or datetime.now(UTC)
    return any(verifies(own, above, store, name, now, _private_authority()) for name in names)


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    if record.selector == Selector.PUBLIC_KEY:
        try:
            octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except MALFORMED:
            return False
    else:
        octets = certificate.public_bytes(Encoding.DER)
    if record.matching == Matching.SHA256:
        octets = hashlib.sha256(octets).digest()
    elif record.matching == Matching.SHA512:
        octets = hashlib.sha512(octets).digest()
    return octets == record.data


def _published(record: Tlsa) -> list[x509.Certificate]:
    """RFC 7671, 5.2.2: a record with the whole certificate stands for one that the server does not send."""
    if record.selector == Selector.CERTIFICATE and record.matching == Matching.FULL:
        try:
            return parse([record.data])
        except MALFORMED:
            pass
    return []


def _private_authority() -> PolicyBuilder:
    """DNSSEC vouches for the authority; that it keeps the rules for public ones nobody promised."""
    permissive = ExtensionPolicy.permit_all()
    return PolicyBuilder().extension_policies(
        ca_policy=permissive.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None),
        ee_policy=permissive.require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None),
    )
