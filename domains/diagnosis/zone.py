"""What is wrong with the zone that a domain is in, or with the servers that answer for it. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from domains.diagnosis.hosts import DnsHost
from domains.diagnosis.table import Diagnosis
from domains.diagnosis.texts import listed, shown
from domains.dns.evidence import Failure, NameServer, ZoneEvidence

KEPT_RESOLVER_WORDS = 300

WITHOUT_ANSWER = {
    Failure.TIMEOUT: Diagnosis.NAMESERVERS_TIMEOUT,
    Failure.SERVFAIL: Diagnosis.NAMESERVERS_SERVFAIL,
    Failure.REFUSED: Diagnosis.NAMESERVERS_REFUSED,
    Failure.LAME: Diagnosis.NAMESERVERS_LAME,
    Failure.MALFORMED: Diagnosis.NAMESERVERS_MALFORMED,
    Failure.BOGUS: Diagnosis.DNSSEC_FAILURE,
}


class Fault(NamedTuple):
    """`what` is wrong and the `remedy`, both in sentences. `is_partial`: the zone can be read all the same."""

    diagnosis: Diagnosis
    what: str
    remedy: str
    is_partial: bool = False


def read_zone(zone: ZoneEvidence, name: str, host: DnsHost) -> Fault | None:
    """None when all is well. `name`: of the zone; empty: not known."""
    if not zone.exists:
        return in_words(Diagnosis.DOMAIN_DOES_NOT_EXIST, name, host)
    if zone.dnssec:
        return in_words(Diagnosis.DNSSEC_FAILURE, name, host, resolver_says=zone.dnssec)
    failing = [server for server in zone.name_servers if server.failure is not None]
    if failing:
        return _failing_servers(failing, zone, name, host)
    if zone.failure is not None:
        return in_words(WITHOUT_ANSWER[zone.failure], name, host)
    if zone.apex and not zone.name_servers:
        return in_words(Diagnosis.NO_NAMESERVERS, name, host)
    return None


def most_frequent(failures: Sequence[Failure]) -> Failure:
    """Of equals the first in the table, so that the order of answers does not matter."""
    counted = Counter(failures)
    return max(WITHOUT_ANSWER, key=lambda failure: counted[failure])


# ---- Some servers of several -----------------------------------------------------------------------------------------

# What one does, and several do.
DOES = {
    Failure.TIMEOUT: ("does not answer", "do not answer"),
    Failure.SERVFAIL: ("answers with SERVFAIL", "answer with SERVFAIL"),
    Failure.REFUSED: ("refuses to answer", "refuse to answer"),
    Failure.LAME: ("does not know the domain", "do not know the domain"),
    Failure.MALFORMED: ("answers with nonsense", "answer with nonsense"),
    Failure.BOGUS: ("has signatures that do not fit", "have signatures that do not fit"),
}
NO_ADDRESS = ("has no address", "have no address")


def _failing_servers(failing: Sequence[NameServer], zone: ZoneEvidence, name: str, host: DnsHost) -> Fault:
    failure = most_frequent([server.failure for server in failing if server.failure])
    servers = [server for server in failing if server.failure == failure]
    names = [server.name for server in servers]
    if len(failing) == len(zone.name_servers):
        return in_words(WITHOUT_ANSWER[failure], name, host, names, zone.dnssec)
    is_nowhere = failure == Failure.TIMEOUT and not any(server.addresses for server in servers)
    does = (NO_ADDRESS if is_nowhere else DOES[failure])[len(servers) > 1]
    return Fault(
        WITHOUT_ANSWER[failure],
        f"Of the name servers of {name or 'the domain'}, {listed(names)} {does}. The others answer, so mail goes on, at times "
        "more slowly.",
        f"Ask {host.name}, or take what fails out of the domain’s name servers at the registrar.",
        is_partial=True,
    )


# ---- In words --------------------------------------------------------------------------------------------------------


def in_words(
    diagnosis: Diagnosis, name: str, host: DnsHost, servers: Sequence[str] = (), resolver_says: str = ""
) -> Fault:
    """Of the zone `name`; `servers`: those that failed; `resolver_says`: of a failed validation."""
    zone, at_start = (name, name) if name else ("the domain", "The domain")
    which = f" ({listed(servers)})" if servers else ""
    says = f" The resolver says: “{shown(resolver_says, KEPT_RESOLVER_WORDS)}”." if resolver_says else ""
    what, remedy = {
        Diagnosis.DOMAIN_DOES_NOT_EXIST: (
            f"DNS says that {zone} does not exist.",
            "See whether it is spelt right and registered, and at the registrar whether it has expired or is on hold.",
        ),
        Diagnosis.NO_NAMESERVERS: (
            f"{at_start} has no name servers, so nothing in it can be found.",
            "Enter those of your DNS host at the registrar.",
        ),
        Diagnosis.NAMESERVERS_TIMEOUT: (
            f"The name servers of {zone} did not answer in time{which}.",
            f"If it lasts, ask {host.name}, and compare the name servers at the registrar with those that {host.name} gives.",
        ),
        Diagnosis.NAMESERVERS_LAME: (
            f"The name servers of {zone} do not know the domain{which}.",
            f"Add it {host.at}, or enter the name servers that your DNS host gives at the registrar.",
        ),
        Diagnosis.NAMESERVERS_REFUSED: (
            f"The name servers of {zone} refuse to answer{which}.",
            f"As a rule the domain was removed there, or is not paid for: look {host.at}, and whether the registrar names the "
            "right name servers.",
        ),
        Diagnosis.NAMESERVERS_SERVFAIL: (
            f"The name servers of {zone} answer with an error, SERVFAIL{which}.",
            f"If it lasts, look for errors in the zone, or ask {host.name}.",
        ),
        Diagnosis.NAMESERVERS_MALFORMED: (
            f"The name servers of {zone} answer with something that is not DNS{which}.",
            f"Ask {host.name}.",
        ),
        Diagnosis.DNSSEC_FAILURE: (
            f"{at_start} is signed with DNSSEC, and the signatures do not fit, so resolvers that validate treat it as missing."
            f"{says}",
            f"At the registrar compare the DS record with the DNSKEY {host.at}: replace the DS by the one that {host.name} "
            "gives, or remove it to switch DNSSEC off.",
        ),
    }.get(diagnosis, (f"DNS was asked about {zone}, and no answer came in time.", "Nothing needs to be done."))
    return Fault(diagnosis, what, remedy)
