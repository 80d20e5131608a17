"""MTA-STS (RFC 8461): what is read, what is fetched and how, and what is remembered when DNS or the host fail."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from psycopg import AsyncConnection
from pytest_django.fixtures import Settings

from relay.database import database_url
from relay.delivery.https import FetchFailed, Https
from relay.delivery.mta_sts import Mode, PolicyInvalid, StsPolicy, matches, read_policy, read_record
from relay.delivery.mta_sts_policies import StsPolicies
from relay.models import MtaStsPolicy
from tests.dns_zone import SERVFAIL, Zone
from tests.https_host import HttpsHost, answer
from tests.pki import authority, leaf

ROOT = authority()
DOMAIN, HOST = "peer.test", "mta-sts.peer.test"
GOOD = leaf(ROOT, HOST)
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx.peer.test\r\nmx: *.wild.test\r\nmax_age: 604800\r\n"
PATH = "/.well-known/mta-sts.txt"


# ---- Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "policy_id"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=spf1 -all", "v=STSv1;id=1"], "1"),
        (["v=STSv1 ; id=a ; later=x;"], "a"),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=not-this;"], None),
        (["v=STSv1; id=" + "a" * 33], None),
        (["v=STSv2; id=1;"], None),
        (["id=1; v=STSv1;"], None),
        ([], None),
    ],
)
def test_the_record_announces_a_policy(texts: list[str], policy_id: str | None) -> None:
    assert read_record(texts) == policy_id


def test_a_policy_is_read() -> None:
    policy = read_policy(POLICY)
    assert (policy.mode, policy.mx, policy.max_age) == (
        Mode.ENFORCE,
        ("mx.peer.test", "*.wild.test"),
        timedelta(seconds=604800),
    )


@pytest.mark.parametrize(
    "text",
    [
        "mode: none\nversion: STSv1\nmax_age: 1",
        "version:STSv1\nmode:none\nmax_age:1\nmax_age: 77\nmode: enforce\nnew-thing: x\n\n",
    ],
)
def test_line_ends_order_repetition_and_the_unknown_do_no_harm(text: str) -> None:
    policy = read_policy(text)
    assert (policy.mode, policy.max_age) == (Mode.NONE, timedelta(seconds=1))


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (POLICY.replace("STSv1", "STSv2"), "version"),
        (POLICY.replace("version", "verison"), "version"),
        (POLICY.replace("enforce", "strict"), "mode"),
        (POLICY.replace("604800", "-1"), "max_age"),
        (POLICY.replace("604800", "a week"), "max_age"),
        (POLICY.replace("*.wild", "mx.*"), "mx"),
        (POLICY.replace("mx:", "ma:"), "no mx"),
        (POLICY + "<html>", "colon"),
        ("", "version"),
    ],
)
def test_a_spoilt_policy_is_none_and_says_why(spoilt: str, why: str) -> None:
    with pytest.raises(PolicyInvalid, match=why):
        read_policy(spoilt)


@given(st.text(max_size=300), st.sampled_from([":", "version: STSv1", "mode: enforce", "mx: a.test", "max_age: 5"]))
def test_any_text_is_a_policy_or_refused(text: str, line: str) -> None:
    with contextlib.suppress(PolicyInvalid):
        policy = read_policy(f"{line}\n{text}\nversion: STSv1\nmode: testing\nmx: b.test\nmax_age: 99999999\n")
        assert policy.mx
        assert timedelta() <= policy.max_age <= timedelta(days=366)


_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.lists(_LABEL, min_size=1, max_size=4), st.lists(_LABEL, min_size=2, max_size=3))
def test_a_star_stands_for_exactly_one_label(above: list[str], domain: list[str]) -> None:
    host = ".".join([*above, *domain])
    assert matches("*." + ".".join(domain), host) is (len(above) == 1)
    assert matches(host, host.upper() + ".")


# ---- Fetching --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run_on_loop(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(work)

    return run_on_loop


def zone_of(policy_id: str = "1", address: str = "127.0.0.1") -> Zone:
    return Zone({f"_mta-sts.{DOMAIN} TXT": [f'"v=STSv1; id={policy_id};"'], f"{HOST} A": [address]})


def https_over(zone: Zone, host: HttpsHost, tmp_path: Path, timeout_s: float = 5.0) -> Https:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(ROOT.pem)
    return Https(zone.resolver(), ssl.create_default_context(cafile=roots), port=host.port, timeout_s=timeout_s)


async def fetched(zone: Zone, host: HttpsHost, tmp_path: Path, timeout_s: float = 5.0) -> str:
    async with zone, host:
        return await https_over(zone, host, tmp_path, timeout_s).text(HOST, PATH)


@pytest.mark.parametrize(
    "sends",
    [
        answer(POLICY),
        answer(POLICY, content_type="Text/Plain; charset=utf-8"),
        b"HTTP/1.0 200\r\ncontent-type: text/plain\r\n\r\n" + POLICY.encode(),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"10;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (POLICY[:16].encode(), len(POLICY) - 16, POLICY[16:].encode()),
    ],
)
def test_a_policy_file_is_fetched(run: Callable[..., Any], tmp_path: Path, sends: bytes) -> None:
    host = HttpsHost(GOOD.server_context(tmp_path), sends)
    assert run(fetched(zone_of(), host, tmp_path)) == POLICY
    assert host.requests[0].startswith(f"GET {PATH} HTTP/1.1\r\nHost: {HOST}:{host.port}\r\n")


@pytest.mark.parametrize(
    ("sends", "why"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.test/\r\n\r\n", "301"),
        (answer(POLICY, status="404 Not Found"), "404"),
        (answer(POLICY, content_type="text/html"), "text/html"),
        (answer("x" * 70_000), "larger than"),
        (b"HTTP/1.0 200\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 70_000, "larger than"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "larger than"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "negative"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 900\r\n\r\nshort", "900"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000, "limit"),
        (b"SSH-2.0-hello\r\n\r\n", "SSH"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n\xff", "decode"),
        (b"", HOST),
    ],
)
def test_what_is_no_policy_file_is_refused(run: Callable[..., Any], tmp_path: Path, sends: bytes, why: str) -> None:
    host = HttpsHost(GOOD.server_context(tmp_path), sends)
    with pytest.raises(FetchFailed, match=why):
        run(fetched(zone_of(), host, tmp_path))
    assert len(host.requests) == 1


@pytest.mark.parametrize("signed", [leaf(None, HOST), leaf(ROOT, "peer.test"), leaf(ROOT, HOST, starts=-9, ends=-1)])
def test_a_host_that_is_not_verified_is_not_asked(run: Callable[..., Any], tmp_path: Path, signed: Any) -> None:
    host = HttpsHost(signed.server_context(tmp_path), answer(POLICY))
    with pytest.raises(FetchFailed, match=r"(?i)certificate"):
        run(fetched(zone_of(), host, tmp_path))
    assert host.requests == []


def test_a_policy_host_at_a_private_address_is_not_connected_to(
    run: Callable[..., Any], tmp_path: Path, settings: Settings
) -> None:
    settings.SANDBOX = False
    host = HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))
    with pytest.raises(FetchFailed, match="not a public address"):
        run(fetched(zone_of(), host, tmp_path))
    with pytest.raises(FetchFailed, match="no address"):
        run(fetched(Zone(), host, tmp_path))


def test_a_host_that_falls_silent_costs_a_bounded_time(run: Callable[..., Any], tmp_path: Path) -> None:
    host = HttpsHost(GOOD.server_context(tmp_path), is_silent=True)
    with pytest.raises(FetchFailed, match="more than"):
        run(fetched(zone_of(), host, tmp_path, timeout_s=0.3))


# ---- Remembering -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connect() -> AsyncIterator[AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as connection:
        yield connection


@contextlib.asynccontextmanager
async def known(
    zone: Zone, host: HttpsHost, tmp_path: Path, *, again_s: float = 300, wait_s: float = 5, keeps: bool = False
) -> AsyncIterator[Callable[[], StsPolicies]]:
    """Policies over a zone and a host, as often as a process starts."""
    async with zone, host:
        yield lambda: StsPolicies(
            zone.resolver(),
            connect if keeps else None,
            https=https_over(zone, host, tmp_path),
            wait_s=wait_s,
            asked_again_after_s=again_s,
        )


async def policy_of(policies: StsPolicies) -> StsPolicy:
    found = await policies.policy_for(DOMAIN)
    assert found is not None
    return found


def test_a_policy_is_fetched_once_for_all_that_ask(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of(), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))

    async def main() -> None:
        async with known(zone, host, tmp_path) as start:
            policies = start()
            found = await asyncio.gather(*(policies.policy_for(DOMAIN) for _ in range(20)))
            assert {one.mode for one in found if one} == {Mode.ENFORCE}
            assert None not in found
            assert found[0] is not None
            assert found[0].covers("a.wild.test")
            assert not found[0].covers("peer.test")

    run(main())
    assert len(host.requests) == 1
    assert zone.asked.count(f"_mta-sts.{DOMAIN} TXT") == 1


def test_that_there_is_none_is_remembered(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = Zone({f"{HOST} A": ["127.0.0.1"]}, ttl_s=0), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))

    async def main() -> None:
        async with known(zone, host, tmp_path) as start:
            policies = start()
            for _ in range(5):
                assert await policies.policy_for(DOMAIN) is None

    run(main())
    assert host.requests == []
    assert zone.asked == [f"_mta-sts.{DOMAIN} TXT"]


def test_a_new_id_brings_the_new_policy(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of("1"), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))
    zone.ttl_s = 0

    async def main() -> None:
        async with known(zone, host, tmp_path, again_s=0) as start:
            policies = start()
            for _ in range(3):
                assert (await policy_of(policies)).mode == Mode.ENFORCE
            assert len(host.requests) == 1  # the id is the same
            host.sends = answer(POLICY.replace("enforce", "testing"))
            zone.rows[f"_mta-sts.{DOMAIN} TXT"] = ['"v=STSv1; id=2;"']
            assert (await policy_of(policies)).mode == Mode.TESTING

    run(main())
    assert len(host.requests) == 2


@pytest.mark.parametrize("record", [[], SERVFAIL, ['"v=STSv1; id=2;"']])
def test_what_fails_later_does_not_end_a_policy(
    run: Callable[..., Any], tmp_path: Path, record: list[str] | str
) -> None:
    """RFC 8461, 5.1: else whoever can suppress an answer switches it off."""
    zone, host = zone_of("1"), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))
    zone.ttl_s = 0

    async def main() -> None:
        async with known(zone, host, tmp_path, again_s=0) as start:
            policies = start()
            assert await policies.policy_for(DOMAIN)
            zone.rows[f"_mta-sts.{DOMAIN} TXT"] = record
            host.sends = answer("gone", status="404 Not Found")
            assert (await policy_of(policies)).policy_id == "1"

    run(main())


def test_mail_does_not_wait_for_a_slow_host(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of(), HttpsHost(GOOD.server_context(tmp_path), is_silent=True)

    async def main() -> None:
        async with known(zone, host, tmp_path, wait_s=0.2) as start, asyncio.timeout(3):
            policies = start()
            assert await policies.policy_for(DOMAIN) is None
            await policies.close()

    run(main())


def test_a_policy_whose_age_is_over_is_none(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of(), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY.replace("604800", "1")))

    async def main() -> None:
        async with known(zone, host, tmp_path) as start:
            policies = start()
            assert await policies.policy_for(DOMAIN)
            async with asyncio.timeout(5):
                while await policies.policy_for(DOMAIN):
                    await asyncio.sleep(0.05)

    run(main())


@pytest.mark.django_db(transaction=True)
def test_policies_survive_a_restart_without_dns_or_host(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of(), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))

    async def main() -> None:
        async with known(zone, host, tmp_path, keeps=True) as start:
            first = await start().policy_for(DOMAIN)
            assert first is not None
            zone.rows.clear()
            zone.resolver().cache.flush()
            host.sends = b""
            assert await start().policy_for(DOMAIN) == first

    run(main())
    row = MtaStsPolicy.objects.get()
    assert (row.domain, row.policy_id, row.mode, row.mx) == (DOMAIN, "1", "enforce", ["mx.peer.test", "*.wild.test"])
    assert row.expires_at - row.fetched_at == timedelta(days=7)


@pytest.mark.django_db(transaction=True)
def test_a_later_policy_replaces_the_row(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of(), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))
    zone.ttl_s = 0

    async def main() -> None:
        async with known(zone, host, tmp_path, keeps=True) as start:
            assert await start().policy_for(DOMAIN)
            zone.rows[f"_mta-sts.{DOMAIN} TXT"] = ['"v=STSv1; id=2;"']
            host.sends = answer("version: STSv1\nmode: none\nmax_age: 86400\n")
            assert (await policy_of(start())).mode == Mode.NONE

    run(main())
    assert [(row.policy_id, row.mode) for row in MtaStsPolicy.objects.all()] == [("2", "none")]


def test_a_database_that_is_away_costs_no_policy(run: Callable[..., Any], tmp_path: Path) -> None:
    zone, host = zone_of(), HttpsHost(GOOD.server_context(tmp_path), answer(POLICY))

    @contextlib.asynccontextmanager
    async def nowhere() -> AsyncIterator[AsyncConnection[Any]]:
        async with await psycopg.AsyncConnection.connect("postgresql://127.0.0.1:9/x") as connection:
            yield connection

    async def main() -> None:
        async with zone, host:
            policies = StsPolicies(zone.resolver(), nowhere, https=https_over(zone, host, tmp_path))
            assert await policies.policy_for(DOMAIN)

    run(main())
