"""Reading a domain's own SPF record: real DNS packets, zones of every kind, also hostile ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from domains.spf import reading as spf
from domains.spf.grammar import is_spf, parse
from domains.spf.reading import Lookup, SpfReading, read, read_spf
from domains.spf.words import FINDINGS, Finding, finding
from relay.sandbox.internet import ZoneRows
from tests.dns_zone import SERVFAIL, SILENT
from tests.factories import make_domain, make_tenant
from tests.rest import make_api
from tests.sandbox_servers import HOST, dns_over
from tests.served_zone import zone_of

DOMAIN = "shop.test"
Rows = dict[str, list[str] | str]


def reading_of(settings: Settings, *records: str, **others: str | list[str]) -> SpfReading:
    """`records`: TXT at the domain, in zone file form where they begin with a quotation mark. `others`: TXT by label."""
    quoted = [record if record.startswith('"') else f'"{record}"' for record in records]
    rows: Rows = {f"{DOMAIN} TXT": quoted} if quoted else {}
    for label, value in others.items():
        rows[f"{label}.test TXT"] = [f'"{one}"' for one in ([value] if isinstance(value, str) else value)]
    with zone_of(settings, rows):
        return read(DOMAIN)


@contextmanager
def long_texts_of(settings: Settings, *texts: str) -> Iterator[None]:
    """TXT at the domain that a server must send over TCP."""

    async def lookup(name: str) -> ZoneRows:
        return ZoneRows(tuple(("TXT", text) for text in texts) if name == DOMAIN else ())

    with dns_over(lookup) as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]
        yield


def codes(reading: SpfReading) -> list[str]:
    return [one.code for one in reading.findings]


# ---- What people publish ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], ["none"]),
        (["google-site-verification=abc"], ["none"]),
        (["spf2.0/pra -all"], ["none"]),  # Sender ID (RFC 4406) is something else
        (["v=spf1 -all"], ["fine"]),
        (["V=SPF1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"], ["fine"]),  # RFC 5234, 2.3: letters of any case
        (["v=spf1"], ["no_all"]),
        (["v=spf1 -all", "google-site-verification=abc"], ["fine"]),
        (["v=spf1 -all", "v=spf1 ip4:192.0.2.1 ~all"], ["several"]),
        (["v=spf1 ip4:192.0.2.1", "include:_spf.other.test -all"], ["stray_part", "no_all"]),
        (['"v=spf1 ip4:192.0.2.1" "ip4:192.0.2.2 -all"'], ["space_missing", "syntax"]),
        (['"v=spf1 ip4:192.0.2.1 " "ip4:192.0.2.2 -all"'], ["fine"]),
        (['"v=spf1 ip4:192.0." "2.1 -all"'], ["fine"]),
        (["\\034v=spf1 -all\\034"], ["not_recognised"]),
        ([" v=spf1 -all"], ["not_recognised"]),
        (["v=spf1;-all"], ["not_recognised"]),
        (["spf1 -all"], ["not_recognised"]),
        (["v=spf1 +all"], ["passes_all"]),
        (["v=spf1 all"], ["passes_all"]),
        (["v=spf1 ?all"], ["neutral_all"]),
        (["v=spf1 ip4:192.0.2.1"], ["no_all"]),
        (["v=spf1 ptr -all"], ["ptr"]),
        (["v=spf1 -all ptr"], ["fine", "after_all"]),
        (["v=spf1 ip4:0.0.0.0/0 -all"], ["broad_network"]),
        (["v=spf1 ip4=192.0.2.1 -all"], ["equals_sign"]),
        (["v=spf1 -all mystery=1"], ["fine"]),  # RFC 7208, 6: unknown modifiers are passed over
        (["v=spf1 exists:%{i}._spf.shop.test -all"], ["fine", "macros"]),
        (["v=spf1 redirect=shop.test"], ["loop"]),
        (["v=spf1 redirect=other.test -all"], ["fine", "redirect_ignored"]),
        (["v=spf1 include:gone.test -all"], ["target_missing"]),
        (["v=spf1 a:gone.test -all"], ["void"]),
        (["v=spf1 a:a1.test a:a2.test mx:a3.test -all"], ["too_many_voids", "void", "void", "void"]),
    ],
)  # fmt: skip
def test_record_is_judged(settings: Settings, records: list[str], expected: list[str]) -> None:
    reading = reading_of(settings, *records)
    assert codes(reading) == expected
    assert bool(reading.record) == (not {"none", "several", "not_recognised"} & set(expected))


@pytest.mark.parametrize(
    ("term", "problem"),
    [
        ("ip4:300.1.2.3", "holds no IPv4 address, such as 192.0.2.1"),
        ("ip4:2001:db8::1", "holds no IPv4 address. Perhaps ip6: is meant"),
        ("ip6:192.0.2.1", "holds no IPv6 address. Perhaps ip4: is meant"),
        ("ip4:192.0.2.0/33", "has “/33”, where a number from 0 to 32 must stand"),
        ("ip4:192.0.2.0/024", "has “/024”, where a number from 0 to 32 must stand"),
        ("ip4", "wants an address: ip4:192.0.2.1"),
        ("ip6:fe80::1%eth0", "names a network interface, which means nothing to others"),
        ("ipv4:192.0.2.1", "is no mechanism of SPF. Perhaps ip4 is meant"),
        ("inlcude:a.test", "is no mechanism of SPF. Perhaps include is meant"),
        ("redirect:a.test", "is written with “=”: redirect=example.com"),
        ("include", "wants a domain: include:example.com"),
        ("include:", "wants a domain right after it, without a space between"),
        ("include:localhost", "holds no whole domain name, such as example.com"),
        ("include:https://a.test", "wants a domain alone, such as example.com"),
        ("include:a..test", "has nothing between two dots of its domain"),
        ("include:192.0.2.1", "holds no whole domain name, such as example.com"),
        ("a:a.test/40", "has “/40”, where a number from 0 to 32 must stand"),
        ("mx//129", "has “/129”, where a number from 0 to 128 must stand"),
        ("exists:%{x}.test", "holds a malformed macro"),
        ("exists:%{c}.test", "holds a malformed macro"),  # RFC 7208, 7.2: for explanations only
        ("-all;", "is no term such as include:example.com or -all"),
        ("–all", "holds a character that no record may hold (U+2013, en dash)"),
        ("-redirect=a.test", "has a “-” in front, which only mechanisms may have"),
    ],
)  # fmt: skip
def test_syntax_error_is_told_with_its_place(term: str, problem: str) -> None:
    mistakes = parse(f"v=spf1 a  {term} ~all").mistakes
    assert [(one.text, one.at, one.problem) for one in mistakes] == [(term, 11, problem)]


def test_repeated_redirect_is_a_mistake() -> None:
    assert [(one.text, one.at) for one in parse("v=spf1 redirect=a.test redirect=b.test").mistakes] == [
        ("redirect=b.test", 24)
    ]


def test_mistake_carries_over_into_the_words(settings: Settings) -> None:
    (told,) = [one for one in reading_of(settings, "v=spf1 ip4:300.1.2.3 -all").findings if one.code == "syntax"]
    assert told.level == "error"
    assert told.text.startswith("At character 8: “ip4:300.1.2.3” holds no IPv4 address, such as 192.0.2.1.")


def test_record_of_the_old_type_is_told_apart(settings: Settings) -> None:
    with zone_of(settings, {f"{DOMAIN} SPF": ['"v=spf1 -all"']}):
        assert codes(read(DOMAIN)) == ["only_old_type"]
    with zone_of(settings, {f"{DOMAIN} SPF": ['"v=spf1 -all"'], f"{DOMAIN} TXT": ['"v=spf1 -all"']}):
        assert codes(read(DOMAIN)) == ["fine", "old_type"]


def test_answer_too_large_for_one_packet(settings: Settings) -> None:
    with long_texts_of(settings, "v=spf1 -all", *(letter * 500 for letter in "abc")):
        assert codes(read(DOMAIN)) == ["large_answer"]


def test_include_of_the_platform_is_not_needed(settings: Settings) -> None:
    settings.RETURN_PATH_TARGET = "returns.test"
    reading = reading_of(settings, "v=spf1 include:returns.test -all", returns="v=spf1 ip4:192.0.2.1 -all")
    assert codes(reading) == ["fine", "include_platform"]


# ---- Lookups ---------------------------------------------------------------------------------------------------------


def test_lookups_are_counted_through_includes_and_redirects(settings: Settings) -> None:
    rows: Rows = {
        f"{DOMAIN} TXT": ['"v=spf1 ip4:192.0.2.1 include:one.test a mx:one.test redirect=two.test"'],
        f"{DOMAIN} A": ["192.0.2.1"],
        "one.test TXT": ['"v=spf1 include:three.test exists:three.test -all include:never.test"'],
        "one.test MX": ["10 mx.one.test."],
        "two.test TXT": ['"v=spf1 mx ~all"'],
        "two.test MX": ["10 mx.two.test."],
        "three.test TXT": ['"v=spf1 ip4:192.0.2.3 ~all"'],
        "three.test AAAA": ["2001:db8::3"],
    }
    with zone_of(settings, rows) as zone:
        reading = read(DOMAIN)
    assert (reading.lookups, reading.void_lookups, codes(reading)) == (7, 0, ["fine"])
    assert [(one.number, one.term, one.domain, one.lookups) for one in reading.tree] == [
        (1, "include:one.test", "one.test", 3),
        (4, "a", DOMAIN, 1),
        (5, "mx:one.test", "one.test", 1),
        (6, "redirect=two.test", "two.test", 2),
    ]
    assert [(one.number, one.term, one.record) for one in reading.tree[0].inside] == [
        (2, "include:three.test", "v=spf1 ip4:192.0.2.3 ~all"),
        (3, "exists:three.test", ""),
    ]
    assert "never.test TXT" not in zone.asked


def test_more_than_ten_lookups_are_an_error(settings: Settings) -> None:
    names = [f"s{number}" for number in range(5)]
    record = "v=spf1 " + " ".join(f"include:{name}.test" for name in names) + " ~all"
    inner = "v=spf1 include:leaf.test include:leaf.test ~all"
    reading = reading_of(settings, record, **dict.fromkeys(names, inner), leaf="v=spf1 ip4:192.0.2.1 -all")
    assert reading.lookups == 15
    assert codes(reading) == ["too_many_lookups"]
    assert "takes 15 DNS lookups" in reading.findings[0].text
    assert [one.number for one in reading.tree if one.is_too_many] == [13]
    assert [one.is_too_many for one in reading.tree[3].inside] == [True, True]


@pytest.mark.parametrize(
    ("record", "others", "expected"),
    [
        ("v=spf1 include:a.test -all", {"a": ["v=spf1 -all", "v=spf1 ~all"]}, "target_several"),
        ("v=spf1 include:a.test -all", {"a": "v=spf1 ipv4:192.0.2.1 -all"}, "broken"),
        ("v=spf1 include:a.test -all", {"a": "v=spf1 +all"}, "include_passes_all"),
        ("v=spf1 include:a.test -all", {"a": "v=spf1 include:b.test -all", "b": "v=spf1 include:a.test -all"}, "loop"),
        ("v=spf1 include:a.test -all", {"a": "some other text"}, "target_missing"),
        ("v=spf1 redirect=a.test", {}, "target_missing"),
    ],
)
def test_trouble_of_an_include_is_named(
    settings: Settings, record: str, others: dict[str, str | list[str]], expected: str
) -> None:
    assert codes(reading_of(settings, record, **others)) == [expected]


def test_more_than_ten_exchangers_are_an_error(settings: Settings) -> None:
    rows: Rows = {f"{DOMAIN} TXT": ['"v=spf1 mx -all"'], f"{DOMAIN} MX": [f"10 mx{n}.shop.test." for n in range(11)]}
    with zone_of(settings, rows):
        assert codes(read(DOMAIN)) == ["many_exchangers"]


# ---- DNS that fails, and zones that mean harm ------------------------------------------------------------------------


def test_dns_that_fails_is_told(settings: Settings) -> None:
    with zone_of(settings, {f"{DOMAIN} TXT": SERVFAIL}):
        assert codes(read(DOMAIN)) == ["dns_failed"]
    with zone_of(settings, {f"{DOMAIN} TXT": ['"v=spf1 include:dead.test -all"'], "dead.test TXT": SERVFAIL}):
        assert codes(read(DOMAIN)) == ["no_answer"]


def test_silent_servers_cost_the_time_allowed_and_no_more(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spf, "SECONDS", 0.5)
    names = [f"d{number}.test" for number in range(20)]
    rows: Rows = {f"{name} {type_}": SILENT for name in names for type_ in ("A", "AAAA", "TXT")}
    record = " ".join(f'"a:{name} include:{name} "' for name in names)
    rows[f"{DOMAIN} TXT"] = [f'"v=spf1 " {record} "-all"']
    began = time.monotonic()
    with zone_of(settings, rows):
        reading = read(DOMAIN)
    assert time.monotonic() - began < 30  # far below the 40 * 5 s that they would take one by one
    assert {"too_many_lookups", "no_answer"} <= set(codes(reading))


def test_tree_without_end_is_cut(settings: Settings) -> None:
    class Endless(dict[str, list[str] | str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            name, _, type_ = key.partition(" ")
            below = " ".join(f"include:{digit}.{name[-60:].lstrip('.')}" for digit in range(4))
            return [f'"v=spf1 {below} -all"'] if type_ == "TXT" else default

    with zone_of(settings, {}) as zone:
        zone.rows = Endless()
        reading = read(DOMAIN)
        assert len(zone.asked) <= 2 + spf.LOOKUPS_FOLLOWED
    assert reading.lookups == spf.LOOKUPS_FOLLOWED
    assert "takes at least 60 DNS lookups" in reading.findings[0].text


def test_chain_without_end_is_cut(settings: Settings) -> None:
    chain = {f"c{number}": f"v=spf1 include:c{number + 1}.test -all" for number in range(40)}
    reading = reading_of(settings, "v=spf1 include:c0.test -all", **chain)
    assert reading.lookups == spf.DEEPEST
    assert codes(reading) == ["too_many_lookups"]


def test_record_with_thousands_of_terms_is_cut(settings: Settings) -> None:
    with long_texts_of(settings, "v=spf1 " + "a:x.test " * 3000):
        reading = read(DOMAIN)
    assert reading.lookups == spf.LOOKUPS_FOLLOWED
    assert len(reading.record) == spf.RECORD_OCTETS
    assert {"large_answer", "long_record", "too_many_lookups"} <= set(codes(reading))
    assert len(json.dumps(reading.to_json())) < 40_000


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
pieces = st.sampled_from(
    ["v=spf1 ", " ", "include:", "a", "/24", "%{", "%{i}", "-all", "ip4:", "1.2.3.4", "redirect=", "."]
)


@given(st.lists(pieces | texts).map("".join))
def test_any_text_can_be_parsed(text: str) -> None:
    parsed = parse("v=spf1 " + text)
    for one in (*parsed.terms, *parsed.mistakes):
        assert one.at >= 8
    for term in parsed.terms:
        assert ("v=spf1 " + text)[term.at - 1 :].startswith(term.text)


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)))
def test_only_what_begins_with_the_version_is_spf(words: list[str]) -> None:
    assert is_spf(" ".join(["v=spf1", *words]))
    assert not is_spf(" ".join(["x", "v=spf1", *words]))


lookups = st.recursive(
    st.builds(Lookup, texts, texts, st.integers(0, 99), st.integers(0, 99)),
    lambda inside: st.builds(
        Lookup,
        texts,
        texts,
        st.integers(0, 99),
        st.integers(0, 99),
        texts,
        texts,
        st.lists(inside, max_size=3).map(tuple),
    ),
    max_leaves=8,
)
findings = st.builds(Finding, texts, st.sampled_from(["error", "warn", "info", "ok"]), texts)


@given(
    st.builds(
        SpfReading,
        texts,
        st.integers(0),
        st.integers(0),
        st.lists(findings).map(tuple),
        st.lists(lookups).map(tuple),
        texts,
    )
)
def test_reading_survives_json(reading: SpfReading) -> None:
    assert SpfReading.from_json(json.loads(json.dumps(reading.to_json()))) == reading


def test_what_is_kept_is_plain_json(settings: Settings) -> None:
    with zone_of(settings, {f"{DOMAIN} TXT": ['"v=spf1 a ~all"'], f"{DOMAIN} A": ["192.0.2.1"]}):
        kept = read_spf(DOMAIN)
    assert kept == json.loads(json.dumps(kept))
    assert kept["record"] == "v=spf1 a ~all"
    assert kept["tree"] == [
        {"term": "a", "domain": DOMAIN, "number": 1, "lookups": 1, "record": "", "problem": "", "inside": []}
    ]


def test_every_finding_has_words() -> None:
    class Anything(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return key

    for code, (_, text) in FINDINGS.items():
        assert text.format_map(Anything())[-1] in ".”"
        assert finding(code, **{key: key for key in _keys(text)}).text


def _keys(text: str) -> list[str]:
    from string import Formatter

    return [key for _, key, _, _ in Formatter().parse(text) if key]


# ---- Shown -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_reading_is_shown_on_the_page_and_over_rest(settings: Settings) -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization, DOMAIN)
    api, page = make_api(tenant.organization), reverse("domain", args=[domain.pk])
    assert api.get(f"domains/{domain.pk}").json()["spf"] is None
    assert "SPF of" not in tenant.client.get(page).content.decode()

    inner = "v=spf1 " + " ".join(f"a:<b>{number}.test" for number in range(9)) + " -all"
    record = "v=spf1 include:one.test include:two.test include:<script>.test ~all"
    with zone_of(settings, {f"{DOMAIN} TXT": [f'"{record}"'], "one.test TXT": [f'"{inner}"']}):
        domain.spf = read_spf(DOMAIN)
    domain.save(update_fields=["spf"])

    assert api.get(f"domains/{domain.pk}").json()["spf"] == domain.spf
    shown = tenant.client.get(page).content.decode()
    assert "takes 12 DNS lookups" in shown
    assert "12 DNS lookups of 10 allowed" in shown
    assert shown.count("receivers have given up here") == 1
    assert "no SPF record there" in shown
    assert "include:&lt;script&gt;.test" in shown
    assert "<script>.test" not in shown


@pytest.mark.parametrize("filling", [" ", "\t", '"', "v ", "= ", "“", "spf", "v=spf1 "])
def test_longest_texts_of_strangers_are_looked_at_in_no_time(filling: str) -> None:
    # What takes the square of their length, or worse, would hold up the whole process, whatever our time-outs say.
    text = filling * (60_000 // len(filling)) + "x"
    spf._is_meant_as_spf(text)
    spf._is_stray_part(text)
    spf._missing_space((text, text))


@pytest.mark.parametrize("text", ["v = spf1 -all", " “v=spf1 -all”", "spf1 a", "v=spf 1 -all", "V:SPF1 mx"])
def test_what_is_meant_as_a_record_is_known(text: str) -> None:
    assert spf._is_meant_as_spf(text)
