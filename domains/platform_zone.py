"""The DNS records that whoever runs an installation publishes in the platform's own zone, and what is wrong with them. No I/O.

SYSTEM_DOMAIN, from which the platform sends its own mail, is a sending domain like any other and has its own records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from domains.spf.grammar import Term, is_spf, parse

TTL_S = 3600
TXT_STRING_OCTETS = 255  # RFC 1035, 3.3


@dataclass(frozen=True, slots=True)
class Source:
    """An address that mail leaves from, and the name that it presents itself by."""

    address: IPv4Address | IPv6Address
    ehlo_name: str


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """`type` A, AAAA, MX, TXT, CNAME, PTR; names and targets absolute, without the final dot; a TXT's value is its text.

    A PTR is set where the address comes from, mostly a hosting company, and is not part of the zone.
    """

    name: str
    type: str
    value: str
    why: str


def sources_of(hostname: str, addresses: Sequence[str], named: Sequence[tuple[str, str]] = ()) -> list[Source]:
    """`addresses` present themselves as `hostname`, `named` by the name beside each. Raises ValueError for what is none."""
    pairs = [*((address, hostname) for address in addresses), *named]
    return list(dict.fromkeys(Source(ip_address(address), name.rstrip(".").lower()) for address, name in pairs))


def platform_records(hostname: str, return_path_target: str, sources: Sequence[Source]) -> list[PlatformRecord]:
    """In the order in which one would explain them."""
    hostname, target = hostname.rstrip(".").lower(), return_path_target.rstrip(".").lower()
    spf = " ".join(["v=spf1", *dict.fromkeys(_term_of(source) for source in sources), "-all"])
    records = [
        *(
            PlatformRecord(
                source.ehlo_name, _address_type(source), str(source.address), "the name said in EHLO leads to us"
            )
            for source in sources
        ),
        PlatformRecord(target, "MX", f"10 {hostname}", "bounces come back to us"),
        PlatformRecord(target, "TXT", spf, "SPF of all that is sent: customers’ return paths lead here"),
        # RFC 7208, 2.3: where there is no return path, as in bounces, the EHLO name is checked.
        *(
            PlatformRecord(name, "TXT", "v=spf1 a -all", "SPF of the name said in EHLO")
            for name in dict.fromkeys(source.ehlo_name for source in sources)
            if name != target
        ),
        *(
            PlatformRecord(
                source.address.reverse_pointer, "PTR", source.ehlo_name, "many receivers refuse us without it"
            )
            for source in sources
        ),
    ]
    return records


def zone_file(records: Sequence[PlatformRecord]) -> str:
    """RFC 1035, 5.1, each record with the reason for it above. What others have to set is commented out."""
    lines: list[str] = []
    for record in records:
        line = f"{record.name}. {TTL_S} IN {record.type} {_presented(record)}"
        is_ours = record.type != "PTR"
        lines += [f"; {record.why}", line if is_ours else f"; (set by whoever gave you the address) {line}"]
    return "\n".join(lines) + "\n"


def fault_of(record: PlatformRecord, found: Sequence[str]) -> str:
    """What is wrong with the values that DNS holds at the record's name and of its type; empty when nothing is."""
    if not found:
        return "is missing"
    match record.type:
        case "TXT":
            return _spf_fault(record, found)
        case "MX":
            targets = [value.split()[-1].rstrip(".").lower() for value in found]
            return "" if record.value.split()[-1] in targets else f"leads to {', '.join(targets)} instead"
        case "PTR":
            names = [value.rstrip(".").lower() for value in found]
            return "" if record.value in names else f"names {', '.join(names)} instead"
        case _:
            addresses = {ip_address(value) for value in found}
            return (
                ""
                if ip_address(record.value) in addresses
                else f"holds {', '.join(sorted(map(str, addresses)))} instead"
            )


def _spf_fault(record: PlatformRecord, found: Sequence[str]) -> str:
    """Spelt as one likes, as long as each address of ours may pass."""
    records = [value for value in found if is_spf(value)]
    if len(records) != 1:
        return f"has {len(records)} SPF records instead of one"
    parsed = parse(records[0])
    if parsed.mistakes:
        mistake = parsed.mistakes[0]
        return f"has a mistake at character {mistake.at}: “{mistake.text}” {mistake.problem}"
    passing = [term for term in parsed.evaluated if term.qualifier in {"+", "="}]
    if any(term.asks for term in passing):
        return ""  # what it leads to is not ours to judge
    wanted = [term for term in parse(record.value).evaluated if term.prefix is not None]
    missed = [term.text for term in wanted if not any(_covers(other, term) for other in passing)]
    return f"does not hold {', '.join(missed)}" if missed else ""


def _covers(term: Term, wanted: Term) -> bool:
    if term.name != wanted.name:
        return term.name == "all"
    return ip_address(wanted.text.partition(":")[2]) in ip_network(term.text.partition(":")[2], strict=False)


def _term_of(source: Source) -> str:
    return f"ip{source.address.version}:{source.address}"


def _address_type(source: Source) -> str:
    return "A" if source.address.version == 4 else "AAAA"


def _presented(record: PlatformRecord) -> str:
    if record.type != "TXT":
        return record.value + ("." if record.type in {"MX", "PTR", "CNAME"} else "")
    text = record.value  # of our making: ASCII without quotation marks and backslashes
    strings = [text[at : at + TXT_STRING_OCTETS] for at in range(0, len(text), TXT_STRING_OCTETS)]
    return " ".join(f'"{string}"' for string in strings)
