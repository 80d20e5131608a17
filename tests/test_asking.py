"""What DNS is asked about a domain, and what is made of it: real packets of servers that tell the truth, fail and lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from itertools import cycle
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from django.core.exceptions import ImproperlyConfigured
from dns.edns import EDECode, EDEOption
from dns.message import Message
from dns.rdatatype import RdataType
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domains.dns import asking
from domains.dns import exchange as dns_exchange
from domains.dns import servers as dns_servers
from domains.dns import zones as zones_module
from domains.dns.answers import (
    LONGEST_TTL_S,
    read_answer,
    read_dnssec_words,
    read_name_servers,
    read_referral,
    text_of,
)
from domains.dns.asking import gather
from domains.dns.evidence import Elsewhere, Evidence, Failure, Heard, NameServer, RecordEvidence
from domains.dns.exchange import read_reply
from domains.dns.resolver import Endpoint, check_resolvers
from domains.dns.zones import Zone, ZoneCache
from tests.dns_world import NEGATIVE_TTL_S, TTL_S, Asked, Resolver, Server, World, lame, refusing, silent

RESOLVERS = ("127.0.53.101", "127.0.53.102")
NS = {f"ns{n}.host.test": f"127.0.53.{n}" for n in range(1, 7)}
Rows = dict[str, list[str]]
TOKEN = '"plugsend-verification=abc"'


OWNERSHIP = Asked("TXT", "_plugsend.demo.test")
RETURN_PATH = Asked("CNAME", "psrp.demo.test")


class Made:
    """A world with the zone demo.test at ns1 and ns2, under a registry, and two resolvers."""

    def __init__(self, rows: Rows, zones: dict[str, Rows]) -> None:
        host = {f"{name} A": [address] for name, address in NS.items()}
        self.ns = {name.partition(".")[0]: Server(address) for name, address in NS.items()}
        self.ns["ns1"].zones = self.ns["ns2"].zones = ("demo.test",)
        self.ns["ns6"].zones = ("test", "host.test")
        self.depth = 0
        self.resolvers = [Resolver(address) for address in RESOLVERS]
        at_apex = {"demo.test NS": ["ns1.host.test.", "ns2.host.test."]}
        self.world = World(
            {
                "test": {"test NS": ["ns6.host.test."]},
                "host.test": {"host.test NS": ["ns6.host.test."], **host},
                "demo.test": {**at_apex, **rows},
                **zones,
            },
            [*self.ns.values(), *self.resolvers],
        )

    def ask(self, *records: Asked, domain: str = "demo.test") -> Evidence:
        [evidence] = gather([(domain, records)])
        return evidence

    def ask_one(self, record: Asked, domain: str = "demo.test") -> RecordEvidence:
        return self.ask(record, domain=domain).records[record.id]


Make = Callable[..., Made]


@pytest.fixture
def make(settings: Any) -> Iterator[Make]:
    """Makes a running world; what differs between servers is set on it before asking."""
    with ExitStack() as stack:

        def made(rows: Rows | None = None, zones: dict[str, Rows] | None = None) -> Made:
            one = Made(rows or {}, zones or {})
            stack.enter_context(one.world.running())
            settings.DNS_AUTHORITY_PORT = one.world.port
            settings.DOMAIN_CHECK_RESOLVERS = [f"{address}:{one.world.port}" for address in RESOLVERS]
            zones_module.CACHE.clear()
            return one

        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of silence."""
    monkeypatch.setattr(dns_exchange, "UDP_TRIES_S", (0.2, 0.2))


def heard(values: tuple[str, ...] = (), **more: Any) -> tuple[Heard, Heard]:
    return Heard("ns1.host.test", values, **more), Heard("ns2.host.test", values, **more)


# ---- Records ---------------------------------------------------------------------------------------------------------


def test_what_is_published_is_heard_from_every_server_and_every_resolver(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN], "psrp.demo.test CNAME": ["Bounces.PlugSend.test."]})
    evidence = made.ask(OWNERSHIP, Asked("CNAME", "psrp.demo.test", id="other"))
    assert evidence.zone.apex == "demo.test"
    assert evidence.zone.name_servers == (
        NameServer("ns1.host.test", ("127.0.53.1",)),
        NameServer("ns2.host.test", ("127.0.53.2",)),
    )
    assert (evidence.zone.exists, evidence.zone.failure, evidence.zone.dnssec) == (True, None, "")
    value = ("plugsend-verification=abc",)
    by_resolvers = tuple(Heard(address, value, ttl_s=TTL_S) for address in RESOLVERS)
    assert evidence.records["it"] == RecordEvidence(heard(value, ttl_s=TTL_S), by_resolvers)
    assert evidence.records["other"].authority == heard(("bounces.plugsend.test",), ttl_s=TTL_S)


def test_resolvers_are_not_asked_for_what_is_not_there_yet(make: Make) -> None:
    made = make()
    found = made.ask_one(OWNERSHIP)
    assert found == RecordEvidence(heard(exists=False, ttl_s=NEGATIVE_TTL_S))
    assert not any("_plugsend" in question for resolver in made.resolvers for question in resolver.asked)


