"""The grammar of SPF records (RFC 7208, 12): a text into its terms, with the place of each mistake. No I/O."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv6Address

VERSION = "v=spf1"
MECHANISMS = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")
ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})  # RFC 7208, 4.6.4: each is one DNS lookup
LONGEST_DOMAIN, LONGEST_LABEL = 253, 63
LONGEST_SPEC = 512  # with macros, which may stand for less than they are long
MOST_TERMS = 500

# RFC 7208, 7.1; c, r and t are for explanations only (7.2).
_MACRO = r"%(?:\{[slodiphvSLODIPHV][0-9]*[rR]?[-.+,/_=]*\}|[%_-])"
_MACRO_STRING = re.compile(rf"(?:[!-$&-~]|{_MACRO})*")
_ENDS_IN_MACRO = re.compile(rf".*{_MACRO}", re.DOTALL)
_TERM = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)([:=/].*)?", re.DOTALL)
_CIDR = re.compile(r"(?P<v4>/[0-9]+)?(?P<v6>//[0-9]+)?$")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_MEANT = {"ip": "ip4", "ipv4": "ip4", "ipv6": "ip6"}


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism with its qualifier, or a modifier, whose qualifier is "=". `at`: its place, counted from 1.

    `domain`: its domain-spec without the final dot, lower case unless it holds macros; empty: none was given.
    `prefix`: of an ip4 or ip6, how many bits of the address count.
    """

    text: str
    at: int
    name: str
    qualifier: str = "+"
    domain: str = ""
    prefix: int | None = None

    @property
    def asks(self) -> bool:
        """Whether a receiver has to ask DNS for it."""
        return self.name in ASKING

    @property
    def has_macros(self) -> bool:
        return "%" in self.domain


@dataclass(frozen=True, slots=True)
class Mistake:
    """Any of them makes the whole record void (RFC 7208, 4.6: permerror). `problem`: the rest of "“text”, at character 9, "."""

    text: str
    at: int
    problem: str


