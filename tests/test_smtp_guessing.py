"""Guessing passwords is slowed and then stopped, for the guesser alone, in all processes, with Valkey and without."""

import time
from collections.abc import Iterator

import pytest
import redis

from tests.platform import Platform, running_platform, wait_for
from tests.wire import encoded, wire

pytestmark = pytest.mark.xdist_group("smtp-limits")


@pytest.fixture(scope="module")
def wary() -> Iterator[Platform]:
    """A platform of two SMTP processes that loses patience soon."""
    settings = {"SMTP_LOGIN_FAILURES_PER_USER": "4", "SMTP_LOGIN_FAILURES_PER_ADDRESS": "3", "SMTP_PROCESSES": "2"}
    settings |= {"SMTP_LOGIN_PAUSE_SECONDS": "4", "SMTP_CONNECTIONS_PER_ADDRESS": "20"}
    with running_platform(**settings) as running:
        yield running


def attempt(platform: Platform, source: str, name: str = "", password: str = "ps_live_wrong") -> str:
    with wire(platform, source=source) as client:
        client.command("EHLO x")
        client.start_tls()
        client.command("EHLO x")
        return client.command(f"AUTH PLAIN {encoded(f'{chr(0)}{name}{chr(0)}{password}')}")


def test_guessing_from_one_address_is_slowed_and_then_stopped(wary: Platform) -> None:
    took = []
    for number in range(3):
        started = time.monotonic()
        assert attempt(wary, "127.0.3.1", f"guess{number}@demo.test").startswith("535 ")
        took.append(time.monotonic() - started)
    assert took[0] < took[1] < took[2]
    good = (wary.demo["SMTP_USER"], wary.demo["SMTP_PASSWORD"])
    # Each process knows within a second, and even the right password is not looked at.
    wait_for(
        lambda: all(attempt(wary, "127.0.3.1", *good).startswith("454 4.7.0 login_paused") for _ in range(6)),
        "both processes refuse",
    )
    assert attempt(wary, "127.0.3.2", *good).startswith("235 ")  # others are let in
    wait_for(lambda: attempt(wary, "127.0.3.1", *good).startswith("235 "), "it is forgotten in the end", 10)


def test_guessing_one_name_from_many_addresses_is_stopped_but_not_for_its_owner(wary: Platform) -> None:
    good = (wary.demo["SMTP_USER"], wary.demo["SMTP_PASSWORD"])
    for _ in range(8):  # both processes have seen the owner
        assert attempt(wary, "127.0.4.100", *good).startswith("235 ")
    for number in range(5):
        attempt(wary, f"127.0.4.{number + 1}", good[0])
    wait_for(lambda: attempt(wary, "127.0.4.50", *good).startswith("454 4.7.0 login_paused"), "strangers are refused")
    assert attempt(wary, "127.0.4.100", *good).startswith("235 ")


def test_the_door_stays_open_and_wary_without_valkey(wary: Platform) -> None:
    good = (wary.demo["SMTP_USER"], wary.demo["SMTP_PASSWORD"])
    wait_for(
        lambda: all(attempt(wary, f"127.0.5.{n}", *good).startswith("235 ") for n in range(101, 107)),
        "what came before is forgotten in both processes",
        10,
    )
    killed = wary.kill("valkey")
    assert attempt(wary, "127.0.5.100", *good).startswith("235 ")
    answers = [attempt(wary, "127.0.5.1", f"g{number}@demo.test")[:3] for number in range(8)]
    assert answers[0] == "535"
    assert "454" in answers  # each process counts for itself
    wary.wait_restarted("valkey", killed)
    wait_for(lambda: redis.Redis.from_url(wary.redis_url).ping(), "Valkey is back")