def test_a_record_of_another_kind_and_its_surroundings_are_brought_along(make: Make) -> None:
    made = make(
        {
            "demo.test TXT": ['"v=spf1 -all"', TOKEN],
            "_plugsend.demo.test CNAME": ["nowhere.demo.test."],
            "_plugsend.demo.test.demo.test TXT": [TOKEN],
            "plugsend.demo.test TXT": ['"bare"'],
            "psrp.demo.test TXT": ['"bounces.plugsend.test"'],
            "psrp.demo.test A": ["192.0.2.7"],
            "psrp.demo.test AAAA": ["2001:db8::7"],
        }
    )
    evidence = made.ask(OWNERSHIP, Asked("CNAME", "psrp.demo.test", id="other"))
    ownership, return_path = evidence.records["it"], evidence.records["other"]
    assert ownership == RecordEvidence(
        heard(alias="nowhere.demo.test", ttl_s=NEGATIVE_TTL_S),
        wrong_type=("nowhere.demo.test",),
        doubled=Elsewhere("_plugsend.demo.test.demo.test", ("plugsend-verification=abc",)),
        bare=Elsewhere("plugsend.demo.test", ("bare",)),
        at_apex=("plugsend-verification=abc", "v=spf1 -all"),
    )
    assert return_path == RecordEvidence(
        heard(ttl_s=NEGATIVE_TTL_S),
        wrong_type=("bounces.plugsend.test",),
        addresses=("192.0.2.7", "2001:db8::7"),
    )


@pytest.mark.parametrize(
    ("asked", "row"),
    [
        (OWNERSHIP, ("*.demo.test TXT", ['"anything"'])),
        (OWNERSHIP, ("*.demo.test CNAME", ["parked.host.test."])),
        (RETURN_PATH, ("*.demo.test CNAME", ["parked.host.test."])),
        (RETURN_PATH, ("*.demo.test A", ["192.0.2.7"])),
        (RETURN_PATH, ("*.demo.test AAAA", ["2001:db8::7"])),
        (RETURN_PATH, ("*.demo.test TXT", ['"anything"'])),
    ],
)
def test_wildcards_are_recognised(make: Make, asked: Asked, row: tuple[str, list[str]]) -> None:
    assert make(dict([row])).ask_one(asked).is_wildcard
    own_too = {f"{asked.name} TXT": [TOKEN]} if asked.type == "TXT" else {f"{asked.name} CNAME": ["mine.test."]}
    assert not make({**dict([row]), **own_too}).ask_one(asked).is_wildcard


def test_records_below_a_deeper_domain_are_sought_at_the_end_of_the_zone_too(make: Make) -> None:
    made = make({"_plugsend.mail.demo.test.demo.test TXT": [TOKEN], "mail.demo.test TXT": ['"here"']})
    evidence = made.ask(Asked("TXT", "_plugsend.mail.demo.test"), domain="mail.demo.test")
    assert evidence.zone.apex == "demo.test"
    record = evidence.records["it"]
    assert record.doubled == Elsewhere("_plugsend.mail.demo.test.demo.test", ("plugsend-verification=abc",))
    assert record.at_apex == ("here",)


def test_a_name_that_cannot_be_longer_is_asked_for_all_the_same(make: Make) -> None:
    name = ".".join(["_a" * 30] * 3 + ["_b" * 20, "demo.test"])
    assert make({f"{name} TXT": ['"long"']}).ask_one(Asked("TXT", name)).authority[0].values == ("long",)
    assert make().ask_one(Asked("TXT", name)).doubled is None


