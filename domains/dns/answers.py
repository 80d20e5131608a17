"""What is in a DNS reply, as text that is safe to store and show, whoever wrote the packet. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from dns.edns import EDECode
from dns.name import Name
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT

from domains.dns.evidence import Failure

LONGEST_CHAIN = 8  # CNAMEs in a reply that are followed
LONGEST_TTL_S = 7 * 86_400  # RFC 8767, 4: caches keep nothing for longer
LONGEST_WORDS = 300  # characters of a resolver's explanation

# RFC 8914, 4, and its registry: what makes a validating resolver answer SERVFAIL.
DNSSEC_CODES = {
    EDECode.DNSSEC_INDETERMINATE,
    EDECode.DNSSEC_BOGUS,
    EDECode.SIGNATURE_EXPIRED,
    EDECode.SIGNATURE_NOT_YET_VALID,
    EDECode.DNSKEY_MISSING,
    EDECode.RRSIGS_MISSING,
    EDECode.NO_ZONE_KEY_BIT_SET,
    EDECode.NSEC_MISSING,
    EDECode.SIGNATURE_EXPIRED_BEFORE_VALID,
    EDECode.UNSUPPORTED_NSEC3_ITERATIONS_VALUE,
}

FAILURES = {
    dns.rcode.SERVFAIL: Failure.SERVFAIL,
    dns.rcode.REFUSED: Failure.REFUSED,
    dns.rcode.NOTAUTH: Failure.LAME,  # RFC 2136, 2.2
}


@dataclass(frozen=True, slots=True)
class Answer:
    """`alias`: where the name's own CNAME leads; empty when there is none, or CNAME was asked. `end`: the name at the end of
    the chain of CNAMEs as far as the reply tells it. `is_whole`: nothing remains to be asked there: the reply has the values
    or says that there are none. `ttl_s`: as in `Heard`."""

    values: tuple[str, ...]
    alias: str
    end: Name
    exists: bool
    is_whole: bool
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Referral:
    """Others are responsible below `cut` (RFC 1034, 4.2.1). `glue`: addresses by name, as far as they came along."""

    cut: Name
    names: tuple[Name, ...]
    glue: dict[Name, tuple[str, ...]]


def failure_of(reply: dns.message.Message) -> Failure | None:
    """None for NOERROR and NXDOMAIN, which are answers."""
    if (code := reply.rcode()) in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return None
    return FAILURES.get(code, Failure.MALFORMED)


def read_answer(reply: dns.message.Message, name: Name, type_: RdataType) -> Answer:
    """Of a reply that is one (`failure_of`) to the question for this name and type."""
    end, alias, ttl_s = name, "", LONGEST_TTL_S
    for _ in range(LONGEST_CHAIN):
        if rrset := reply.get_rrset(reply.answer, end, IN, type_):
            return Answer(values_of(rrset), alias, end, True, True, min(ttl_s, rrset.ttl))
        chain = reply.get_rrset(reply.answer, end, IN, RdataType.CNAME)
        target = next((rdata.target for rdata in chain or () if isinstance(rdata, CNAME)), None)
        if chain is None or target is None:
            break
        end, alias, ttl_s = target, alias or text_of(target), min(ttl_s, chain.ttl)
    exists = bool(alias) or reply.rcode() != dns.rcode.NXDOMAIN  # RFC 6604, 3: the code is the last name's
    if (negative_ttl_s := _negative_ttl_s(reply, end)) is not None:
        return Answer((), alias, end, exists, True, min(ttl_s, negative_ttl_s))
    # RFC 2308, 5: without SOA nothing may be remembered.
    return Answer((), alias, end, exists, not alias, ttl_s if alias else 0)


def _negative_ttl_s(reply: dns.message.Message, name: Name) -> int | None:
    """RFC 2308, 5. None where the reply does not say that there is nothing."""
    for rrset in reply.authority:
        if rrset.rdtype == RdataType.SOA and name.is_subdomain(rrset.name):
            return min([rrset.ttl] + [rdata.minimum for rdata in rrset if isinstance(rdata, SOA)])
    return None


def read_name_servers(reply: dns.message.Message, name: Name) -> tuple[Name, ...]:
    """The targets of the NS records at a name, in the order of their names."""
    return _targets(reply.get_rrset(reply.answer, name, IN, RdataType.NS))


def read_soa_owner(reply: dns.message.Message, name: Name) -> Name | None:
    """The apex of the zone that says that there is nothing at the name (RFC 1034, 4.3.4; RFC 2308, 3)."""
    owners = [rrset.name for rrset in reply.authority if rrset.rdtype == RdataType.SOA]
    return next((owner for owner in owners if name.is_subdomain(owner)), None)


def read_referral(reply: dns.message.Message, apex: Name, name: Name) -> Referral | None:
    """From a server of `apex`, to one of a zone below it in which the name is. One up or aside is none: that server is lame."""
    if reply.rcode() != dns.rcode.NOERROR or reply.answer or reply.flags & dns.flags.AA:
        return None
    for rrset in reply.authority:
        is_below = rrset.name != apex and rrset.name.is_subdomain(apex)
        if rrset.rdtype == RdataType.NS and is_below and name.is_subdomain(rrset.name):
            names = _targets(rrset)
            return Referral(rrset.name, names, {target: _glue(reply, target) for target in names})
    return None


def _glue(reply: dns.message.Message, name: Name) -> tuple[str, ...]:
    return tuple(
        address
        for type_ in (RdataType.A, RdataType.AAAA)
        for address in values_of(reply.get_rrset(reply.additional, name, IN, type_))
    )


def _targets(rrset: dns.rrset.RRset | None) -> tuple[Name, ...]:
    return tuple(sorted({rdata.target.canonicalize() for rdata in rrset or () if isinstance(rdata, NS)}))


def read_dnssec_words(reply: dns.message.Message) -> str:
    """Why a resolver does not believe what it heard (RFC 8914); empty when it does not say."""
    for option in reply.options:
        if isinstance(option, dns.edns.EDEOption) and option.code in DNSSEC_CODES:
            return _words(option)
    return ""


def _words(option: dns.edns.EDEOption) -> str:
    named = EDECode.to_text(option.code).replace("_", " ")
    return _storable(f"{named}: {option.text}" if option.text else named)[:LONGEST_WORDS]


# ---- Text ------------------------------------------------------------------------------------------------------------


def values_of(rrset: dns.rrset.RRset | None) -> tuple[str, ...]:
    """Sorted, so that the same records read the same from every server."""
    return tuple(sorted(_value(rdata) for rdata in rrset or ()))


def _value(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, TXT):
        return _storable(b"".join(rdata.strings).decode("utf-8", "replace"))
    if isinstance(rdata, CNAME):
        return text_of(rdata.target)
    return _storable(rdata.to_text())


def text_of(name: Name) -> str:
    """Lower case, without the final dot; odd octets are escaped (RFC 1035, 5.1)."""
    return name.to_text(omit_final_dot=True).lower()


def _storable(text: str) -> str:
    """PostgreSQL's text takes no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
