"""What the sandbox's DNS says: the rows of its zone, and for all other names an internet whose mail comes to us.

Every domain has the exchanger `mx.sandbox.test`, every host is at 127.0.0.1, except for the names scripted here and the
harsh exchangers (`relay.sandbox.misbehaviours`). TXT and CNAME exist only as rows. Pure, but for the look-up of rows that
the caller brings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from django.conf import settings
from dns.rdatatype import RdataType

from domains.connect_template import DISCOVERY_LABEL
from relay.sandbox.misbehaviours import HARSH_DOMAIN, misbehaviour_at

EXCHANGER = "mx.sandbox.test"
ADDRESS = "127.0.0.1"
TTL_S = 5  # a row published now is seen soon, also by those who asked before
UDP_PAYLOAD = 1232
LONGEST_CHAIN = 8  # CNAMEs followed
TXT_STRING_OCTETS = 255  # RFC 1035, 3.3

NO_SUCH_DOMAINS = ("invalid", "nxdomain.test", "arpa")  # RFC 6761, 6.4: invalid never exists
BROKEN_DOMAINS = ("servfail.test",)
NULL_MX_DOMAINS = ("nullmx.test",)  # RFC 7505: takes no mail


@dataclass(frozen=True, slots=True)
class ZoneRows:
    """The rows at a name, as (type, value), and whether there are rows below it."""

    rows: tuple[tuple[str, str], ...] = ()
    has_below: bool = False


Lookup = Callable[[str], Awaitable[ZoneRows]]  # by absolute name, lower case, without the final dot


async def respond(query: dns.message.Message, lookup: Lookup) -> dns.message.Message:
    """The whole answer to a query. Whatever `lookup` raises goes through."""
    response = dns.message.make_response(query, recursion_available=True, our_payload=UDP_PAYLOAD)
    response.flags |= dns.flags.AA
    if query.opcode() != dns.opcode.QUERY:
        response.set_rcode(dns.rcode.NOTIMP)
    elif len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
    elif query.question[0].rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.REFUSED)
    else:
        await _resolve(query.question[0].name, query.question[0].rdtype, lookup, response)
    return response


async def _resolve(asked: dns.name.Name, type_: RdataType, lookup: Lookup, response: dns.message.Message) -> None:
    name = asked
    for _ in range(LONGEST_CHAIN):
        if is_below(text_of(name), BROKEN_DOMAINS):
            response.set_rcode(dns.rcode.SERVFAIL)
            return
        zone = await lookup(text_of(name))
        alias = next((value for row_type, value in zone.rows if row_type == "CNAME"), None)
        if alias is None or type_ == RdataType.CNAME:
            break
        # RFC 1034, 3.6.2: a CNAME stands for all other types.
        response.answer.append(_rrset(name, RdataType.CNAME, [alias]))
        name = dns.name.from_text(alias)
    else:
        response.set_rcode(dns.rcode.SERVFAIL)  # a loop
        return
    values = _values(text_of(name), type_, zone)
    if values is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    if values:
        response.answer.append(_rrset(name, type_, values))
    else:
        response.authority.append(_soa(name))  # RFC 2308, 3: says how long "nothing there" may be remembered


def _values(name: str, type_: RdataType, zone: ZoneRows) -> list[str] | None:
    """In zone file form; empty: the name has no such record; None: there is no such name."""
    if is_below(name, NO_SUCH_DOMAINS):
        return None
    explicit = [_quoted(value) if kind == "TXT" else value for kind, value in zone.rows if kind == type_.name]
    if explicit:
        return explicit
    if type_ == RdataType.TXT and name.startswith(f"{DISCOVERY_LABEL}."):
        return [_quoted(f"{ADDRESS}:{settings.WEB_PORT}/sandbox/dns-host")]  # `relay.sandbox.dns_host`
    if any(label.startswith("_") for label in name.split(".")):
        # RFC 8552: underscored names exist where somebody made them; RFC 8020: what has names below it exists.
        return [] if zone.rows or zone.has_below else None
    if name.endswith("." + HARSH_DOMAIN):
        return _harsh_values(name, type_)
    if type_ == RdataType.MX and "." in name:
        return ["0 ."] if is_below(name, NULL_MX_DOMAINS) else [f"10 {EXCHANGER}."]
    return [ADDRESS] if type_ == RdataType.A and name else []


def _harsh_values(name: str, type_: RdataType) -> list[str] | None:
    """Each has its own exchanger at its own address; a misspelt one does not exist."""
    misbehaviour = misbehaviour_at(name)
    if misbehaviour is None:
        return None
    values = {RdataType.MX: f"10 {misbehaviour.host}.", RdataType.A: misbehaviour.address}
    return [values[type_]] if type_ in values else []


def is_below(name: str, domains: tuple[str, ...]) -> bool:
    """Whether a name is one of the domains or lies below one."""
    return any(name == domain or name.endswith("." + domain) for domain in domains)


def text_of(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _quoted(text: str) -> str:
    """A TXT as strings of at most 255 octets, in zone file form (RFC 1035, 5.1)."""
    octets = text.encode()
    parts = [octets[at : at + TXT_STRING_OCTETS] for at in range(0, len(octets), TXT_STRING_OCTETS)] or [b""]
    return " ".join('"' + "".join(f"\\{octet:03d}" for octet in part) + '"' for part in parts)


def _rrset(name: dns.name.Name, type_: RdataType, values: list[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(
        name, TTL_S, dns.rdataclass.IN, type_, values, origin=dns.name.root, relativize=False
    )


def _soa(name: dns.name.Name) -> dns.rrset.RRset:
    zone = dns.name.Name(name.labels[-2:]) if len(name.labels) > 1 else name
    return _rrset(zone, RdataType.SOA, [f"ns.sandbox.test. hostmaster.sandbox.test. 1 3600 600 86400 {TTL_S}"])
