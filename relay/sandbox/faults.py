"""How the sandbox's DNS lies: faults of names, and what each makes of an answer. No I/O.

A query with RD set goes to the *resolver*, a public one that validates; without it to an *authority* (RFC 1035, 4.1.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

Rows = tuple[tuple[str, str], ...]  # (type, value)


class Role(StrEnum):
    """Who is asked. `REGISTRY`: an authority of the public suffix, which only refers to the domain's own."""

    RESOLVER = "resolver"
    AUTHORITY = "authority"
    REGISTRY = "registry"


class Kind(StrEnum):
    """The gravest come first: one that is there hides those that follow."""

    SILENT = "silent"
    REFUSED = "refused"
    SERVFAIL = "servfail"
    NXDOMAIN = "nxdomain"
    BOGUS = "bogus"
    UPWARD = "upward"
    LAME = "lame"
    TRUNCATED = "truncated"
    OLD = "old"


KINDS = {
    Kind.SILENT: "gives no answer",
    Kind.REFUSED: "REFUSED",
    Kind.SERVFAIL: "SERVFAIL",
    Kind.NXDOMAIN: "NXDOMAIN: neither the name nor anything below it exists",
    Kind.BOGUS: "DNSSEC does not validate: SERVFAIL, unless the query has CD",
    Kind.UPWARD: "lame: refers upward, to the root",
    Kind.LAME: "lame: answers without AA",
    Kind.TRUNCATED: "answers over UDP are cut to nothing",
    Kind.OLD: "says what was there before",
}

# An authority of which no other makes up for: resolvers cannot answer either (RFC 1034, 5.3.3).
OF_NO_USE = {Kind.SILENT, Kind.REFUSED, Kind.SERVFAIL, Kind.UPWARD, Kind.LAME}

DNSSEC_BOGUS, DNSKEY_MISSING, RRSIGS_MISSING, NO_REACHABLE_AUTHORITY = 6, 9, 10, 22  # RFC 8914, 4


@dataclass(frozen=True, slots=True)
class Fault:
    """A lie about a name and all below it; `OLD` is about the name alone.

    `role`: who tells it; None: everybody. `server`: the only one of the domain's two authorities that tells it; 0: both.
    `rows`: what `OLD` says in place of the name's rows. `ede`: the code that comes with `BOGUS` (RFC 8914).
    `remaining_s`: for how long still; None: until it is taken away.
    """

    name: str
    kind: Kind
    role: Role | None = None
    server: int = 0
    rows: Rows = ()
    ede: int = DNSSEC_BOGUS
    remaining_s: float | None = None

    @property
    def ttl_s(self) -> int | None:
        """What a cache says that goes on saying this: the seconds left (RFC 1034, 3.6); None: it is no cache."""
        is_cached = self.role is Role.RESOLVER and self.remaining_s is not None
        return max(1, ceil(self.remaining_s or 0)) if is_cached else None


def trouble_of(faults: Iterable[Fault], name: str, role: Role, server: int, *, checking: bool) -> Fault | None:
    """The gravest fault that shows at a name, to one who asks `server` in its `role`; a resolver's as a consequence of its
    authorities' is a SERVFAIL. `checking`: the query has no CD (RFC 4035, 3.2.2)."""
    shown = [shown for fault in faults if (shown := _shown(fault, name, role, server, checking))]
    return min(shown, key=lambda fault: list(Kind).index(fault.kind), default=None)


def _shown(fault: Fault, name: str, role: Role, server: int, checking: bool) -> Fault | None:
    if name != fault.name and (fault.kind is Kind.OLD or not name.endswith("." + fault.name)):
        return None
    if role is Role.REGISTRY:
        return fault if fault.kind is Kind.NXDOMAIN else None
    if fault.kind is Kind.BOGUS:
        return fault if role is Role.RESOLVER and checking else None
    if role is Role.RESOLVER and fault.role is Role.AUTHORITY:
        is_helpless = fault.kind in OF_NO_USE and not fault.server
        return Fault(fault.name, Kind.SERVFAIL, ede=NO_REACHABLE_AUTHORITY) if is_helpless else None
    if fault.role not in {None, role} or (role is Role.AUTHORITY and fault.server not in {0, server}):
        return None
    return fault