def test_text_is_joined_readable_and_storable(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": ['"one" " two"', r'"nul\000 \255 caf\195\169"']})
    assert made.ask_one(OWNERSHIP).authority[0].values == (
        "nul\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER} café",
        "one two",
    )
    made = make({"psrp.demo.test CNAME": [r"a\.b\000\200.Host.test."]})
    assert made.ask_one(RETURN_PATH).authority[0].values == (r"a\.b\000\200.host.test",)


# ---- Aliases ---------------------------------------------------------------------------------------------------------


def test_what_an_alias_leads_to_in_the_zone_counts(make: Make) -> None:
    made = make({"_plugsend.demo.test CNAME": ["v.demo.test."], "v.demo.test TXT": [TOKEN]})
    record = made.ask_one(OWNERSHIP)
    assert record.authority == heard(("plugsend-verification=abc",), alias="v.demo.test", ttl_s=TTL_S)
    assert [one.alias for one in record.resolvers] == ["v.demo.test"] * 2


def test_what_an_alias_leads_to_outside_the_zone_a_resolver_tells(make: Make) -> None:
    made = make({"_plugsend.demo.test CNAME": ["v.other.test."]}, {"other.test": {"v.other.test TXT": [TOKEN]}})
    made.ns["ns1"].manner = appending("v.other.test. 300 IN TXT hearsay")
    record = made.ask_one(OWNERSHIP)
    assert record.authority == heard(("plugsend-verification=abc",), alias="v.other.test", ttl_s=TTL_S)
    assert sum(resolver.asked.count("v.other.test TXT") for resolver in made.resolvers) == 1


def test_an_alias_that_cannot_be_followed_is_no_answer(make: Make) -> None:
    made = make({"_plugsend.demo.test CNAME": ["v.other.test."]}, {"other.test": {"v.other.test TXT": [TOKEN]}})
    for resolver in made.resolvers:
        resolver.bogus["other.test"] = None
    assert made.ask_one(OWNERSHIP).authority == heard(failure=Failure.BOGUS)


def test_an_answer_is_remembered_no_longer_than_the_shortest_of_its_chain(make: Make) -> None:
    made = make({"_plugsend.demo.test CNAME": ["v.other.test."]}, {"other.test": {}})
    for resolver in made.resolvers:
        resolver.remembered["v.other.test TXT"] = ([TOKEN], 7)
    assert {one.ttl_s for one in made.ask_one(OWNERSHIP).authority} == {7}


def test_aliases_in_a_circle_end(make: Make) -> None:
    made = make(
        {"_plugsend.demo.test CNAME": ["a.other.test."]}, {"other.test": {"a.other.test CNAME": ["a.other.test."]}}
    )
    assert {(one.alias, one.values) for one in made.ask_one(OWNERSHIP).authority} == {("a.other.test", ())}


def appending(*rows: str) -> Any:
    def manner(query: Message, reply: Message) -> Message:
        for row in rows:
            name, ttl_s, class_, type_, value = row.split(" ", 4)
            reply.answer.append(dns.rrset.from_text(name, int(ttl_s), class_, type_, value))
        return reply

    return manner


# ---- Servers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manner", "failure"),
    [
        (silent, Failure.TIMEOUT),
        (refusing(dns.rcode.SERVFAIL), Failure.SERVFAIL),
        (refusing(dns.rcode.REFUSED), Failure.REFUSED),
        (refusing(dns.rcode.NOTAUTH), Failure.LAME),
        (refusing(dns.rcode.FORMERR), Failure.MALFORMED),
        (lame, Failure.LAME),
        (lambda query, reply: query.to_wire()[:2] + b"\x84\x00" + bytes(3), Failure.MALFORMED),
        (
            lambda query, reply: dns.message.make_response(
                dns.message.make_query("x.test", "TXT", id=query.id)
            ).to_wire(),
            Failure.MALFORMED,
        ),
        (lambda query, reply: reply.to_wire() + bytes(17_000), Failure.MALFORMED),
    ],
)
def test_failures_of_a_name_server_are_told_apart(make: Make, impatient: None, manner: Any, failure: Failure) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns2"].manner = manner
    evidence = made.ask(OWNERSHIP)
    good, bad = evidence.records["it"].authority
    assert (good.values, bad) == (("plugsend-verification=abc",), Heard("ns2.host.test", failure=failure))
    assert [server.failure for server in evidence.zone.name_servers] == [None, failure]
    assert evidence.records["it"].resolvers  # who is of no use does not stand in the way


def test_where_no_authority_answers_resolvers_are_asked(make: Make, impatient: None) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns1"].manner = made.ns["ns2"].manner = silent
    record = made.ask_one(OWNERSHIP)
    assert record.authority == heard(failure=Failure.TIMEOUT)
    assert [one.values for one in record.resolvers] == [("plugsend-verification=abc",)] * 2


def test_where_no_authority_answers_a_resolver_tells_where_the_record_went(make: Make) -> None:
    made = make({"_plugsend.demo.test.demo.test TXT": [TOKEN], "*.demo.test CNAME": ["x.host.test."]})
    made.ns["ns1"].manner = made.ns["ns2"].manner = refusing(dns.rcode.REFUSED)
    record = made.ask_one(OWNERSHIP)
    assert record.doubled == Elsewhere("_plugsend.demo.test.demo.test", ("plugsend-verification=abc",))
    assert (record.wrong_type, record.is_wildcard) == (("x.host.test",), True)


def test_an_authority_that_knows_nothing_yet_keeps_resolvers_unasked(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]}, {"old.test": {}})
    made.ns["ns2"].manner = lambda query, reply: (
        nothing_there(query) if "_plugsend" in str(query.question[0]) else reply
    )
    record = made.ask_one(OWNERSHIP)
    assert [one.values for one in record.authority] == [("plugsend-verification=abc",), ()]
    assert record.resolvers == ()


def nothing_there(query: Message) -> Message:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.NXDOMAIN)
    reply.authority.append(dns.rrset.from_text("demo.test.", 40, "IN", "SOA", "a.test. b.test. 1 2 3 4 50"))
    return reply


def test_without_soa_nothing_is_remembered_as_absent(make: Make) -> None:
    made = make()
    for server in made.ns.values():
        server.manner = without_authority
    assert {one.ttl_s for one in made.ask_one(OWNERSHIP).authority} == {0}


def without_authority(query: Message, reply: Message) -> Message:
    if "NS" not in query.question[0].to_text():
        reply.authority = []
    return reply


