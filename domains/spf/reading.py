"""What a domain's own SPF record (RFC 7208) says, whether receivers can use it, and what to better.

PlugSend needs none of it: SPF is judged by the return path's domain, which is `psrp.` below the sending domain and leads to
the platform. But a record that is broken harms what the domain sends on other ways.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.resolver
from django.utils import timezone
from dns.rdtypes.txtbase import TXTBase

from domains.dns.resolver import UDP_PAYLOAD, resolver
from domains.names import platform_names, to_unicode
from domains.records import RETURN_PATH_LABEL
from domains.spf.grammar import MECHANISMS, Parsed, Term, is_spf, parse, shown
from domains.spf.words import ALL_CODES, PROBLEMS, Finding, Level, finding

if TYPE_CHECKING:
    from domains.models import SendingDomain

LOOKUPS_ALLOWED = 10  # RFC 7208, 4.6.4
VOIDS_ALLOWED = 2
EXCHANGERS_ALLOWED = 10

# Bounds of our own: the records are other people's.
SECONDS = 6.0
LOOKUPS_FOLLOWED = 60
DEEPEST = 11  # by then the lookups allowed are over
AT_ONCE = 16
RECORD_OCTETS = 4096  # read and kept of the domain's own record, and of each of those that it includes
MISTAKES_TOLD = 10
BROADEST = {"ip4": 8, "ip6": 16}  # a shorter prefix covers addresses of very many owners


@dataclass(frozen=True, slots=True)
class Lookup:
    """A term for which receivers ask DNS. `lookups`: with all below it; `number`: which one it is, in their order.

    `domain`: what is asked for; empty: it depends on each message. `record`: what an include or redirect leads to.
    `problem`: the code of what is wrong with it, or empty.
    """

    term: str
    domain: str
    number: int
    lookups: int
    record: str = ""
    problem: str = ""
    inside: tuple[Lookup, ...] = ()

    @property
    def is_too_many(self) -> bool:
        """Whether receivers have given up before."""
        return self.number > LOOKUPS_ALLOWED

    @property
    def is_first_too_many(self) -> bool:
        return self.number == LOOKUPS_ALLOWED + 1

    @property
    def below(self) -> int:
        return self.lookups - 1

    @property
    def problem_in_words(self) -> str:
        return PROBLEMS.get(self.problem, "")


@dataclass(frozen=True, slots=True)
class SpfReading:
    """As it is kept in SendingDomain.spf. `record`: empty when there is none, or several. `checked_at`: ISO 8601."""

    record: str = ""
    lookups: int = 0
    void_lookups: int = 0
    findings: tuple[Finding, ...] = ()
    tree: tuple[Lookup, ...] = ()
    checked_at: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"findings": [asdict(one) for one in self.findings], "tree": _lists(self.tree)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> SpfReading:
        findings = tuple(Finding(**one) for one in kept["findings"])
        return cls(**{**kept, "findings": findings, "tree": _tuples(kept["tree"])})

    @property
    def level(self) -> Level:
        """Of the worst finding."""
        levels: tuple[Level, ...] = ("error", "warn", "info")
        return next((level for level in levels if any(one.level == level for one in self.findings)), "ok")


def read_spf(domain_name: str) -> dict[str, Any]:
    """Asks DNS and judges: `SpfReading` in its JSON form. Takes at most some `SECONDS`, asks at most some
    2 * `LOOKUPS_FOLLOWED` questions, and never raises."""
    return read(domain_name).to_json()


def read(domain_name: str) -> SpfReading:
    """As `read_spf`."""
    now = timezone.now().isoformat(timespec="seconds").replace("+00:00", "Z")
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="spf") as threads:
        dns_ = _Dns(threads, time.monotonic() + SECONDS)
        at_domain, old_type = dns_.ask([("TXT", domain_name), ("SPF", domain_name)])
        if at_domain.failed:
            return SpfReading(findings=(finding("dns_failed", domain=domain_name),), checked_at=now)
        records = [text for text in at_domain.texts if is_spf(text)]
        findings = list(_around(domain_name, at_domain, old_type, records))
        if len(records) != 1:
            return SpfReading(findings=tuple(findings), checked_at=now)
        root = _Node("", domain_name, record=records[0][:RECORD_OCTETS])
        was_cut = _follow(root, dns_)
    tree = tuple(_numbered(root))
    lookups, voids = sum(one.lookups for one in tree), sum(node.is_void for node in root.all_below())
    findings += _about(root, lookups, voids, was_cut)
    if not any(one.level in {"error", "warn"} for one in findings):
        findings.insert(0, finding("fine", lookups=lookups))
    return SpfReading(root.record, lookups, voids, tuple(findings), tree, now)


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """What `templates/domains/parts/spf.html` shows; `spf` is None as long as nobody has looked."""
    reading = SpfReading.from_json(domain.spf) if domain.spf else None
    return {"spf": reading, "spf_lookups_allowed": LOOKUPS_ALLOWED}


# ---- Asking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """`strings`: of each TXT record. `number`: how many records of the type there are. `octets`: of the whole answer."""

    strings: tuple[tuple[str, ...], ...] = ()
    number: int = 0
    octets: int = 0
    failed: bool = False

    @property
    def texts(self) -> list[str]:
        return ["".join(strings) for strings in self.strings]  # RFC 7208, 3.3: without spaces between


_Question = tuple[str, str]  # type, name
_TYPES = {"include": "TXT", "redirect": "TXT", "a": "A", "mx": "MX", "exists": "A"}  # by mechanism; ptr asks by address


class _Dns:
    """Asks each question once, several side by side, until the deadline (of time.monotonic)."""

    def __init__(self, threads: ThreadPoolExecutor, deadline: float) -> None:
        self._threads, self._deadline = threads, deadline
        self._heard: dict[_Question, _Heard] = {}

    def ask(self, questions: Iterable[_Question]) -> list[_Heard]:
        questions = list(questions)
        new = [one for one in dict.fromkeys(questions) if one not in self._heard]
        self._heard.update(zip(new, self._threads.map(self._ask, new), strict=True))
        return [self._heard[one] for one in questions]

    def _ask(self, question: _Question) -> _Heard:
        type_, name = question
        heard = self._ask_one(type_, name)
        # Which of the two a receiver asks for follows from the client's address; a host that has either is no void.
        return self._ask_one("AAAA", name) if type_ == "A" and not heard.number and not heard.failed else heard

    def _ask_one(self, type_: str, name: str) -> _Heard:
        left = self._deadline - time.monotonic()
        if left <= 0:
            return _Heard(failed=True)
        try:
            asked = resolver().resolve(name + ".", type_, search=False, raise_on_no_answer=False, lifetime=left)
            octets = len(asked.response.to_wire())
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return _Heard()
        except (dns.exception.DNSException, OSError, ValueError):
            return _Heard(failed=True)
        strings = tuple(tuple(_text(part) for part in one.strings) for one in asked if isinstance(one, TXTBase))
        return _Heard(strings, len(asked.rrset or ()), octets)


def _text(octets: bytes) -> str:
    # PostgreSQL's text takes no NUL.
    return octets.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


# ---- Following -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    """A term on the way through the tree; the root is the domain's own record."""

    term: str
    domain: str
    name: str = ""
    path: frozenset[str] = frozenset()
    record: str = ""
    parsed: Parsed = field(default_factory=Parsed)
    problem: str = ""
    is_void: bool = False
    inside: list[_Node] = field(default_factory=list)

    def all_below(self) -> Iterator[_Node]:
        for node in self.inside:
            yield node
            yield from node.all_below()


