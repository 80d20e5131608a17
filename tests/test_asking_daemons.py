"""What real name servers and a real validating resolver say, and what is made of it: knot and unbound."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import pytest

from domains.dns import exchange as dns_exchange
from domains.dns import zones as zones_module
from domains.dns.asking import gather
from domains.dns.evidence import Elsewhere, Evidence, Failure, Heard, RecordEvidence
from tests.dns_world import Asked
from tests.free_port import free_port

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin"
KNOT, UNBOUND = shutil.which("knotd", path=SBIN), shutil.which("unbound", path=SBIN)
NAME_SERVER, RESOLVER = "127.0.53.21", "127.0.53.22"
TOKEN = "plugsend-verification=abc"

ZONES = {
    "test": """
ns.host A {address}
demo NS ns.host
signed NS ns.host
lame NS ns.host
""",
    "demo.test": """
_plugsend TXT "plugsend-verification=" "abc"
psrp TXT "bounces.plugsend.test"
_dmarc.demo.test TXT "v=DMARC1; p=none"
ps1._domainkey CNAME k.host.test.
sub NS ns.host.test.
""",
    "sub.demo.test": """
_plugsend TXT "below"
""",
    "host.test": """
ns A {address}
k TXT "v=DKIM1; p=abc"
""",
    "signed.test": """
_plugsend TXT "plugsend-verification=abc"
""",
}


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Their port. The resolver has a key for signed.test that never signed it."""
    if not KNOT or not UNBOUND:
        if os.environ.get("CI"):
            pytest.fail("CI needs knot and unbound")
        pytest.skip("knot and unbound are not installed")
    place = tmp_path_factory.mktemp("dns")
    port = free_port(NAME_SERVER, udp=True)
    with ExitStack() as stack:
        stack.enter_context(daemon([KNOT, "-c", str(knot_configuration(place, port))], place / "knot.log"))
        stack.enter_context(
            daemon([UNBOUND, "-d", "-c", str(unbound_configuration(place, port))], place / "unbound.log")
        )
        wait_for_answer(NAME_SERVER, port, place / "knot.log")
        wait_for_answer(RESOLVER, port, place / "unbound.log")
        yield port


def knot_configuration(place: Path, port: int) -> Path:
    (place / "db").mkdir()
    zones = ""
    for name, rows in ZONES.items():
        head = f"$ORIGIN {name}.\n$TTL 300\n@ SOA ns.host.test. x.host.test. 1 3600 600 86400 60\n@ NS ns.host.test.\n"
        (place / f"{name}.zone").write_text(head + rows.format(address=NAME_SERVER))
        zones += f"  - domain: {name}\n    file: {name}.zone\n    dnssec-signing: {'on' if name == 'signed.test' else 'off'}\n"
    (place / "knot.conf").write_text(f"""
server:
  rundir: {place}
  listen: {NAME_SERVER}@{port}
database:
  storage: {place}/db
template:
  - id: default
    storage: {place}
    zonefile-sync: -1
    journal-content: all
    zonefile-load: difference-no-serial
zone:
{zones}""")
    return place / "knot.conf"


def unbound_configuration(place: Path, port: int) -> Path:
    (place / "unbound.conf").write_text(f"""
server:
  directory: "{place}"
  chroot: ""
  username: ""
  pidfile: "{place}/unbound.pid"
  use-syslog: no
  interface: {RESOLVER}
  port: {port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  local-zone: "test." nodefault
  module-config: "validator iterator"
  ede: yes
  trust-anchor: "signed.test. DS 1 13 2 {"ab" * 32}"
remote-control:
  control-enable: no
stub-zone:
  name: "test"
  stub-addr: {NAME_SERVER}@{port}
""")
    # Delegations name no port: each zone is a stub of its own.
    with (place / "unbound.conf").open("a") as file:
        for name in ZONES:
            file.write(f'stub-zone:\n  name: "{name}"\n  stub-addr: {NAME_SERVER}@{port}\n' * (name != "test"))
    return place / "unbound.conf"


@contextmanager
def daemon(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def wait_for_answer(address: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            reply = dns.query.udp(dns.message.make_query("_plugsend.demo.test", "TXT"), address, 0.5, port)
            if reply.answer:
                return
        except (dns.exception.DNSException, OSError):
            pass
        time.sleep(0.05)
    pytest.fail(f"{address} gives no answer: {log.read_text()}")


@pytest.fixture
def ask(daemons: int, settings: Any) -> Any:
    settings.DNS_AUTHORITY_PORT, settings.DOMAIN_CHECK_RESOLVERS = daemons, [f"{RESOLVER}:{daemons}"]
    zones_module.CACHE.clear()

    def asked(domain: str, *records: Asked) -> Evidence:
        [evidence] = gather([(domain, records)])
        return evidence

    return asked


def test_records_are_read_from_a_real_name_server_and_a_real_resolver(ask: Any) -> None:
    evidence = ask(
        "demo.test",
        Asked("TXT", "_plugsend.demo.test", "ownership"),
        Asked("TXT", "ps1._domainkey.demo.test", "dkim"),
        Asked("CNAME", "psrp.demo.test", "return path"),
        Asked("TXT", "_dmarc.demo.test", "dmarc"),
    )
    assert (evidence.zone.apex, [one.name for one in evidence.zone.name_servers]) == ("demo.test", ["ns.host.test"])
    ownership, dkim = evidence.records["ownership"], evidence.records["dkim"]
    assert ownership.authority == (Heard("ns.host.test", (TOKEN,), ttl_s=300),)
    assert [(one.server, one.values) for one in ownership.resolvers] == [(RESOLVER, (TOKEN,))]
    for heard in (*dkim.authority, *dkim.resolvers):
        assert (heard.values, heard.alias) == (("v=DKIM1; p=abc",), "k.host.test")
    absent = (Heard("ns.host.test", ttl_s=60),)
    assert evidence.records["return path"] == RecordEvidence(absent, wrong_type=("bounces.plugsend.test",))
    assert evidence.records["dmarc"].authority == (Heard("ns.host.test", exists=False, ttl_s=60),)
    assert evidence.records["dmarc"].doubled == Elsewhere("_dmarc.demo.test.demo.test", ("v=DMARC1; p=none",))


def test_a_zone_below_is_found(ask: Any) -> None:
    evidence = ask("sub.demo.test", Asked("TXT", "_plugsend.sub.demo.test"))
    assert evidence.zone.apex == "sub.demo.test"
    assert evidence.records["it"].authority[0].values == ("below",)


def test_a_domain_that_does_not_exist(ask: Any) -> None:
    evidence = ask("gone.test", Asked("TXT", "_plugsend.gone.test"))
    assert (evidence.zone.exists, evidence.zone.apex) == (False, "")


def test_a_domain_whose_servers_do_not_know_it(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_exchange, "UDP_TRIES_S", (0.3, 0.3))  # unbound tries for longer than anyone waits
    evidence = ask("lame.test", Asked("TXT", "_plugsend.lame.test"))
    assert [(one.name, one.failure) for one in evidence.zone.name_servers] == [("ns.host.test", Failure.LAME)]


def test_signatures_that_do_not_fit_the_key_above(ask: Any) -> None:
    evidence = ask("signed.test", Asked("TXT", "_plugsend.signed.test"))
    assert evidence.zone.apex == "signed.test"
    assert evidence.zone.dnssec.startswith("DNSKEY MISSING")
    record = evidence.records["it"]
    assert record.authority == (Heard("ns.host.test", (TOKEN,), ttl_s=300),)
    assert record.resolvers == (Heard(RESOLVER, failure=Failure.BOGUS),)