def test_what_a_resolver_remembers_has_its_remaining_seconds(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.resolvers[0].remembered["_plugsend.demo.test TXT"] = (['"old"'], 123)
    made.resolvers[1].remembered["_plugsend.demo.test TXT"] = ([], 45)
    assert made.ask_one(OWNERSHIP).resolvers == (
        Heard(RESOLVERS[0], ("old",), ttl_s=123),
        Heard(RESOLVERS[1], exists=False, ttl_s=45),
    )


def test_a_server_is_asked_at_its_next_address(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.world.zones["host.test"]["ns1.host.test A"] = ["127.0.53.99", "127.0.53.1"]  # nobody is at the first
    made.world.zones["host.test"]["ns2.host.test A"] = ["127.0.53.3", "127.0.53.2"]
    made.ns["ns3"].manner = silent
    assert made.ask_one(OWNERSHIP).authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)


@pytest.mark.parametrize("apex", [".", "test.", "demo.test.", "_other.demo.test.", "other.test."])
def test_a_server_that_refers_up_or_aside_is_lame(make: Make, apex: str) -> None:
    def refer(query: Message, reply: Message) -> Message:
        reply = dns.message.make_response(query)
        reply.authority.append(dns.rrset.from_text(apex, 60, "IN", "NS", "ns1.host.test."))
        return reply

    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns2"].manner = refer
    assert made.ask_one(OWNERSHIP).authority[1] == Heard("ns2.host.test", failure=Failure.LAME)


def test_a_server_that_fails_for_one_record_is_of_use_for_others(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns2"].manner = lambda query, reply: (
        refusing(dns.rcode.SERVFAIL)(query, reply) if "_plugsend" in str(query.question[0]) else reply
    )
    evidence = made.ask(OWNERSHIP, Asked("CNAME", "psrp.demo.test", id="other"))
    assert [one.failure for one in evidence.records["it"].authority] == [None, Failure.SERVFAIL]
    assert [one.failure for one in evidence.zone.name_servers] == [None, None]


def test_a_server_to_which_there_is_no_way_from_here_is_left_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make({"demo.test NS": ["ns1.host.test.", "v6.host.test."], "_plugsend.demo.test TXT": [TOKEN]})
    made.world.zones["host.test"]["v6.host.test AAAA"] = ["2001:db8::1"]
    monkeypatch.setattr(dns_servers, "source_for", lambda address: None if ":" in address else "127.0.0.1")
    evidence = made.ask(OWNERSHIP)
    assert [one.server for one in evidence.records["it"].authority] == ["ns1.host.test"]
    assert evidence.zone.name_servers[1] == NameServer("v6.host.test", ("2001:db8::1",))


def test_the_negative_ttl_of_another_zone_does_not_count(make: Make) -> None:
    def strange(query: Message, reply: Message) -> Message:
        foreign = dns.rrset.from_text("other.test.", 5, "IN", "SOA", "a.test. b.test. 1 2 3 4 5")
        reply.authority.insert(0, foreign)
        return reply

    made = make()
    made.ns["ns1"].manner = made.ns["ns2"].manner = strange
    assert made.ask_one(OWNERSHIP).authority == heard(exists=False, ttl_s=NEGATIVE_TTL_S)


def test_four_servers_are_enough(make: Make) -> None:
    made = make({"demo.test NS": [f"{name}." for name in NS]})
    for server in made.ns.values():
        server.zones = (*server.zones, "demo.test")
    assert len(made.ask_one(OWNERSHIP).authority) == 4


def test_old_servers_are_asked_without_edns(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns1"].manner = lambda query, reply: refusing(dns.rcode.FORMERR)(query, reply) if query.edns >= 0 else reply
    made.ns["ns2"].manner = lambda query, reply: (
        query.to_wire()[:2] + b"\x80\x01" + bytes(8) if query.edns >= 0 else reply
    )
    assert made.ask_one(OWNERSHIP).authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)


def test_what_does_not_fit_a_datagram_comes_over_tcp(make: Make) -> None:
    values = [f'"{n:0250}"' for n in range(12)]
    made = make({"_plugsend.demo.test TXT": values})
    record = made.ask_one(OWNERSHIP)
    assert len(record.authority[0].values) == len(record.resolvers[0].values) == 12
    assert made.ns["ns1"].over_tcp > 0


def test_what_does_not_fit_over_tcp_either_is_no_answer(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [f'"{n:0250}"' for n in range(100)]})
    assert made.ask_one(OWNERSHIP).authority == heard(failure=Failure.MALFORMED)


# ---- Zones -----------------------------------------------------------------------------------------------------------


def test_a_domain_below_the_registered_one_is_in_the_zone_that_has_it(make: Make) -> None:
    zones = {"sub.demo.test": {"sub.demo.test NS": ["ns3.host.test."], "_plugsend.mail.sub.demo.test TXT": [TOKEN]}}
    made = make({}, zones)
    made.ns["ns3"].zones = ("sub.demo.test",)
    evidence = made.ask(Asked("TXT", "_plugsend.mail.sub.demo.test"), domain="mail.sub.demo.test")
    assert (evidence.zone.apex, [one.name for one in evidence.zone.name_servers]) == (
        "sub.demo.test",
        ["ns3.host.test"],
    )
    assert evidence.records["it"].authority == (Heard("ns3.host.test", ("plugsend-verification=abc",), ttl_s=TTL_S),)
    # That there is nothing at a name, resolvers would hold for all names below it, too.
    assert not any("sub.demo.test NS" in question for resolver in made.resolvers for question in resolver.asked)


@pytest.mark.parametrize("domain", ["sub.demo.test", "mail.sub.demo.test"])
def test_a_zone_on_the_same_servers_is_found(make: Make, domain: str) -> None:
    made = make({}, {"sub.demo.test": {"sub.demo.test NS": ["ns3.host.test.", "ns1.host.test."]}})
    for name in ("ns1", "ns2", "ns3"):
        made.ns[name].zones = ("demo.test", "sub.demo.test")
    zone = made.ask(OWNERSHIP, domain=domain).zone
    assert (zone.apex, [one.name for one in zone.name_servers]) == ("sub.demo.test", ["ns1.host.test", "ns3.host.test"])