def _follow(root: _Node, dns_: _Dns) -> bool:
    """Fills the tree, a level after the other. True: it was cut, because there was too much of it."""
    level, counted = [root], 0
    for _ in range(DEEPEST):
        following: list[_Node] = []
        for node in level:
            node.parsed = parse(node.record)
            for term in node.parsed.evaluated:
                if not term.asks:
                    continue
                if counted == LOOKUPS_FOLLOWED:
                    return True
                counted += 1
                child = _child(node, term)
                node.inside.append(child)
                if child.domain and child.name in _TYPES and not child.problem:
                    following.append(child)
        heard = dns_.ask((_TYPES[node.name], node.domain) for node in following)
        for node, answer in zip(following, heard, strict=True):
            _take(node, answer)
        level = [node for node in following if node.record]
        if not level:
            return False
    return True


def _child(parent: _Node, term: Term) -> _Node:
    domain = "" if term.has_macros else term.domain or parent.domain
    node = _Node(shown(term.text), domain, term.name, parent.path | {parent.domain})
    if term.name in {"include", "redirect"} and domain in node.path:
        node.problem = "loop"
    return node


def _take(node: _Node, heard: _Heard) -> None:
    node.is_void = not heard.number and not heard.failed
    if heard.failed:
        node.problem = "no_answer"
    elif node.name == "mx" and heard.number > EXCHANGERS_ALLOWED:
        node.problem = "many_exchangers"
    elif node.name in {"include", "redirect"}:
        records = [text for text in heard.texts if is_spf(text)]
        if len(records) == 1:
            node.record = records[0][:RECORD_OCTETS]
        else:
            node.problem = "target_several" if records else "target_missing"
    elif node.is_void:
        node.problem = "void"


