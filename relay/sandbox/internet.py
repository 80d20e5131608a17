"""What the sandbox's DNS says: the rows of its zone, and for all other names an internet whose mail comes to us.

Every domain has the exchanger `mx.sandbox.test` and two name servers, every host is at 127.0.0.1, except for the names scripted
here, the harsh exchangers (`relay.sandbox.misbehaviours`) and the sandbox's own name servers. TXT and CNAME exist only as rows.
It answers as a resolver or as an authority (`relay.sandbox.faults`), and lies where a fault says so. Pure, but for the look-up
that the caller brings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.edns
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

from domains.connect.template import DISCOVERY_LABEL
from domains.names import is_public_suffix, registrable_part
from domains.records import RETURN_PATH_LABEL
from relay.sandbox.dns_hosts import DNS_HOSTS, OWN
from relay.sandbox.faults import Fault, Kind, Role, Rows, trouble_of
from relay.sandbox.misbehaviours import HARSH_DOMAIN, misbehaviour_at

EXCHANGER = "mx.sandbox.test"
ADDRESS = "127.0.0.1"
TTL_S = 5  # a row published now is seen soon, also by those who asked before
UDP_PAYLOAD = 1232
LONGEST_CHAIN = 8  # CNAMEs followed
TXT_STRING_OCTETS = 255  # RFC 1035, 3.3

# A domain's two name servers, and the one of all public suffixes. Where loopback has no further addresses, all are at ADDRESS.
NAME_SERVERS = DNS_HOSTS[OWN].name_servers
REGISTRY_SERVER = "registry.dns.sandbox.test"
REGISTRY = 3  # its number; the others are 1 and 2
FURTHER_ADDRESSES = {2: "127.0.2.2", REGISTRY: "127.0.2.3"}  # by number
NUMBERS = {REGISTRY_SERVER: REGISTRY, **{host.name_servers[1]: 2 for host in DNS_HOSTS.values()}}
ROOT_SERVERS = ("a.root-servers.net.", "b.root-servers.net.")

NO_SUCH_DOMAINS = ("invalid", "nxdomain.test", "arpa")  # RFC 6761, 6.4: invalid never exists
BROKEN_DOMAINS = ("servfail.test",)
NULL_MX_DOMAINS = ("nullmx.test",)  # RFC 7505: takes no mail


@dataclass(frozen=True, slots=True)
class ZoneRows:
    """What the zone has that bears on a name: the rows at it, or else those that a wildcard gives it (RFC 4592), and whether
    there are rows below it. `cut`: the nearest name at or above it with NS or DS rows (RFC 1034, 4.2.1; RFC 4035, 2.4), empty
    when there is none, and the `rows_at_cut`. `faults`: of it and of the names above it."""

    rows: Rows = ()
    has_below: bool = False
    cut: str = ""
    rows_at_cut: Rows = ()
    faults: tuple[Fault, ...] = ()


Lookup = Callable[[str], Awaitable[ZoneRows]]  # by absolute name, lower case, without the final dot


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a query came: over which protocol, to the name server of which number. `apart`: each has an address of its own."""

    over_tcp: bool = False
    server: int = 1
    apart: bool = True


async def respond(
    query: dns.message.Message, lookup: Lookup, arrival: Arrival = Arrival()
) -> dns.message.Message | None:
    """The whole answer to a query; None: silence. Whatever `lookup` raises goes through."""
    role = Role.AUTHORITY
    if query.flags & dns.flags.RD:
        role = Role.RESOLVER
    elif arrival.server == REGISTRY:
        role = Role.REGISTRY
    response = dns.message.make_response(query, recursion_available=role is Role.RESOLVER, our_payload=UDP_PAYLOAD)
    # RFC 1034, 6.2: an authority speaks for the zone (AA); RFC 4035, 3.2.2: a resolver repeats CD.
    response.flags |= query.flags & dns.flags.CD if role is Role.RESOLVER else dns.flags.AA
    if query.opcode() != dns.opcode.QUERY:
        response.set_rcode(dns.rcode.NOTIMP)
    elif len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
    elif query.question[0].rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.REFUSED)
    else:
        return response if await _Answering(query, response, lookup, role, arrival).complete() else None
    return response