def test_records_whose_names_are_delegated_are_asked_for_there(make: Make) -> None:
    zones = {
        "_domainkey.demo.test": {"_domainkey.demo.test NS": ["ns3.host.test."], "*._domainkey.demo.test TXT": [TOKEN]}
    }
    made = make({}, zones)
    made.ns["ns3"].zones = ("_domainkey.demo.test",)
    evidence = made.ask(Asked("TXT", "ps1._domainkey.demo.test"))
    assert evidence.zone.apex == "demo.test"
    record = evidence.records["it"]
    assert record.authority == (Heard("ns3.host.test", ("plugsend-verification=abc",), ttl_s=TTL_S),)
    assert record.is_wildcard


def test_a_domain_that_nobody_registered_does_not_exist(make: Make) -> None:
    evidence = make().ask(Asked("TXT", "_plugsend.gone.test"), domain="gone.test")
    assert (evidence.zone.exists, evidence.zone.apex, evidence.zone.name_servers) == (False, "", ())
    assert not evidence.records["it"].authority
    assert all(not one.exists for one in evidence.records["it"].resolvers)


def test_a_subdomain_that_is_not_there_yet_is_no_missing_domain(make: Make) -> None:
    evidence = make().ask(Asked("TXT", "_plugsend.mail.demo.test"), domain="mail.demo.test")
    assert (evidence.zone.exists, evidence.zone.apex) == (True, "demo.test")


def test_a_domain_registered_a_moment_ago_is_known_by_its_registry(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    for resolver in made.resolvers:
        resolver.remembered["demo.test NS"] = ([], 900)
    evidence = made.ask(OWNERSHIP)
    assert (evidence.zone.exists, evidence.zone.apex) == (True, "demo.test")
    assert evidence.records["it"].authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)


def test_servers_that_do_not_answer_for_their_domain_are_named(make: Make) -> None:
    made = make()
    made.ns["ns1"].zones, made.ns["ns2"].manner = (), lame
    for resolver in made.resolvers:
        resolver.manner = lambda query, reply: (
            refusing(dns.rcode.SERVFAIL)(query, reply) if "demo.test" in str(query.question[0].name) else reply
        )
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.name_servers == (
        NameServer("ns1.host.test", ("127.0.53.1",), Failure.REFUSED),
        NameServer("ns2.host.test", ("127.0.53.2",), Failure.LAME),
    )
    assert [one.failure for one in evidence.records["it"].resolvers] == [Failure.SERVFAIL] * 2


def test_that_a_domain_does_not_exist_its_registry_tells_where_resolvers_fail(make: Make) -> None:
    made = make()
    for resolver in made.resolvers:
        resolver.manner = lambda query, reply: (
            refusing(dns.rcode.SERVFAIL)(query, reply) if "gone.test" in str(query.question[0].name) else reply
        )
    zone = made.ask(Asked("TXT", "_plugsend.gone.test"), domain="gone.test").zone
    assert (zone.exists, zone.failure) == (False, None)


def test_a_server_whose_name_leads_nowhere_is_of_no_use(make: Make) -> None:
    made = make({"demo.test NS": ["ns1.host.test.", "none.host.test."]})
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.name_servers[0] == NameServer("none.host.test", (), Failure.TIMEOUT)
    assert evidence.records["it"].authority[0] == Heard("none.host.test", failure=Failure.TIMEOUT)


def test_without_any_resolver_that_answers_nothing_is_known(make: Make, impatient: None) -> None:
    made = make()
    for resolver in made.resolvers:
        resolver.manner = silent
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.failure == Failure.TIMEOUT
    assert [one.failure for one in evidence.records["it"].resolvers] == [Failure.TIMEOUT] * 2


def test_a_silent_resolver_does_not_stand_in_the_way(make: Make, impatient: None) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.resolvers[0].manner = silent
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.apex == "demo.test"
    assert [one.failure for one in evidence.records["it"].resolvers] == [Failure.TIMEOUT, None]


def test_the_next_resolver_is_asked_before_a_silent_one_is_given_up(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_exchange, "UDP_TRIES_S", (3.0, 3.0))
    monkeypatch.setattr(dns_exchange, "STAGGER_S", 0.05)
    made = make()
    made.resolvers[0].manner = silent
    assert made.ask().zone.apex == "demo.test"
    assert made.resolvers[0].asked.count("demo.test NS") == 1  # its second packet was not waited for


# ---- DNSSEC ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ede", "words"),
    [
        ((EDECode.SIGNATURE_EXPIRED, "the signature ran out\0"), "SIGNATURE EXPIRED: the signature ran out"),
        ((EDECode.DNSKEY_MISSING, None), "DNSKEY MISSING"),
        ((EDECode.NO_REACHABLE_AUTHORITY, "ns1 is away"), "DNSSEC validation failed"),
        (None, "DNSSEC validation failed"),
    ],
)
def test_a_zone_that_resolvers_do_not_believe(make: Make, ede: Any, words: str) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    for resolver in made.resolvers:
        resolver.bogus["demo.test"] = ede
    evidence = made.ask(OWNERSHIP)
    assert (evidence.zone.dnssec, evidence.zone.apex, evidence.zone.failure) == (words, "demo.test", None)
    assert evidence.records["it"].authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)
    assert [one.failure for one in evidence.records["it"].resolvers] == [Failure.BOGUS] * 2