def _numbered(root: _Node) -> Iterator[Lookup]:
    """In the order in which receivers ask."""
    number = 0

    def number_below(node: _Node) -> Iterator[Lookup]:
        nonlocal number
        for child in node.inside:
            number += 1
            own = number
            inside = tuple(number_below(child))
            lookups = 1 + sum(one.lookups for one in inside)
            problem = child.problem or ("broken" if child.parsed.mistakes else "")
            yield Lookup(child.term, child.domain, own, lookups, child.record, problem, inside)

    yield from number_below(root)


def _lists(tree: Iterable[Lookup]) -> list[dict[str, Any]]:
    return [asdict(one) | {"inside": _lists(one.inside)} for one in tree]


def _tuples(kept: Iterable[Mapping[str, Any]]) -> tuple[Lookup, ...]:
    return tuple(Lookup(**{**one, "inside": _tuples(one["inside"])}) for one in kept)


# ---- Judging: at the domain ------------------------------------------------------------------------------------------

# A text beginning so is meant as an SPF record, and is none. Strangers write these texts, of any length: what may repeat has a
# limit, and only the head is looked at.
_MEANT_AS_SPF = re.compile(r"v?\s{0,3}[=:]?\s{0,3}spf\s{0,3}1?\b", re.IGNORECASE)
_HEAD_CHARACTERS = 200


def _is_meant_as_spf(text: str) -> bool:
    return _MEANT_AS_SPF.match(text[:_HEAD_CHARACTERS].lstrip(" \t\r\n\"'“”")) is not None


_ANY_TERM = re.compile(
    rf"[-+?~]?(?:all|a|mx|ptr|(?:{'|'.join(MECHANISMS[1:])}):\S+|redirect=\S+)(?=[\s/]|$)", re.IGNORECASE
)


def _around(domain: str, heard: _Heard, old_type: _Heard, records: list[str]) -> Iterator[Finding]:
    """What the TXT records at the domain tell, before any of them is read."""
    others = [text[:RECORD_OCTETS] for text in heard.texts if not is_spf(text)]
    near = next((text for text in others if _is_meant_as_spf(text)), "")
    if len(records) > 1:
        yield finding("several", number=len(records))
    elif near and not records:
        yield finding("not_recognised", text=shown(near))
    elif not records and old_type.number:
        yield finding("only_old_type")
    elif not records:
        yield finding("none", name=to_unicode(domain), return_path=f"{RETURN_PATH_LABEL}.{to_unicode(domain)}")
    if records and old_type.number:
        yield finding("old_type")
    if stray := next((text for text in others if _is_stray_part(text)), ""):
        yield finding("stray_part", text=shown(stray))
    if len(records) == 1:
        strings = next(one for one in heard.strings if "".join(one) == records[0])
        if joint := _missing_space(strings):
            yield finding("space_missing", left=joint[0], right=joint[1])
        if heard.octets > UDP_PAYLOAD:
            yield finding("large_answer", octets=heard.octets)
        if len(records[0]) > RECORD_OCTETS:
            yield finding("long_record", most=RECORD_OCTETS)


