"""What DNS is asked about a domain, and what is made of it: real packets of servers that tell the truth, fail and lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from domains import zones as zones_module
from domains.asking import gather
from domains.evidence import Evidence, Heard, NameServer, RecordEvidence
from tests.dns_world import NEGATIVE_TTL_S, TTL_S, Resolver, Server, World

RESOLVERS = ("127.0.53.101", "127.0.53.102")
NS = {f"ns{n}.host.test": f"127.0.53.{n}" for n in range(1, 7)}
Rows = dict[str, list[str]]
TOKEN = '"plugsend-verification=abc"'


@dataclass(frozen=True)
class Asked:
    type: str
    name: str
    id: str = "it"


OWNERSHIP = Asked("TXT", "_plugsend.demo.test")
RETURN_PATH = Asked("CNAME", "psrp.demo.test")


class Made:
    """A world with the zone demo.test at ns1 and ns2, under a registry, and two resolvers."""

    def __init__(self, rows: Rows, zones: dict[str, Rows]) -> None:
        host = {f"{name} A": [address] for name, address in NS.items()}
        self.ns = {name.partition(".")[0]: Server(address) for name, address in NS.items()}
        self.ns["ns1"].zones = self.ns["ns2"].zones = ("demo.test",)
        self.ns["ns6"].zones = ("test", "host.test")
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
            running: AbstractContextManager[World] = one.world.running()
            stack.enter_context(running)
            settings.DNS_AUTHORITY_PORT = one.world.port
            settings.DOMAIN_CHECK_RESOLVERS = [f"{address}:{one.world.port}" for address in RESOLVERS]
            zones_module.CACHE.clear()
            return one

        yield made


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