def test_a_resolver_that_was_only_slow_is_believed_at_the_next_try(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    for resolver in made.resolvers:
        resolver.manner = failing_at_first(resolver)
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.dnssec == ""
    assert [one.values for one in evidence.records["it"].resolvers] == [("plugsend-verification=abc",)] * 2


def failing_at_first(server: Server) -> Any:
    def manner(query: Message, reply: Message) -> Message:
        is_first = server.asked.count(server.asked[-1]) == 1
        return refusing(dns.rcode.SERVFAIL)(query, reply) if is_first else reply

    return manner


def test_a_zone_below_that_resolvers_do_not_believe(make: Make) -> None:
    zones = {
        "_domainkey.demo.test": {"_domainkey.demo.test NS": ["ns3.host.test."], "ps._domainkey.demo.test TXT": [TOKEN]}
    }
    made = make({}, zones)
    made.ns["ns3"].zones = ("_domainkey.demo.test",)
    for resolver in made.resolvers:
        resolver.bogus["_domainkey.demo.test"] = (EDECode.RRSIGS_MISSING, "none")
    evidence = made.ask(Asked("TXT", "ps._domainkey.demo.test"))
    assert evidence.zone.dnssec == "RRSIGS MISSING: none"
    assert [one.failure for one in evidence.records["it"].resolvers] == [Failure.BOGUS] * 2


def test_a_resolver_that_insists_is_taken_at_its_word(make: Make) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    for resolver in made.resolvers:
        resolver.bogus["demo.test"] = (EDECode.DNSSEC_BOGUS, "no")
        resolver.manner = lambda query, reply: (
            refusing(dns.rcode.SERVFAIL)(query, reply) if query.flags & dns.flags.CD else reply
        )
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.dnssec == "DNSSEC BOGUS: no"
    assert [one.failure for one in evidence.records["it"].resolvers] == [Failure.BOGUS] * 2


# ---- Strangers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(settings: Any) -> None:
    """No sandbox: the world's addresses are none that strangers' zones may send us to."""
    settings.SANDBOX, settings.ALLOWED_NETWORKS = False, []


def test_our_own_network_is_never_asked(make: Make, outside: None) -> None:
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    evidence = made.ask(OWNERSHIP)
    assert evidence.zone.name_servers == (
        NameServer("ns1.host.test", ("127.0.53.1",), Failure.TIMEOUT),
        NameServer("ns2.host.test", ("127.0.53.2",), Failure.TIMEOUT),
    )
    assert [one.values for one in evidence.records["it"].resolvers] == [("plugsend-verification=abc",)] * 2
    assert [server.asked for server in made.ns.values()] == [[]] * len(NS)


def test_a_referral_leads_into_our_own_network_as_little(make: Make, outside: None, settings: Any) -> None:
    zones = {"sub.demo.test": {"sub.demo.test NS": ["ns3.host.test."], "_plugsend.sub.demo.test TXT": [TOKEN]}}
    made = make({}, zones)
    made.ns["ns3"].zones = ("sub.demo.test",)
    settings.ALLOWED_NETWORKS = [ip_network("127.0.53.1/32"), ip_network("127.0.53.2/32")]
    evidence = made.ask(Asked("TXT", "_plugsend.sub.demo.test"), domain="sub.demo.test")
    assert (evidence.zone.apex, made.ns["ns3"].asked) == ("sub.demo.test", [])


def test_referrals_without_end_are_not_followed(make: Make, impatient: None) -> None:
    name = ".".join(f"_{n}" for n in range(30)) + ".demo.test"

    def refer(query: Message, reply: Message) -> Message:
        """One label further down each time."""
        made.depth += 1
        reply = dns.message.make_response(query)
        labels = query.question[0].name.labels
        cut = dns.name.Name(labels[max(len(labels) - 3 - made.depth, 0) :])
        reply.authority.append(dns.rrset.from_text(cut, 60, "IN", "NS", "ns1.host.test."))
        return reply

    made = make()
    made.ns["ns1"].manner, made.ns["ns2"].manner = refer, silent
    record = made.ask_one(Asked("TXT", name))
    assert record.authority == ()
    assert len(made.ns["ns1"].asked) < 10


def test_a_flood_of_packets_is_cut_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def reading(packet: bytes, query: Message) -> Message | None:
        read.append(packet)
        return read_reply(packet, query)

    monkeypatch.setattr(dns_exchange, "read_reply", reading)
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns2"].manner = lambda query, reply: [query.to_wire()[:2] + b"junk"] * 500
    assert made.ask_one(OWNERSHIP).authority[1] == Heard("ns2.host.test", failure=Failure.MALFORMED)
    assert sum(packet.endswith(b"junk") for packet in read) == dns_exchange.STRANGE_PACKETS


def test_packets_that_are_not_the_answer_do_not_hide_it(make: Make) -> None:
    def mixed(query: Message, reply: Message) -> list[bytes]:
        wire = reply.to_wire()
        forged = dns.message.make_response(dns.message.make_query("x.test", "TXT", id=query.id))
        return [
            b"",
            b"\0" * 12,
            bytes(octet ^ 1 for octet in wire[:2]) + wire[2:],
            query.to_wire(),
            forged.to_wire(),
            wire,
        ]

    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns1"].manner = made.ns["ns2"].manner = mixed
    assert made.ask_one(OWNERSHIP).authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)


