"""The mistakes that people make with DNS records, and the trouble that DNS makes by itself: a table, each entry a change of
what is published. No I/O.

`relay.sandbox.zone.publish` takes one by its name, and the page of a domain offers them in sandbox mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from domains.records import AskedRecord
from relay.sandbox.faults import DNSKEY_MISSING, RRSIGS_MISSING, Fault, Kind, Role

CACHED_FOR_S = 180
TEXT_FIELD = 255  # what some DNS forms take
PEM_LINE = 64
LONGEST_NAME = 253  # RFC 1035, 2.3.4
LOOKUPS_TOO_MANY = 11  # RFC 7208, 4.6.4: ten are allowed
ELSEWHERE = "returns.another-service.example."
PROXIES = ("192.0.2.10", "192.0.2.11")  # RFC 5737


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the zone. `purpose`: what the record is for that it began as (domains.models.RecordPurpose)."""

    purpose: str
    name: str
    type: str
    value: str

    @property
    def is_dkim(self) -> bool:
        return self.purpose.startswith("dkim")


@dataclass(frozen=True, slots=True)
class Publication:
    """What the zone is to hold for a domain."""

    domain: str
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()


Change = Callable[[Publication], Publication]


@dataclass(frozen=True, slots=True)
class Mistake:
    """`name` stays the same for ever. `words` say what was done."""

    name: str
    words: str
    group: str
    change: Change


def as_asked(domain: str, records: Iterable[AskedRecord]) -> Publication:
    """Without any mistake."""
    return Publication(
        domain,
        tuple(
            Row(record.purpose, record.name, record.type, _target(record.value) if record.type == "CNAME" else record.value)
            for record in records
        ),
    )  # fmt: skip


def with_mistake(publication: Publication, name: str) -> Publication:
    """Names that became too long for DNS are left out, as every DNS host would do. Raises KeyError: no such mistake."""
    changed = MISTAKES[name].change(publication)
    return replace(changed, rows=tuple(row for row in changed.rows if len(row.name) <= LONGEST_NAME))


# ---- Ways to change a publication ------------------------------------------------------------------------------------

ChangeRow = Callable[[Row, str], Row | Sequence[Row]]  # the row and the domain
Choice = Callable[[Row], bool]


def _each(change: ChangeRow, choose: Choice = lambda row: True) -> Change:
    def changed(publication: Publication) -> Publication:
        rows: list[Row] = []
        for row in publication.rows:
            made = change(row, publication.domain) if choose(row) else row
            rows += [made] if isinstance(made, Row) else made
        return replace(publication, rows=tuple(dict.fromkeys(rows)))

    return changed


def _value(change: Callable[[str], str], choose: Choice = lambda row: row.type == "TXT") -> Change:
    return _each(lambda row, _: replace(row, value=change(row.value)), choose)


def _besides(name: str, type_: str, *values: str) -> Change:
    """More rows; the `name` is relative to the domain, which `{domain}` in a value stands for."""

    def changed(publication: Publication) -> Publication:
        more = (
            Row("", f"{name}.{publication.domain}".lstrip("."), type_, one.format(domain=publication.domain))
            for one in values
        )
        return replace(publication, rows=(*publication.rows, *more))  # fmt: skip

    return changed


def _only(change: Change) -> Change:
    """The rows that are made, and none that was asked for."""
    return lambda publication: change(replace(publication, rows=()))


def _both(*changes: Change) -> Change:
    def changed(publication: Publication) -> Publication:
        for change in changes:
            publication = change(publication)
        return publication

    return changed


def _fault(kind: Kind, role: Role | None = None, *, server: int = 0, ede: int = 0) -> Change:
    """Of the whole domain."""
    return lambda publication: replace(
        publication, faults=(*publication.faults, Fault(publication.domain, kind, role, server, ede=ede))
    )


def _old(before: Change, role: Role, *, server: int = 0, remaining_s: float | None = None) -> Change:
    """The records are right; some go on saying what was there `before`."""

    def changed(publication: Publication) -> Publication:
        old: dict[str, list[tuple[str, str]]] = {row.name: [] for row in publication.rows}
        for row in before(publication).rows:
            old.setdefault(row.name, []).append((row.type, row.value))
        faults = [
            Fault(name, Kind.OLD, role, server, tuple(rows), remaining_s=remaining_s) for name, rows in old.items()
        ]
        return replace(publication, faults=(*publication.faults, *faults))  # fmt: skip

    return changed


def _nothing(publication: Publication) -> Publication:
    return replace(publication, rows=())


def _of(*purposes: str) -> Choice:
    return lambda row: row.purpose in purposes


def _is_dkim(row: Row) -> bool:
    return row.is_dkim


# ---- Changes of names and values -------------------------------------------------------------------------------------


