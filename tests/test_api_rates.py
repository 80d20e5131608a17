"""Requests are counted by the generic cell rate algorithm: together in Valkey, alone while it is away."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from django.test import RequestFactory, override_settings

from accounts.credentials import Credential
from accounts.rest.rates import PAUSE_S, Limiter, LoopLimiter, Rate, Standing, rates_of, rates_of_address

T = TypeVar("T")


def rate(per_second: int = 1, burst: int = 3, policy: str = "key") -> Rate:
    return Rate(policy, str(uuid4()), per_second, burst)


@pytest.fixture(params=["there", "here"])
def limiter(request: pytest.FixtureRequest) -> Iterator[Limiter]:
    """Counting in Valkey, and in this process."""
    limiter = Limiter(settings.REDIS_URL)
    if request.param == "here":
        limiter._pause_ends_at = time.monotonic() + 3600
    yield limiter
    limiter._valkey.close()


def test_a_burst_passes_and_then_the_rate_rules(limiter: Limiter) -> None:
    mine = rate(per_second=1, burst=3)
    standings = [limiter.take(mine) for _ in range(4)]
    assert [standing.remaining for standing in standings] == [2, 1, 0, 0]
    assert [standing.is_refused for standing in standings] == [False, False, False, True]
    assert standings[-1].retry_after_s == 1
    assert [standing.reset_s for standing in standings] == [1, 2, 3, 3]
    assert not limiter.take(rate()).is_refused  # somebody else's


def test_what_costs_more_is_taken_whole_or_not_at_all(limiter: Limiter) -> None:
    one = rate(per_second=10, burst=10)
    four, many = replace(one, cost=4), replace(one, cost=25)
    assert [limiter.take(four).is_refused for _ in range(3)] == [False, False, True]
    assert not limiter.take(one).is_refused  # of the two that are left
    assert limiter.take(many).is_refused  # more than a burst: only when nothing was taken for as long as that takes
    fresh = replace(many, name=str(uuid4()))
    assert not limiter.take(fresh).is_refused
    assert limiter.take(replace(fresh, cost=1)).retry_after_s == 2  # 26 are 16 too many: 1.6 s


def test_what_was_waited_for_is_there(limiter: Limiter) -> None:
    mine = rate(per_second=20, burst=1)
    assert not limiter.take(mine).is_refused
    assert limiter.take(mine).is_refused
    deadline = time.monotonic() + 5
    while limiter.take(mine).is_refused:
        assert time.monotonic() < deadline


def test_a_request_that_one_rate_refuses_takes_nothing_from_the_other(limiter: Limiter) -> None:
    key, organization = rate(burst=1), rate(burst=10, policy="organization")
    assert limiter.take(key, organization).rate is key
    for _ in range(5):
        refused = limiter.take(key, organization)
        assert refused.is_refused
        assert refused.rate is key
    assert limiter.take(organization).remaining == 8


def test_many_at_once_get_no_more_than_there_is(limiter: Limiter) -> None:
    mine, passed = rate(per_second=1, burst=20), []

    def take() -> None:
        passed.extend(not limiter.take(mine).is_refused for _ in range(10))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 20 <= sum(passed) <= 22  # a second or two may have gone by


def test_processes_count_together_and_what_is_counted_goes_away_by_itself() -> None:
    mine = rate(per_second=1, burst=2)
    one, other = Limiter(settings.REDIS_URL), Limiter(settings.REDIS_URL)
    one.take(mine)
    assert other.take(mine).remaining == 0
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        assert 0 < valkey.pttl(f"api:rate:key:{mine.name}") <= 2000
        valkey.script_flush()  # and the script may be gone at any time
    assert one.take(mine).is_refused


def test_a_valkey_that_hangs_costs_one_short_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limiter = Limiter(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        mine = rate(burst=2)
        assert [limiter.take(mine).is_refused for _ in range(3)] == [False, False, True]
        silent.settimeout(0.2)
        silent.accept()
        with pytest.raises(TimeoutError):  # it was not asked a second time
            silent.accept()


def test_a_valkey_that_is_gone_is_asked_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    limiter, mine = Limiter(f"redis://127.0.0.1:{port}/0"), rate()
    assert not limiter.take(mine).is_refused
    assert limiter._pause_ends_at == pytest.approx(time.monotonic() + PAUSE_S, abs=1)
    limiter._valkey = redis.Redis.from_url(settings.REDIS_URL)
    limiter._pause_ends_at = 0
    assert limiter.take(mine).remaining == 2  # counted anew, there


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, {"key": (100, 500), "organization": (200, 1000)}),
        (500, {"key": (500, 2500), "organization": (500, 2500)}),
        (5, {"key": (100, 500), "organization": (5, 25)}),
    ],
)
def test_an_organization_may_have_a_rate_of_its_own(own: int | None, expected: dict[str, tuple[int, int]]) -> None:
    credential = Credential(uuid4(), False, uuid4(), None, frozenset(), "", api_rate_limit=own)
    assert {rate.policy: (rate.per_second, rate.burst) for rate in rates_of(credential)} == expected


@pytest.mark.parametrize(
    ("behind_proxy", "address", "forwarded", "name"),
    [
        (False, "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (True, "192.0.2.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # the last one is what the proxy itself saw
        (True, "192.0.2.1", "", "192.0.2.1"),
        (False, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::"),
        (False, "", "", ""),
    ],
)
def test_strangers_are_counted_by_address(behind_proxy: bool, address: str, forwarded: str, name: str) -> None:
    request = RequestFactory().get("/api/v1/", REMOTE_ADDR=address, headers={"X-Forwarded-For": forwarded})
    with override_settings(BEHIND_PROXY=behind_proxy, API_ADDRESS_RATE=10):
        assert [rate.name for rate in rates_of_address(request)] == [name]


# ---- On an event loop ------------------------------------------------------------------------------------------------


def on_loop(work: Callable[[LoopLimiter], Awaitable[T]], url: str = "") -> T:
    async def run() -> T:
        limiter = LoopLimiter(url or settings.REDIS_URL, Limiter(url or settings.REDIS_URL))
        try:
            return await work(limiter)
        finally:
            await limiter.close()

    return asyncio.run(run())


def test_on_a_loop_it_counts_as_elsewhere() -> None:
    mine, other = rate(per_second=1, burst=3), rate(per_second=1, burst=3)

    async def work(limiter: LoopLimiter) -> list[Standing]:
        one_after_the_other = [await limiter.take(mine) for _ in range(4)]
        together = await asyncio.gather(*(limiter.take(which) for which in (other, mine, other, other, other)))
        return [*one_after_the_other, *together]

    standings = on_loop(work)
    assert [standing.remaining for standing in standings] == [2, 1, 0, 0, 2, 0, 1, 0, 0]
    assert [standing.is_refused for standing in standings] == [*[False] * 3, True, False, True, False, False, True]
    assert [standing.reset_s for standing in standings[:4]] == [1, 2, 3, 3]


@pytest.mark.parametrize("together", [1, 7, 50])
def test_two_loops_let_no_more_pass_than_there_is(together: int) -> None:
    mine = rate(per_second=1, burst=100)

    async def work(one: LoopLimiter) -> list[Standing]:
        another = LoopLimiter(settings.REDIS_URL, Limiter(settings.REDIS_URL))
        found = []
        for _ in range(200 // together):
            limiters = [(one, another)[number % 2] for number in range(together)]
            found += await asyncio.gather(*(limiter.take(mine) for limiter in limiters))
        await another.close()
        return found

    assert 100 <= sum(not standing.is_refused for standing in on_loop(work)) <= 103  # seconds may have gone by


def test_a_hanging_valkey_is_waited_for_once_and_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.rest.rates.LOOP_ANSWER_WITHIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mine = rate(burst=2)

        async def work(limiter: LoopLimiter) -> list[bool]:
            together = await asyncio.gather(*(limiter.take(mine) for _ in range(3)))
            return [standing.is_refused for standing in (*together, await limiter.take(mine))]

        assert on_loop(work, f"redis://127.0.0.1:{silent.getsockname()[1]}/0") == [False, False, True, True]
        silent.settimeout(0.2)
        silent.accept()
        with pytest.raises(TimeoutError):
            silent.accept()

    async def again(limiter: LoopLimiter) -> int:
        limiter._limiter._pause_ends_at = time.monotonic() + 3600
        other = rate(burst=5)
        await limiter.take(other)
        limiter._limiter._pause_ends_at = 0
        return (await limiter.take(other)).remaining

    assert on_loop(again) == 4  # counted anew, there