def test_answers_about_other_names_are_not_taken(make: Make) -> None:
    made = make()
    for server in made.ns.values():
        server.manner = appending("demo.test. 60 IN TXT stray", "_plugsend.other.test. 60 IN TXT stray")
    assert made.ask_one(OWNERSHIP).authority == heard(exists=False, ttl_s=NEGATIVE_TTL_S)


QUERY = dns.message.make_query("_plugsend.demo.test", "TXT", id=0x1234, use_edns=0)
HONEST = dns.message.make_response(QUERY)
HONEST.flags |= dns.flags.AA
HONEST.answer += [
    dns.rrset.from_text("_plugsend.demo.test.", 60, "IN", "CNAME", "a.demo.test."),
    dns.rrset.from_text("a.demo.test.", 60, "IN", "TXT", '"one" "two"', r'"\000\255"'),
]
HONEST.authority.append(dns.rrset.from_text("demo.test.", 60, "IN", "NS", r"ns\000.demo.test."))
HONEST.use_edns(0, 0, 1232, options=[EDEOption(EDECode.DNSSEC_BOGUS, "words")])
WIRE = HONEST.to_wire()


@st.composite
def strange_packets(draw: st.DrawFn) -> bytes:
    """Octets of all kinds, among them honest packets with some octets changed, dropped or added."""
    if draw(st.booleans()):
        return WIRE[:2] + draw(st.binary(max_size=600))
    packet = bytearray(WIRE)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(2, len(packet) - 1))
        packet[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(packet)


@given(strange_packets())
@example(WIRE)
def test_whatever_octets_come_nothing_breaks_and_text_can_be_stored(packet: bytes) -> None:
    reply = read_reply(packet, QUERY)
    if reply is None or reply.flags & dns.flags.TC:
        return
    name, apex = QUERY.question[0].name, dns.name.from_text("demo.test")
    texts = [read_dnssec_words(reply)]
    for type_ in (RdataType.TXT, RdataType.CNAME, RdataType.NS, RdataType.A):
        answer = read_answer(reply, name, type_)
        texts += [*answer.values, answer.alias]
        assert 0 <= answer.ttl_s <= LONGEST_TTL_S
    texts += [text_of(server) for server in read_name_servers(reply, name)]
    if referral := read_referral(reply, apex, name):
        texts += [text_of(server) for server in referral.names]
        assert referral.cut.is_subdomain(apex)
        assert referral.cut != apex
    assert not any("\0" in text for text in texts)
    for text in texts:
        text.encode()


@pytest.mark.parametrize(
    ("rows", "is_read"),
    [
        ([f'demo.test. 60 IN TXT "{n}"' for n in range(127)], True),
        ([f'demo.test. 60 IN TXT "{n}"' for n in range(129)], False),
        ([f"demo.test. 60 IN NS ns{n}.demo.test." for n in range(24)], True),
        ([f"demo.test. 60 IN NS ns{n}.demo.test." for n in range(25)], False),
    ],
)
def test_replies_that_would_take_long_to_read_are_not_read(rows: list[str], is_read: bool) -> None:
    reply = appending(*rows)(QUERY, dns.message.make_response(QUERY))
    reply.use_edns(False)
    assert (read_reply(reply.to_wire(), QUERY) is not None) == is_read


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(strange_packets(), min_size=1, max_size=6))
def test_servers_that_answer_anything_at_all_do_no_harm(loose: Made, packets: list[bytes]) -> None:
    turns = cycle(packets)

    def anything(query: Message, reply: Message) -> bytes:
        return query.id.to_bytes(2) + next(turns)[2:]

    for server in (*loose.ns.values(), *loose.resolvers):
        server.manner = anything
    zones_module.CACHE.clear()
    evidence = loose.ask(OWNERSHIP, Asked("CNAME", "psrp.demo.test", id="other"))
    assert set(evidence.records) == {"it", "other"}