def _target(name: str) -> str:
    """As in a zone file."""
    return f"{name.rstrip('.')}."


def _in_the_middle(what: str) -> Callable[[str], str]:
    return lambda value: value[: len(value) // 2] + what + value[len(value) // 2 :]


def _without_a_line(value: str) -> str:
    """A key that was split into lines and put together again without the second."""
    at = value.find("p=") + len("p=") + PEM_LINE
    return value[:at] + value[at + PEM_LINE :] if len(value) > TEXT_FIELD else value


def _in_two(row: Row, _: str) -> Sequence[Row]:
    """Each part of a split value became a record of its own."""
    parts = (row.value[:TEXT_FIELD], row.value[TEXT_FIELD:])
    return [replace(row, value=part) for part in parts if part]


def _with_other_key(value: str) -> str:
    head, mark, key = value.partition("p=")
    return head + mark + key.swapcase()


def _swap_keys(publication: Publication) -> Publication:
    """Each DKIM record holds the value of the next, the last that of the first."""
    values = [row.value for row in publication.rows if row.is_dkim]
    turned = iter(values[1:] + values[:1])
    return replace(
        publication,
        rows=tuple(replace(row, value=next(turned)) if row.is_dkim else row for row in publication.rows),
    )


def _without_underscores(row: Row, _: str) -> Row:
    return replace(row, name=re.sub(r"(^|\.)_", r"\1", row.name))


def _twice(other: Callable[[str], str]) -> ChangeRow:
    return lambda row, _: [row, replace(row, value=other(row.value))]


_WRONG_TOKEN = _value(lambda value: value[:-8] + "00000000", _of("ownership"))
_OTHER_KEY = _value(_with_other_key, _is_dkim)
_OTHER_TARGET = _value(lambda _: ELSEWHERE, _of("return_path"))
_EARLIER = _both(
    _WRONG_TOKEN, _OTHER_KEY, _OTHER_TARGET, _value(lambda _: "v=DMARC1; rua=mailto:a@b.example", _of("dmarc"))
)

# ---- The table -------------------------------------------------------------------------------------------------------

NAMES, VALUES, TYPES, DMARC, SPF, DNS = "Names", "Values", "Types", "DMARC", "The domain’s own SPF", "DNS itself"

_TABLE = [
    Mistake("doubled_name", "the domain appended twice to each name", NAMES,
            _each(lambda row, domain: replace(row, name=f"{row.name}.{domain}"))),
    Mistake("underscore_refused", "names without their underscores", NAMES, _each(_without_underscores)),
    Mistake("name_empty", "the name left empty: TXT values at the domain itself", NAMES,
            _each(lambda row, domain: replace(row, name=domain), lambda row: row.type == "TXT")),
    Mistake("dkim_forgotten", "the DKIM records left out", NAMES, _each(lambda *_: (), _is_dkim)),
    Mistake("wildcard_txt", "nothing but a wildcard TXT, which answers for every name", NAMES,
            _only(_besides("*", "TXT", "v=spf1 -all"))),
    Mistake("wildcard_cname", "nothing but a wildcard CNAME, which answers for every name", NAMES,
            _only(_besides("*", "CNAME", "parked.another-service.example."))),
    Mistake("quotes", "quotation marks inside the values", VALUES, _value(lambda value: f'"{value}"')),
    Mistake("spaces", "spaces inside the values", VALUES, _value(_in_the_middle(" "))),
    Mistake("backslashes", "backslashes before the semicolons", VALUES, _value(lambda value: value.replace(";", "\\;"))),
    Mistake("lower_case", "values in lower case", VALUES, _value(str.lower)),
    Mistake("wrong_token", "another ownership token", VALUES, _WRONG_TOKEN),
    Mistake("key_part_lost", "the DKIM key lost one of its lines", VALUES, _value(_without_a_line, _is_dkim)),
    Mistake("key_cut_off", "the DKIM key cut off at 255 characters", VALUES,
            _value(lambda value: value[:TEXT_FIELD], _is_dkim)),
    Mistake("key_in_two_records", "the DKIM key split into two records", VALUES, _each(_in_two, _is_dkim)),
    Mistake("two_dkim", "a second DKIM record at the same name", VALUES, _each(_twice(_with_other_key), _is_dkim)),
    Mistake("keys_swapped", "each DKIM key at the other’s name", VALUES, _swap_keys),
    Mistake("other_key", "another DKIM key", VALUES, _OTHER_KEY),
    Mistake("key_revoked", "an empty DKIM key", VALUES, _value(lambda value: value.partition("p=")[0] + "p=", _is_dkim)),
    Mistake("key_restricted", "a DKIM key that is not for mail", VALUES,
            _value(lambda value: value.replace("p=", "s=tlsrpt; p="), _is_dkim)),
    Mistake("elsewhere", "the return path points elsewhere", VALUES, _OTHER_TARGET),
    Mistake("target_doubled", "the domain appended to the return path’s target", VALUES,
            _each(lambda row, domain: replace(row, value=f"{row.value}{domain}."), _of("return_path"))),
    Mistake("cname_for_txt", "CNAME where TXT is needed", TYPES,
            _each(lambda row, _: replace(row, type="CNAME", value=ELSEWHERE), lambda row: row.type == "TXT")),
    Mistake("txt_for_cname", "TXT where CNAME is needed", TYPES,
            _each(lambda row, _: replace(row, type="TXT", value=row.value.rstrip(".")), lambda row: row.type == "CNAME")),
    Mistake("proxied", "the return path proxied: addresses in place of the CNAME", TYPES,
            _each(lambda row, _: [replace(row, type="A", value=address) for address in PROXIES], _of("return_path"))),
    Mistake("two_dmarc", "two DMARC records", DMARC, _each(_twice(lambda _: "v=DMARC1; p=reject"), _of("dmarc"))),
    Mistake("no_policy", "DMARC without a policy", DMARC,
            _value(lambda value: value.replace("p=none; ", ""), _of("dmarc"))),
    Mistake("unknown_policy", "DMARC with a policy that there is not", DMARC,
            _value(lambda value: value.replace("p=none", "p=monitor"), _of("dmarc"))),
    Mistake("two_spf", "two SPF records", SPF,
            _besides("", "TXT", "v=spf1 include:one.{domain} ~all", "v=spf1 include:two.{domain} ~all")),
    Mistake("spf_allows_all", "SPF with +all", SPF, _besides("", "TXT", "v=spf1 +all")),
    Mistake("spf_too_many_lookups", f"SPF with {LOOKUPS_TOO_MANY} includes", SPF, _both(
            _besides("", "TXT", " ".join(["v=spf1", *(f"include:spf{n}.{{domain}}" for n in range(LOOKUPS_TOO_MANY)), "-all"])),
            *(_besides(f"spf{n}", "TXT", f"v=spf1 ip4:192.0.2.{n} -all") for n in range(LOOKUPS_TOO_MANY)))),
    Mistake("cached_old", f"right, but resolvers remember old values for {CACHED_FOR_S // 60} minutes", DNS,
            _old(_EARLIER, Role.RESOLVER, remaining_s=CACHED_FOR_S)),
    Mistake("cached_nothing", f"right, but resolvers remember for {CACHED_FOR_S // 60} minutes that there was nothing", DNS,
            _old(_nothing, Role.RESOLVER, remaining_s=CACHED_FOR_S)),
    Mistake("servers_disagree", "right, but the second name server has nothing of it", DNS,
            _old(_nothing, Role.AUTHORITY, server=2)),
    Mistake("nxdomain", "the domain does not exist", DNS, _fault(Kind.NXDOMAIN)),
    Mistake("silent", "its name servers are silent", DNS, _fault(Kind.SILENT, Role.AUTHORITY)),
    Mistake("servfail", "its name servers fail (SERVFAIL)", DNS, _fault(Kind.SERVFAIL, Role.AUTHORITY)),
    Mistake("refused", "its name servers refuse to answer (REFUSED)", DNS, _fault(Kind.REFUSED, Role.AUTHORITY)),
    Mistake("lame", "lame name servers: they answer, but not as its authority", DNS, _fault(Kind.LAME, Role.AUTHORITY)),
    Mistake("lame_upward", "lame name servers: they refer to the root", DNS, _fault(Kind.UPWARD, Role.AUTHORITY)),
    Mistake("one_lame", "one of two name servers is lame", DNS, _fault(Kind.UPWARD, Role.AUTHORITY, server=2)),
    Mistake("one_silent", "one of two name servers is silent", DNS, _fault(Kind.SILENT, Role.AUTHORITY, server=2)),
    Mistake("dnssec_failure", "DNSSEC fails: signatures do not match", DNS, _fault(Kind.BOGUS, Role.RESOLVER, ede=6)),
    Mistake("dnssec_key_missing", "DNSSEC fails: no key fits the DS record", DNS,
            _fault(Kind.BOGUS, Role.RESOLVER, ede=DNSKEY_MISSING)),
    Mistake("dnssec_unsigned", "DNSSEC fails: signatures are missing", DNS,
            _fault(Kind.BOGUS, Role.RESOLVER, ede=RRSIGS_MISSING)),
    Mistake("truncated", "right, but answers over UDP are cut: TCP is needed", DNS, _fault(Kind.TRUNCATED)),
]  # fmt: skip

MISTAKES = {mistake.name: mistake for mistake in _TABLE}