def _is_stray_part(text: str) -> bool:
    """Whether all words of a text without version are terms, the last of them `all`: the second half of some SPF record."""
    words = text.split()
    return (
        1 <= len(words) <= 50
        and words[-1].lower().lstrip("+-~?") == "all"
        and all(_ANY_TERM.fullmatch(word.partition("/")[0]) for word in words)
    )


def _missing_space(strings: tuple[str, ...]) -> tuple[str, str] | None:
    """The ends of two strings of one record that DNS joins although a new term begins with the second."""
    for left, right in pairwise(strings):
        if left and right and left[-1] != " " and (match := _ANY_TERM.match(right)) and len(match[0]) > len("mx"):
            return shown(left.split(" ")[-1], 40), shown(match[0], 40)
    return None


# ---- Judging: the record ---------------------------------------------------------------------------------------------


def _about(root: _Node, lookups: int, voids: int, was_cut: bool) -> Iterator[Finding]:
    parsed = root.parsed
    for mistake in parsed.mistakes[:MISTAKES_TOLD]:
        yield finding("syntax", text=mistake.text, at=mistake.at, problem=mistake.problem)
    if lookups > LOOKUPS_ALLOWED:
        yield finding("too_many_lookups", lookups=f"at least {lookups}" if was_cut else lookups)
    if voids > VOIDS_ALLOWED:
        yield finding("too_many_voids", voids=voids)
    yield from _about_lookups(root)
    yield from _about_all(parsed)
    yield from _about_terms(root.domain, parsed)


def _about_lookups(root: _Node) -> Iterator[Finding]:
    """Trouble at a name is told once, however often the name occurs."""
    told = set()
    for node in root.all_below():
        if (node.name, node.domain, node.problem) in told:
            continue
        told.add((node.name, node.domain, node.problem))
        values = {"term": node.term, "domain": to_unicode(node.domain)}
        if node.problem:
            yield finding(node.problem, **values)
        if node.parsed.mistakes:
            mistake = node.parsed.mistakes[0]
            yield finding("broken", **values, text=mistake.text, problem=mistake.problem)
        if node.name == "include" and node.parsed.all and node.parsed.all.qualifier == "+":
            yield finding("include_passes_all", **values)


def _about_all(parsed: Parsed) -> Iterator[Finding]:
    if parsed.all is None:
        if parsed.redirect is None and not parsed.mistakes:
            yield finding("no_all")
        return
    if parsed.all.qualifier in ALL_CODES:
        yield finding(ALL_CODES[parsed.all.qualifier], text=parsed.all.text)
    after = [term.text for term in parsed.terms if term.qualifier != "=" and term.at > parsed.all.at]
    if after:
        yield finding("after_all", text=shown(" ".join(after)))
    if parsed.redirect:
        yield finding("redirect_ignored", text=shown(parsed.redirect.text))


def _about_terms(domain: str, parsed: Parsed) -> Iterator[Finding]:
    terms = parsed.terms
    if any(term.name == "ptr" for term in parsed.evaluated):
        yield finding("ptr")
    for term in terms:
        text = shown(term.text)
        if term.name in BROADEST and term.prefix is not None and term.prefix < BROADEST[term.name]:
            yield finding("broad_network", text=text)
        if term.name == "include" and term.domain in platform_names() | {f"{RETURN_PATH_LABEL}.{domain}"}:
            yield finding("include_platform", text=text)
        if term.qualifier == "=" and term.name in MECHANISMS:
            yield finding("equals_sign", text=text, name=term.name)
    if macros := [term.text for term in parsed.evaluated if term.has_macros]:
        yield finding("macros", text=shown(", ".join(macros)))
    texts = [term.text.lower() for term in parsed.evaluated]
    if repeated := [text for text in dict.fromkeys(texts) if texts.count(text) > 1]:
        yield finding("repeated", text=shown(", ".join(repeated)))
