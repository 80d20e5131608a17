"""Where mail goes: real DNS packets in, exchangers and addresses out."""

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import Any, TypeVar

import pytest
from pytest_django.fixtures import Settings

from domains.networks import is_allowed, source_for
from relay.delivery.routing import Hop, Route, Router, RoutingFailed
from tests.dns_zone import SERVFAIL, SILENT, Zone

T = TypeVar("T")
PUBLIC = "198.41.0.4"  # nothing is ever sent there


@pytest.fixture(autouse=True)
def in_the_open(settings: Settings) -> None:
    settings.SANDBOX = False
    settings.HOSTNAME = "out.plugsend.test"
    settings.EXCHANGER_PORT = 25
    settings.RELAY_SMARTHOST = ""


def routed(zone: Zone, work: Callable[[Router], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with zone:
            return await work(Router(zone.resolver()))

    return asyncio.run(main())


def route(zone: Zone, destination: str) -> Route:
    return routed(zone, lambda router: router.route(destination))


def hops(zone: Zone, destination: str, source_address: str | None = None) -> list[Hop]:
    async def work(router: Router) -> list[Hop]:
        found = await router.route(destination)
        return [hop async for hop in router.hops(found, source_address=source_address)]

    return routed(zone, work)


def failure(zone: Zone, destination: str) -> tuple[str, bool]:
    with pytest.raises(RoutingFailed) as failed:
        hops(zone, destination)
    return failed.value.reason, failed.value.permanent


def test_exchangers_come_by_preference_and_equal_ones_at_random() -> None:
    zone = Zone({"a.test MX": ["20 last.test.", "10 One.test.", "10 two.test.", "10 three.test."]})

    async def work(router: Router) -> list[Route]:
        return [await router.route("a.test") for _ in range(60)]

    routes = routed(zone, work)
    assert {one.exchangers[-1] for one in routes} == {"last.test"}
    assert {one.exchangers[0] for one in routes} == {"one.test", "two.test", "three.test"}
    assert {one.group for one in routes} == {"one.test three.test two.test"}
    assert zone.asked == ["a.test MX"]  # the rest came out of the cache


def test_domains_of_one_provider_are_one_group() -> None:
    zone = Zone({"a.test MX": ["1 mx.host.test."], "b.test MX": ["5 MX.host.test.", "7 backup.b.test."]})
    assert route(zone, "a.test").group == "mx.host.test"
    assert route(zone, "b.test").group == "mx.host.test"


def test_without_mx_the_domain_itself_is_the_exchanger() -> None:
    zone = Zone({"a.test A": [PUBLIC]})
    assert hops(zone, "a.test") == [Hop("a.test", PUBLIC, 25)]


def test_an_mx_that_leads_nowhere_is_not_made_good_by_the_domains_address() -> None:
    zone = Zone({"a.test MX": ["10 gone.test."], "a.test A": [PUBLIC]})
    assert failure(zone, "a.test") == ("no_mail_for_domain", True)


def test_a_cname_at_the_domain_is_followed() -> None:
    zone = Zone({"a.test CNAME": ["b.test."], "b.test MX": ["10 mx.b.test."], "mx.b.test A": [PUBLIC]})
    assert [hop.host for hop in hops(zone, "a.test")] == ["mx.b.test"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({}, ("no_such_domain", True)),
        ({"a.test TXT": ["x"]}, ("no_mail_for_domain", True)),
        ({"a.test MX": ["0 ."]}, ("no_mail_for_domain", True)),
        ({"a.test MX": SERVFAIL}, ("dns_failure", False)),
        ({"a.test MX": SILENT}, ("dns_failure", False)),
        ({"a.test MX": ["5 mx.test."], "mx.test A": SERVFAIL}, ("dns_failure", False)),
        # One is gone for good, of the other nobody knows: there is hope.
        ({"a.test MX": ["5 mx.test.", "6 gone.test."], "mx.test A": SERVFAIL}, ("dns_failure", False)),
        ({"a.test MX": ["5 192.0.2.7."]}, ("no_mail_for_domain", True)),
        ({"a.test MX": ["5 mx.test."], "mx.test A": ["10.0.0.1"]}, ("forbidden_address", True)),
        ({"a.test MX": ["5 mx.test."], "mx.test AAAA": ["fd12::1", "::ffff:10.0.0.1"]}, ("forbidden_address", True)),
        ({"a.test MX": ["5 out.plugsend.test.", "9 mx.test."], "mx.test A": [PUBLIC]}, ("loops_to_us", True)),
        ({"a.test MX": ["5 mx.test."], "mx.test A": [PUBLIC], "out.plugsend.test A": [PUBLIC]}, ("loops_to_us", True)),
        ({"out.plugsend.test A": [PUBLIC]}, ("no_such_domain", True)),
    ],
)
def test_failures_are_told_apart(rows: dict[str, list[str] | str], expected: tuple[str, bool]) -> None:
    assert failure(Zone(rows), "a.test") == expected


def test_our_own_name_as_destination_is_a_loop() -> None:
    assert failure(Zone({"out.plugsend.test A": [PUBLIC]}), "out.plugsend.test") == ("loops_to_us", True)


def test_a_null_mx_beside_others_says_nothing() -> None:
    zone = Zone({"a.test MX": ["0 .", "10 mx.test.", "20 192.0.2.7."], "mx.test A": [PUBLIC]})
    assert route(zone, "a.test").exchangers == ("mx.test",)


def test_of_the_exchangers_only_those_before_us_are_used() -> None:
    zone = Zone({"a.test MX": ["5 mx.test.", "10 OUT.plugsend.test.", "10 equal.test.", "20 later.test."]})
    assert route(zone, "a.test").exchangers == ("mx.test",)


def test_an_address_of_this_machine_is_never_an_exchanger(settings: Settings) -> None:
    own = source_for(PUBLIC)
    if own is None:
        pytest.skip("this machine has no network")
    settings.ALLOWED_NETWORKS = [ip_network(own)]
    assert failure(Zone({"a.test MX": ["5 mx.test."], "mx.test A": [own]}), "a.test") == ("loops_to_us", True)
    # What is less preferred would only send it back to us.
    rows = {"a.test MX": ["5 mx.test.", "6 later.test."], "mx.test A": [own], "later.test A": [PUBLIC]}
    assert failure(Zone({**rows}), "a.test") == ("loops_to_us", True)
    settings.ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    zone = Zone({"a.test MX": ["5 mx.test."], "mx.test A": ["127.0.0.1"]})
    assert [hop.address for hop in hops(zone, "a.test")] == ["127.0.0.1"]


def test_ipv6_and_ipv4_come_by_turns_and_only_as_far_as_there_is_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    v6, v4 = [f"2001:500:2::{n}" for n in range(1, 6)], ["198.41.0.4", "199.9.14.201"]
    zone = Zone({"a.test MX": ["5 mx.test."], "mx.test AAAA": v6, "mx.test A": v4})
    routes = {"v6": True}

    def route_of(address: str) -> str | None:
        return "192.0.2.1" if "." in address else "2001:db8::1" if routes["v6"] else None

    monkeypatch.setattr("relay.delivery.routing.source_for", route_of)
    found = [hop.address for hop in hops(zone, "a.test")]
    assert [":" in address for address in found] == [True, False, True, False, True, True]
    assert len(set(found)) == 6
    assert {hop.address for hop in hops(zone, "a.test", source_address="192.0.2.1")} == set(v4)
    routes["v6"] = False
    assert {hop.address for hop in hops(zone, "a.test")} == set(v4)


def test_the_route_is_looked_up_without_sending() -> None:
    assert source_for("127.0.0.1") == "127.0.0.1"
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        has_route = probe.connect_ex(("2001:500:2::c", 9)) == 0
        assert source_for("2001:500:2::c") == (probe.getsockname()[0] if has_route else None)


def test_later_exchangers_are_looked_up_only_when_asked_for() -> None:
    zone = Zone({"a.test MX": ["5 mx.test.", "6 later.test."], "mx.test A": [PUBLIC], "later.test A": [PUBLIC]})

    async def work(router: Router) -> Hop:
        return await anext(router.hops(await router.route("a.test")))

    assert routed(zone, work).host == "mx.test"
    assert not any("later.test" in question for question in zone.asked)


def test_what_is_not_there_is_remembered_too() -> None:
    zone = Zone({"other.test A": [PUBLIC]})

    async def work(router: Router) -> None:
        for _ in range(3):
            with pytest.raises(RoutingFailed):
                await router.route("a.test")
            with pytest.raises(RoutingFailed):
                _ = [hop async for hop in router.hops(Route("other.test", ("gone.test",), "gone.test"))]

    routed(zone, work)
    assert sorted(zone.asked) == sorted(set(zone.asked))
    assert "a.test MX" in zone.asked


@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize(
    ("signed", "route_is", "hop_is"), [({"test"}, True, True), ({"a.test"}, True, False), ({"mx.host"}, False, False)]
)
def test_dnssec_counts_where_the_resolver_is_trusted(
    settings: Settings, validates: bool, signed: set[str], route_is: bool, hop_is: bool
) -> None:
    settings.DNS_VALIDATES = validates
    zone = Zone({"a.test MX": ["5 mx.host."], "mx.host A": [PUBLIC]}, signed)
    if "test" in signed:
        zone.signed.add("mx.host")
    assert route(zone, "a.test").is_authentic is (route_is and validates)
    assert hops(zone, "a.test")[0].is_authentic is (hop_is and validates)


def test_the_smart_host_takes_everything(settings: Settings) -> None:
    settings.RELAY_SMARTHOST = "[::1]:2526"
    zone = Zone()
    assert route(zone, "a.test").group == "smarthost [::1]:2526"
    settings.RELAY_SMARTHOST = "localhost:2526"
    found = hops(zone, "a.test", source_address="127.0.0.1")
    assert [(hop.host, hop.address, hop.port, hop.is_smarthost) for hop in found] == [
        ("localhost", "127.0.0.1", 2526, True)
    ]
    assert zone.asked == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.215.14", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("10.2.2.3", False),
        ("fd00:1::5", True),
        ("fd00:2::5", False),
        ("fec0::1", False),
        ("2002:a00:1::1", False),  # 6to4 of 10.0.0.1
        ("2002:5db8:d70e::1", True),
        ("64:ff9b::7f00:1", False),  # 127.0.0.1, translated
        ("64:ff9b::5db8:d70e", True),
        ("::7f00:1", False),
        ("2001:db8::1", False),
        ("255.255.255.255", False),
    ],
)
def test_allowed_networks_are_added_to_the_public_ones(settings: Settings, address: str, allowed: bool) -> None:
    settings.ALLOWED_NETWORKS = [ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")]
    assert is_allowed(address) is allowed


def test_the_order_is_drawn_with_chance_not_by_habit() -> None:
    zone = Zone({"a.test MX": [f"10 mx{n}.test." for n in range(8)]})
    random.seed(1)
    first = route(zone, "a.test").exchangers
    random.seed(2)
    assert route(zone, "a.test").exchangers != first
