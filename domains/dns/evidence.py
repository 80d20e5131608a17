"""What DNS was heard to say about a domain: brought by `domains.dns.asking`, judged by `domains.diagnosis.judge`. No I/O.

Values are text: a TXT's strings joined (RFC 7208, 3.3; RFC 6376, 3.6.2.2), a CNAME's target or a name server's name without
the final dot, an address. Names are absolute, lower case, without the final dot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why there was no answer."""

    TIMEOUT = "timeout"
    SERVFAIL = "servfail"  # RFC 1035, 4.1.1
    REFUSED = "refused"  # RFC 1035, 4.1.1
    LAME = "lame"  # it answers, but not for this zone: no AA bit (RFC 1034, 4.3.1)
    MALFORMED = "malformed"
    BOGUS = (
        "bogus"  # a validating resolver fails, and answers when told not to check (RFC 4035, 3.2.2; RFC 8914: 6 to 12)
    )


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer to a question for a name and type. With a `failure` there is nothing else.

    `exists`: False for NXDOMAIN. `alias`: the CNAME's target through which the values came, or which leads nowhere; empty
    when CNAME itself was asked. `ttl_s`: for how long caches may repeat this answer, also that there is nothing (RFC 2308).
    `server`: who said it, a name server's name or a resolver's address.
    """

    server: str
    values: tuple[str, ...] = ()
    failure: Failure | None = None
    exists: bool = True
    alias: str = ""
    ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A place where a record ends up by mistake, and what is there."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordEvidence:
    """What was heard of one record.

    `authority`: of each of the zone's name servers that was asked; empty when none could be found. `resolvers`: of public
    resolvers. They are asked only when every authority that answered has something, or none answered: else our own question
    would make them remember that there is nothing. What follows was asked only where the record itself was not to be seen.
    """

    authority: tuple[Heard, ...] = ()
    resolvers: tuple[Heard, ...] = ()
    wrong_type: tuple[str, ...] = ()  # TXT values where a CNAME is wanted, the CNAME's target where a TXT is wanted
    addresses: tuple[str, ...] = ()  # A and AAAA where a CNAME is wanted: the host answers in its place (a proxy)
    doubled: Elsewhere | None = None  # the name with the domain appended twice
    bare: Elsewhere | None = None  # the name without its underscores
    at_apex: tuple[str, ...] = ()  # values of this type at the domain itself, where a name left empty ends up
    is_wildcard: bool = False  # a random name beside it holds the same values (RFC 4592)
    # DMARC only: what is at `_dmarc.` and the organizational domain, when that is another one (RFC 7489, 6.6.3). The tree walk
    # of DMARCbis ends there too.
    inherited: Elsewhere | None = None


@dataclass(frozen=True, slots=True)
class NameServer:
    name: str
    addresses: tuple[str, ...] = ()
    failure: Failure | None = None  # it was asked and of no use


@dataclass(frozen=True, slots=True)
class ZoneEvidence:
    """The zone that a domain is in. `exists`: False when the registered domain itself is NXDOMAIN.

    `failure`: why not even its name servers could be learned. `dnssec`: the words of the resolver about a failed validation.
    """

    apex: str = ""
    name_servers: tuple[NameServer, ...] = ()
    exists: bool = True
    failure: Failure | None = None
    dnssec: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of a domain: its zone, and its records by the id of their rows."""

    zone: ZoneEvidence
    records: dict[object, RecordEvidence]