@dataclass(frozen=True, slots=True)
class Parsed:
    terms: tuple[Term, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    @property
    def all(self) -> Term | None:
        return next((term for term in self.terms if term.name == "all"), None)

    @property
    def redirect(self) -> Term | None:
        return next((term for term in self.terms if term.name == "redirect"), None)

    @property
    def evaluated(self) -> tuple[Term, ...]:
        """What receivers go through, in their order: nothing after `all` (RFC 7208, 5.1), `redirect` at last and only
        without one (6.1)."""
        mechanisms = [term for term in self.terms if term.qualifier != "="]
        if self.all:
            return tuple(mechanisms[: mechanisms.index(self.all) + 1])
        return (*mechanisms, *([self.redirect] if self.redirect else []))


def is_spf(text: str) -> bool:
    """RFC 7208, 4.5: the version is followed by a space or by nothing."""
    return text[: len(VERSION)].lower() == VERSION and text[len(VERSION) : len(VERSION) + 1] in {"", " "}


def parse(record: str) -> Parsed:
    """The terms of a record for which `is_spf` holds. Never raises."""
    terms: list[Term] = []
    mistakes: list[Mistake] = []
    for number, match in enumerate(re.finditer(r"[^ ]+", record[len(VERSION) :])):
        text, at = match[0], match.start() + len(VERSION) + 1
        if number == MOST_TERMS:
            mistakes.append(Mistake(shown(text), at, f"is its term number {MOST_TERMS + 1}: we read no further"))
            break
        try:
            terms.append(_term(text, at))
        except _Malformed as malformed:
            mistakes.append(Mistake(shown(text), at, str(malformed)))
    for name in ("redirect", "exp"):  # RFC 7208, 6: at most once
        for term in [term for term in terms if term.name == name][1:]:
            mistakes.append(Mistake(shown(term.text), term.at, f"repeats {name}=, which may stand there once"))
    return Parsed(tuple(terms), tuple(sorted(mistakes, key=lambda mistake: mistake.at)))


def shown(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


class _Malformed(Exception):
    """What is wrong with a term."""


def _term(text: str, at: int) -> Term:
    if odd := next((letter for letter in text if not "!" <= letter <= "~"), ""):
        word = unicodedata.name(odd, "").lower() or "a control character"
        raise _Malformed(f"holds a character that no record may hold (U+{ord(odd):04X}, {word})")
    match = _TERM.fullmatch(text)
    if not match:
        raise _Malformed("is no term such as include:example.com or -all")
    qualifier, name, tail = match[1], match[2].lower(), match[3] or ""
    if tail.startswith("="):
        return _modifier(text, at, qualifier, name, tail[1:])
    if name not in MECHANISMS:
        raise _Malformed(_unknown(name))
    read = {"all": _all, "ip4": _network, "ip6": _network, "a": _hosts, "mx": _hosts}.get(name, _domain)
    domain, prefix = read(name, tail)
    return Term(text, at, name, qualifier or "+", domain, prefix)


def _unknown(name: str) -> str:
    if name == "redirect":
        return "is written with “=”: redirect=example.com"
    near = _MEANT.get(name) or next(iter(get_close_matches(name[:20], MECHANISMS[1:], 1)), "")
    return "is no mechanism of SPF" + (f". Perhaps {near} is meant" if near else "")


def _modifier(text: str, at: int, qualifier: str, name: str, value: str) -> Term:
    if qualifier:
        raise _Malformed(f"has a “{qualifier}” in front, which only mechanisms may have")
    if name in {"redirect", "exp"}:
        return Term(text, at, name, "=", _domain_spec(value))
    if not _MACRO_STRING.fullmatch(value):
        raise _Malformed("holds a malformed macro (a % that begins none)")
    return Term(text, at, name, "=")


def _all(name: str, tail: str) -> tuple[str, None]:
    if tail:
        raise _Malformed("has something after “all”, where nothing may stand")
    return "", None


def _domain(name: str, tail: str) -> tuple[str, None]:
    if not tail and name == "ptr":
        return "", None
    if not tail.startswith(":"):
        raise _Malformed(f"wants a domain: {name}:example.com")
    return _domain_spec(tail[1:]), None


def _hosts(name: str, tail: str) -> tuple[str, None]:
    """`a` and `mx`: with a domain, a length for IPv4 and one for IPv6, each where wanted: a:example.com/24//64."""
    cidr = _CIDR.search(tail)
    assert cidr  # it matches nothing as well
    for length, most in ((cidr["v4"], 32), (cidr["v6"], 128)):
        if length:
            _prefix(length.lstrip("/"), most)
    domain = tail[: cidr.start()]
    if domain and not domain.startswith(":"):
        raise _Malformed(f"is neither {name}:example.com nor {name}/24")
    return (_domain_spec(domain[1:]) if domain else ""), None


def _network(name: str, tail: str) -> tuple[str, int]:
    example, most = ("192.0.2.1", 32) if name == "ip4" else ("2001:db8::1", 128)
    address, slash, length = tail[1:].partition("/")
    if not tail.startswith(":") or not address:
        raise _Malformed(f"wants an address: {name}:{example}")
    try:
        IPv4Address(address) if name == "ip4" else IPv6Address(address)
    except AddressValueError:
        other = "ip6" if name == "ip4" and ":" in address else "ip4" if name == "ip6" and ":" not in address else ""
        hint = f". Perhaps {other}: is meant" if other else f", such as {example}"
        raise _Malformed(f"holds no IPv{name[2]} address{hint}") from None
    if "%" in address:
        raise _Malformed("names a network interface, which means nothing to others")
    return "", _prefix(length, most) if slash else most


def _prefix(digits: str, most: int) -> int:
    if not _LENGTH.fullmatch(digits) or int(digits) > most:
        raise _Malformed(f"has “/{shown(digits, 10)}”, where a number from 0 to {most} must stand")
    return int(digits)


def _domain_spec(spec: str) -> str:
    """RFC 7208, 7.1: it ends in a top-level label or in a macro."""
    if not spec:
        raise _Malformed("wants a domain right after it, without a space between")
    if len(spec) > LONGEST_SPEC or not _MACRO_STRING.fullmatch(spec):
        raise _Malformed("holds a malformed macro" if len(spec) <= LONGEST_SPEC else "is too long")
    if "%" in spec:
        if not _ENDS_IN_MACRO.fullmatch(spec):
            _check_top_label(spec.removesuffix("."))
        return spec
    domain = spec.removesuffix(".").lower()
    labels = domain.split(".")
    if len(domain) > LONGEST_DOMAIN or any(len(label) > LONGEST_LABEL for label in labels):
        raise _Malformed(f"is too long for a domain ({LONGEST_DOMAIN} characters, {LONGEST_LABEL} between two dots)")
    if "://" in domain or "/" in domain or "@" in domain:
        raise _Malformed("wants a domain alone, such as example.com")
    if not all(labels):
        raise _Malformed("has nothing between two dots of its domain")
    _check_top_label(domain)
    return domain


def _check_top_label(domain: str) -> None:
    head, dot, label = domain.rpartition(".")
    letters = label.replace("-", "")
    plain = letters.isascii() and letters.isalnum() and not letters.isdigit() and label[0] != "-" != label[-1]
    if not (head and dot and plain):
        raise _Malformed("holds no whole domain name, such as example.com")