class _Answering:
    """One question on its way to its answer."""

    def __init__(
        self, query: dns.message.Message, response: dns.message.Message, lookup: Lookup, role: Role, arrival: Arrival
    ) -> None:
        self._query, self._response, self._lookup = query, response, lookup
        self._role, self._arrival = role, arrival
        self._type = query.question[0].rdtype
        self._is_signed = True

    async def complete(self) -> bool:
        """Fills in the response. False: there shall be none."""
        name = self._query.question[0].name
        home = ""
        for _ in range(LONGEST_CHAIN):
            text = text_of(name)
            if self._role is Role.REGISTRY and not _is_registrys(text):
                text = registrable_part(text)
            zone = await self._lookup(text)
            apex = apex_of(text, zone)
            home = home or apex
            # RFC 1034, 4.3.2, step 3a: an authority knows nothing of where other zones' names lead.
            if self._role is not Role.RESOLVER and apex != home:
                return True
            trouble = self._trouble(text, zone)
            if trouble and trouble.kind is not Kind.OLD:
                if self._suffer(trouble, apex):
                    return trouble.kind is not Kind.SILENT
                trouble = None
            if self._role is Role.REGISTRY and not _is_registrys(text):
                self._refer(apex, zone)
                return True
            rows, ttl_s = (trouble.rows, trouble.ttl_s or TTL_S) if trouble else (zone.rows, TTL_S)
            alias = next((value for row_type, value in rows if row_type == "CNAME"), None)
            if alias is None or self._type == RdataType.CNAME:
                break
            # RFC 1034, 3.6.2: a CNAME stands for all other types.
            self._response.answer.append(_rrset(name, RdataType.CNAME, [alias], ttl_s))
            self._note_signed(apex, zone)
            name = dns.name.from_text(alias)
        else:
            self._response.set_rcode(dns.rcode.SERVFAIL)  # a loop
            return True
        self._note_signed(apex, zone)
        self._conclude(name, _values(text, self._type, rows, zone, apex, self._arrival.apart), apex, ttl_s)
        return True

    def _trouble(self, name: str, zone: ZoneRows) -> Fault | None:
        if is_below(name, BROKEN_DOMAINS):
            return Fault(name, Kind.SERVFAIL)
        checking = not self._query.flags & dns.flags.CD
        return trouble_of(zone.faults, name, self._role, self._arrival.server, checking=checking)

    def _suffer(self, trouble: Fault, apex: str) -> bool:
        """Whether that was all: some faults let the rest of the answer be as it should."""
        response = self._response
        match trouble.kind:
            case Kind.SERVFAIL | Kind.BOGUS:
                response.set_rcode(dns.rcode.SERVFAIL)
                self._explain(trouble)
            case Kind.REFUSED:
                response.set_rcode(dns.rcode.REFUSED)
                response.flags &= ~dns.flags.AA
            case Kind.NXDOMAIN:
                response.set_rcode(dns.rcode.NXDOMAIN)
                is_gone = is_below(apex, (trouble.name,))  # the zone itself, not just a name in it
                response.authority.append(_soa(_above(trouble.name) if is_gone else apex, TTL_S))
            case Kind.UPWARD:
                response.flags &= ~dns.flags.AA
                response.authority.append(_rrset(dns.name.root, RdataType.NS, list(ROOT_SERVERS), TTL_S))
            case Kind.LAME:
                response.flags &= ~dns.flags.AA
                return False
            case Kind.TRUNCATED:
                if self._arrival.over_tcp:
                    return False
                response.answer.clear()
                response.flags |= dns.flags.TC
        return True

    def _explain(self, trouble: Fault) -> None:
        """RFC 8914, 2: only to those who speak EDNS."""
        is_explained = self._role is Role.RESOLVER and trouble.ede and self._query.edns >= 0
        if is_explained:
            option = dns.edns.EDEOption(dns.edns.EDECode(trouble.ede))
            self._response.use_edns(
                0, self._response.ednsflags, UDP_PAYLOAD, request_payload=self._query.payload, options=[option]
            )

    def _refer(self, apex: str, zone: ZoneRows) -> None:
        """RFC 1034, 4.2.1 and 4.3.2, step 3b: whom to ask instead."""
        if is_below(apex, NO_SUCH_DOMAINS):
            self._response.set_rcode(dns.rcode.NXDOMAIN)
            self._response.authority.append(_soa(_above(apex), TTL_S))
            return
        self._response.flags &= ~dns.flags.AA
        servers = _servers_of(apex, zone)
        self._response.authority.append(_rrset(dns.name.from_text(apex), RdataType.NS, servers, TTL_S))
        for server in servers:
            address = _address_of(server.rstrip(".").lower(), self._arrival.apart)
            self._response.additional.append(_rrset(dns.name.from_text(server), RdataType.A, [address], TTL_S))

    def _note_signed(self, apex: str, zone: ZoneRows) -> None:
        is_signed = zone.cut == apex and any(type_ == "DS" for type_, _ in zone.rows_at_cut)
        self._is_signed = self._is_signed and is_signed

    def _conclude(self, name: dns.name.Name, values: list[str] | None, apex: str, ttl_s: int) -> None:
        if values is None:
            self._response.set_rcode(dns.rcode.NXDOMAIN)
        if values:
            self._response.answer.append(_rrset(name, self._type, values, ttl_s))
        else:
            # RFC 2308, 3: says how long "nothing there" may be remembered
            is_gone = is_below(apex, NO_SUCH_DOMAINS)
            self._response.authority.append(_soa(_above(apex) if is_gone else apex, ttl_s))
        # RFC 6840, 5.7 and 5.8: AD tells those who understand it that the answer was validated.
        wants_ad = self._query.flags & dns.flags.AD or self._query.ednsflags & dns.flags.DO
        if self._role is Role.RESOLVER and self._is_signed and wants_ad:
            self._response.flags |= dns.flags.AD