@pytest.fixture
def loose(make: Make, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(dns_exchange, "UDP_TRIES_S", (0.02,))
    monkeypatch.setattr(dns_exchange, "STAGGER_S", 0.02)
    return make({"_plugsend.demo.test TXT": [TOKEN]})


# ---- Time ------------------------------------------------------------------------------------------------------------


def test_a_look_ends_in_time_and_tells_what_it_heard(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WITHIN_S", 0.5)
    made = make({"_plugsend.demo.test TXT": [TOKEN]})
    made.ns["ns2"].manner = silent
    evidence = made.ask(OWNERSHIP)
    good, late = evidence.records["it"].authority
    assert (good.values, late.failure) == (("plugsend-verification=abc",), Failure.TIMEOUT)
    assert {one.failure for one in evidence.records["it"].resolvers} == {Failure.TIMEOUT}  # no time was left for them


def test_a_silent_server_is_not_waited_for_over_and_over(make: Make, impatient: None) -> None:
    made = make()
    made.ns["ns2"].manner = silent
    made.ask(*(Asked("TXT", f"_{n}.demo.test", id=str(n)) for n in range(60)))
    assert len(made.ns["ns2"].asked) <= dns_exchange.AT_ONCE_PER_SERVER * len(dns_exchange.UDP_TRIES_S)


def test_a_server_that_is_silent_about_one_zone_is_asked_for_others(make: Make, impatient: None) -> None:
    made = make(
        {"_plugsend.demo.test TXT": [TOKEN]}, {"slow.test": {"slow.test NS": ["ns1.host.test.", "ns2.host.test."]}}
    )
    for name in ("ns1", "ns2"):
        made.ns[name].manner = lambda query, reply: None if "slow" in str(query.question[0]) else reply
    slow = [Asked("TXT", f"_{n}.slow.test", id=str(n)) for n in range(20)]
    silent_zone, good_zone = gather([("slow.test", slow), ("demo.test", [OWNERSHIP])])
    assert {one.failure for one in silent_zone.zone.name_servers} == {Failure.TIMEOUT}
    assert good_zone.records["it"].authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)


def test_an_accident_with_one_domain_stays_its_own(make: Make) -> None:
    make({"_plugsend.demo.test TXT": [TOKEN]})
    bad, good = gather([("demo.test", [Asked("NO-SUCH-TYPE", "x.demo.test")]), ("demo.test", [OWNERSHIP])])
    assert (bad.zone.failure, bad.records) == (Failure.MALFORMED, {"it": RecordEvidence()})
    assert good.records["it"].authority[0].values == ("plugsend-verification=abc",)


def test_many_domains_are_looked_at_side_by_side(make: Make) -> None:
    names = [f"d{n}.test" for n in range(40)]
    made = make(
        {}, {name: {f"{name} NS": ["ns1.host.test."], f"_plugsend.{name} TXT": [f'"{name}"']} for name in names}
    )
    made.ns["ns1"].zones = tuple(names)
    everything = gather([(name, [Asked("TXT", f"_plugsend.{name}")]) for name in names])
    assert [evidence.records["it"].authority[0].values for evidence in everything] == [(name,) for name in names]


# ---- What is remembered ----------------------------------------------------------------------------------------------


def test_a_zone_is_sought_once_for_the_looks_of_some_seconds(make: Make) -> None:
    made = make()
    made.ask(OWNERSHIP)
    asked = sum(len(resolver.asked) for resolver in made.resolvers)
    made.world.zones["demo.test"]["_plugsend.demo.test TXT"] = [TOKEN]
    assert made.ask_one(OWNERSHIP).authority == heard(("plugsend-verification=abc",), ttl_s=TTL_S)
    assert sum(len(resolver.asked) for resolver in made.resolvers) == asked + 2  # for the record


def test_a_zone_that_moved_is_sought_again_when_nobody_answers(make: Make) -> None:
    made = make()
    made.ask(OWNERSHIP)
    made.world.zones["demo.test"] |= {"demo.test NS": ["ns3.host.test."], "_plugsend.demo.test TXT": [TOKEN]}
    made.ns["ns1"].zones = made.ns["ns2"].zones = ()
    made.ns["ns3"].zones = ("demo.test",)
    evidence = made.ask(OWNERSHIP)
    assert [one.name for one in evidence.zone.name_servers] == ["ns3.host.test"]
    assert evidence.records["it"].authority[0].values == ("plugsend-verification=abc",)


def test_a_domain_that_did_not_exist_is_sought_each_time(make: Make) -> None:
    made = make()
    assert not made.ask(OWNERSHIP, domain="new.test").zone.exists
    made.world.zones["new.test"] = {"new.test NS": ["ns1.host.test."]}
    made.ns["ns1"].zones = ("demo.test", "new.test")
    assert made.ask(OWNERSHIP, domain="new.test").zone.apex == "new.test"


def test_the_memory_of_zones_is_bounded_and_short() -> None:
    cache = ZoneCache(keep_for_s=60, most=3)
    for n in range(5):
        cache.put((n,), Zone())
    assert [cache.get((n,)) is not None for n in range(5)] == [False, False, True, True, True]
    brief = ZoneCache(keep_for_s=0)
    brief.put((1,), Zone())
    assert brief.get((1,)) is None


# ---- Settings --------------------------------------------------------------------------------------------------------


def test_checks_ask_their_own_resolvers_or_those_of_the_platform(settings: Any) -> None:
    settings.DNS_NAMESERVERS, settings.DOMAIN_CHECK_RESOLVERS = ["192.0.2.1", "[2001:db8::1]:5353"], []
    assert check_resolvers() == (Endpoint("192.0.2.1", 53), Endpoint("2001:db8::1", 5353))
    settings.DOMAIN_CHECK_RESOLVERS = ["192.0.2.2:54", "2001:db8::2"]
    assert check_resolvers() == (Endpoint("192.0.2.2", 54), Endpoint("2001:db8::2", 53))
    settings.DOMAIN_CHECK_RESOLVERS = ["resolver.example"]
    with pytest.raises(ImproperlyConfigured, match=r"DOMAIN_CHECK_RESOLVERS: “resolver\.example”"):
        check_resolvers()
