"""The sandbox's DNS server, asked by real packets."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import psycopg
import pytest

from domains.dns.resolver import resolver
from domains.models import DnsRecord, SendingDomain
from relay.sandbox.internet import ZoneRows
from relay.sandbox.models import ZoneRecord
from relay.sandbox.zone import publish, withdraw
from tests.free_port import free_port
from tests.sandbox_servers import HOST, dns_over, dns_over_database

LONG = "v=DKIM1; p=" + "k" * 600
ZONE = {
    "psrp.demo.test": (("CNAME", "returns.plugsend.test."),),
    "loop.test": (("CNAME", "loop.test."),),
    "_text.demo.test": (("TXT", 'quotes " and \\ and ümlaut'),),
    "ps1._domainkey.demo.test": (("TXT", LONG),),
    "_huge.demo.test": tuple(("TXT", f"{number:02}" + "x" * 240) for number in range(20)),
    "own-mx.test": (("MX", "5 mail.own-mx.test."),),
    "broken-row.test": (("MX", "no exchanger"),),
}


async def lookup(name: str) -> ZoneRows:
    if name == "database-away.test":
        raise psycopg.OperationalError("gone")
    return ZoneRows(ZONE.get(name, ()), any(other.endswith("." + name) for other in ZONE))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with dns_over(lookup) as server:
        yield server.port


def ask(port: int, name: str, type_: str, *, edns: bool = True, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, type_, use_edns=0 if edns else False, payload=1232)
    return (dns.query.tcp if tcp else dns.query.udp)(query, HOST, port=port, timeout=5)


def answers(response: dns.message.Message, type_: str) -> list[str]:
    return [
        rdata.to_text()
        for rrset in response.answer
        if rrset.rdtype == dns.rdatatype.from_text(type_)
        for rdata in rrset
    ]


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        ("gmail.com", "MX", ["10 mx.sandbox.test."]),
        ("EXAMPLE.Test", "MX", ["10 mx.sandbox.test."]),
        ("own-mx.test", "MX", ["5 mail.own-mx.test."]),
        ("nullmx.test", "MX", ["0 ."]),
        ("mx.sandbox.test", "A", ["127.0.0.1"]),
        ("any.host.example", "A", ["127.0.0.1"]),
        ("psrp.demo.test", "CNAME", ["returns.plugsend.test."]),
        ("psrp.demo.test", "MX", ["10 mx.sandbox.test."]),
        ("psrp.demo.test", "A", ["127.0.0.1"]),
        ("final-drop.harsh.test", "MX", ["10 mx.final-drop.harsh.test."]),
        ("mx.greeting-silent.harsh.test", "A", ["127.0.1.1"]),
        ("harsh.test", "MX", ["10 mx.sandbox.test."]),
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_names_have_their_records(port: int, name: str, type_: str, expected: list[str], tcp: bool) -> None:
    response = ask(port, name, type_, tcp=tcp)
    assert response.rcode() == dns.rcode.NOERROR
    assert response.flags & dns.flags.RA
    assert not response.flags & dns.flags.AA
    assert [answer.lower() for answer in answers(response, type_)] == expected  # names compress onto the question


def test_alias_is_followed_and_shown(port: int) -> None:
    assert answers(ask(port, "psrp.demo.test", "MX"), "CNAME") == ["returns.plugsend.test."]


@pytest.mark.parametrize(
    ("name", "type_", "rcode"),
    [
        ("nxdomain.test", "MX", dns.rcode.NXDOMAIN),
        ("mail.nxdomain.test", "A", dns.rcode.NXDOMAIN),
        ("anything.invalid", "MX", dns.rcode.NXDOMAIN),
        ("misspelt.harsh.test", "MX", dns.rcode.NXDOMAIN),
        ("_plugsend.unpublished.test", "TXT", dns.rcode.NXDOMAIN),
        ("ps9._domainkey.demo.test", "TXT", dns.rcode.NXDOMAIN),
        ("_domainkey.demo.test", "TXT", dns.rcode.NOERROR),  # RFC 8020: something is below it
        ("_text.demo.test", "A", dns.rcode.NOERROR),
        ("demo.test", "TXT", dns.rcode.NOERROR),
        ("psrp.unpublished.test", "CNAME", dns.rcode.NOERROR),
        ("mx.sandbox.test", "AAAA", dns.rcode.NOERROR),
        ("mx.final-drop.harsh.test", "AAAA", dns.rcode.NOERROR),
        ("test", "MX", dns.rcode.NOERROR),
        (".", "NS", dns.rcode.NOERROR),
        ("servfail.test", "MX", dns.rcode.SERVFAIL),
        ("loop.test", "A", dns.rcode.SERVFAIL),
        ("database-away.test", "MX", dns.rcode.SERVFAIL),
        ("broken-row.test", "MX", dns.rcode.SERVFAIL),
    ],
)
def test_what_is_not_there_is_said_as_dns_says_it(port: int, name: str, type_: str, rcode: dns.rcode.Rcode) -> None:
    response = ask(port, name, type_)
    assert response.rcode() == rcode
    if rcode != dns.rcode.SERVFAIL:
        assert not response.answer
        assert [rrset.rdtype for rrset in response.authority] == [dns.rdatatype.SOA]  # RFC 2308, 3


def test_long_text_is_split_into_strings_and_comes_back_whole(port: int) -> None:
    [rrset] = ask(port, "ps1._domainkey.demo.test", "TXT").answer
    assert [len(part) for part in rrset[0].strings] == [255, 255, len(LONG) - 510]
    assert b"".join(rrset[0].strings).decode() == LONG
    [rrset] = ask(port, "_text.demo.test", "TXT").answer
    assert rrset[0].strings[0].decode() == 'quotes " and \\ and ümlaut'


@pytest.mark.parametrize(("edns", "limit"), [(False, 512), (True, 1232)])
def test_answer_too_large_for_udp_is_cut_and_whole_over_tcp(port: int, edns: bool, limit: int) -> None:
    cut = ask(port, "_huge.demo.test", "TXT", edns=edns)
    assert cut.flags & dns.flags.TC
    assert len(cut.to_wire()) <= limit
    whole = ask(port, "_huge.demo.test", "TXT", edns=edns, tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(answers(whole, "TXT")) == 20


def exchange(port: int, packet: bytes, timeout_s: float) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_s)
        client.sendto(packet, (HOST, port))
        try:
            return client.recv(4096)
        except TimeoutError:
            return None


def test_malformed_packets_are_ignored_or_refused_and_harm_nobody(port: int) -> None:
    query = dns.message.make_query("demo.test", "MX").to_wire()
    assert exchange(port, b"short", 0.1) is None
    assert exchange(port, query[:2] + bytes([query[2] | 0x80]) + query[3:], 0.1) is None  # a response
    garbled = exchange(port, query[:12] + b"\x3fgarbage", 2)
    assert garbled is not None
    assert garbled[:2] == query[:2]
    assert garbled[3] & 0x0F == dns.rcode.FORMERR
    notify = exchange(port, query[:2] + bytes([0x20]) + query[3:], 2)
    assert notify is not None
    assert notify[3] & 0x0F in (dns.rcode.NOTIMP, dns.rcode.FORMERR)
    assert answers(ask(port, "demo.test", "MX"), "MX") == ["10 mx.sandbox.test."]


def test_several_questions_go_over_one_tcp_connection(port: int) -> None:
    with socket.create_connection((HOST, port), timeout=5) as connection:
        for name in ("a.test", "b.test"):
            query = dns.message.make_query(name, "MX")
            dns.query.send_tcp(connection, query)
            response, _ = dns.query.receive_tcp(connection)
            assert response.id == query.id


# ---- Over the database -----------------------------------------------------------------------------------------------


def backends() -> list[int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query LIKE '%%sandbox_zonerecord%%'"
        )
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.django_db(transaction=True)
def test_published_records_are_answered_until_they_are_withdrawn(settings: object) -> None:
    from accounts.models import Organization

    domain = SendingDomain.objects.create(
        organization=Organization.objects.create(name="A"), name="demo.test", ownership_token="t"
    )
    for position, (type_, name, value) in enumerate(
        [
            ("TXT", "_plugsend.demo.test", "plugsend-verification=t"),
            ("CNAME", "psrp.demo.test", "returns.plugsend.test"),
        ]
    ):
        DnsRecord.objects.create(domain=domain, position=position, type=type_, name=name, value=value)
    ZoneRecord.objects.create(name="_plugsend.demo.test", type="TXT", value="an earlier value")
    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]  # type: ignore[attr-defined]
        assert publish(domain) == 2
        assert publish(domain) == 2
        assert [str(rdata) for rdata in resolver().resolve("_plugsend.demo.test", "TXT")] == [
            '"plugsend-verification=t"'
        ]
        assert str(resolver().resolve("psrp.demo.test", "CNAME")[0]) == "returns.plugsend.test."
        withdraw(domain)
        assert ask(server.port, "_plugsend.demo.test", "TXT").rcode() == dns.rcode.NXDOMAIN
        assert not answers(ask(server.port, "psrp.demo.test", "CNAME"), "CNAME")


@pytest.mark.django_db(transaction=True)
def test_server_survives_a_broken_database_connection() -> None:
    from django.db import connection

    ZoneRecord.objects.create(name="_x.demo.test", type="TXT", value="here")
    with dns_over_database() as server:
        assert answers(ask(server.port, "_x.demo.test", "TXT"), "TXT") == ['"here"']
        [pid] = backends()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert answers(ask(server.port, "_x.demo.test", "TXT"), "TXT") == ['"here"']


# ---- The command -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_command_says_when_it_is_ready_and_stops_at_sigterm(tmp_path: Path) -> None:
    from relay.database import database_url

    ports = SimpleNamespace(dns=free_port(udp=True), mx=free_port())
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "SANDBOX_DNS_PORT": str(ports.dns),
        "SANDBOX_MX_PORT": str(ports.mx),
        "PLUGSEND_VAR": str(tmp_path),
        "PLUGSEND_MODE": "sandbox",
    }
    command = [sys.executable, "manage.py", "sandbox"]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert f"DNS server ready on 127.0.0.1:{ports.dns}" in lines[0]
        assert f"mail exchanger ready on 127.0.0.1:{ports.mx}" in lines[1]
        with socket.create_connection((HOST, ports.mx), timeout=5) as client:
            assert client.recv(100).startswith(b"220 mx.sandbox.test")
            assert answers(ask(ports.dns, "gmail.com", "MX"), "MX") == ["10 mx.sandbox.test."]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=15) == 0
        assert process.stderr.read() == ""


def test_command_refuses_in_live_mode(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "sandbox"],
        env=os.environ | {"PLUGSEND_MODE": "live", "PLUGSEND_HOSTNAME": "m.example.com", "PLUGSEND_VAR": str(tmp_path)},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert "not sandbox" in done.stderr