# ---- What is where ---------------------------------------------------------------------------------------------------


def apex_of(name: str, zone: ZoneRows) -> str:
    """The zone that a name is in: each registered domain is one, and each name that has NS rows."""
    registered = name if name == "." else registrable_part(name)
    return zone.cut if len(zone.cut) >= len(registered) else registered


def _servers_of(apex: str, zone: ZoneRows) -> list[str]:
    own = [value for type_, value in zone.rows_at_cut if type_ == "NS"] if zone.cut == apex else []
    if own:
        return own
    return [f"{server}." for server in ([REGISTRY_SERVER] if _is_registrys(apex) else NAME_SERVERS)]


def _is_registrys(name: str) -> bool:
    return name == "." or is_public_suffix(name)


def _values(name: str, type_: RdataType, rows: Rows, zone: ZoneRows, apex: str, apart: bool) -> list[str] | None:
    """In zone file form; empty: the name has no such record; None: there is no such name."""
    if is_below(name, NO_SUCH_DOMAINS):
        return None
    explicit = [_quoted(value) if kind == "TXT" else value for kind, value in rows if kind == type_.name]
    if explicit:
        return explicit
    if name == apex and name != ".":
        if type_ == RdataType.NS:
            return _servers_of(apex, zone)
        if type_ == RdataType.SOA:
            return [_soa_value(TTL_S)]
    if type_ == RdataType.TXT and name.startswith(f"{DISCOVERY_LABEL}."):
        return [_quoted(f"{ADDRESS}:{settings.WEB_PORT}/sandbox/dns-host")]  # `relay.sandbox.dns_host`
    if any(label.startswith("_") for label in name.split(".")):
        # RFC 8552: underscored names exist where somebody made them; RFC 8020: what has names below it exists.
        return [] if rows or zone.has_below else None
    if name.endswith("." + HARSH_DOMAIN):
        return _harsh_values(name, type_)
    if name.startswith(f"{RETURN_PATH_LABEL}."):
        return []  # a host that is there by itself would look like one put in a return path's place
    if type_ == RdataType.MX and "." in name:
        return ["0 ."] if is_below(name, NULL_MX_DOMAINS) else [f"10 {EXCHANGER}."]
    return [_address_of(name, apart)] if type_ == RdataType.A and name else []


def _address_of(host: str, apart: bool) -> str:
    return FURTHER_ADDRESSES.get(NUMBERS.get(host, 1), ADDRESS) if apart else ADDRESS


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


# ---- On the wire -----------------------------------------------------------------------------------------------------


def text_of(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _above(name: str) -> str:
    return name.partition(".")[2] or "."


def _quoted(text: str) -> str:
    """A TXT as strings of at most 255 octets, in zone file form (RFC 1035, 5.1)."""
    octets = text.encode()
    parts = [octets[at : at + TXT_STRING_OCTETS] for at in range(0, len(octets), TXT_STRING_OCTETS)] or [b""]
    return " ".join('"' + "".join(f"\\{octet:03d}" for octet in part) + '"' for part in parts)


def _rrset(name: dns.name.Name, type_: RdataType, values: list[str], ttl_s: int) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(
        name, ttl_s, dns.rdataclass.IN, type_, values, origin=dns.name.root, relativize=False
    )


def _soa(zone: str, ttl_s: int) -> dns.rrset.RRset:
    return _rrset(dns.name.from_text(zone), RdataType.SOA, [_soa_value(ttl_s)], ttl_s)


def _soa_value(ttl_s: int) -> str:
    """RFC 2308, 4: its last number says how long "nothing there" may be remembered."""
    return f"{NAME_SERVERS[0]}. hostmaster.sandbox.test. 1 3600 600 86400 {ttl_s}"
