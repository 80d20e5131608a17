"""How many requests a key, an organization and a stranger's address may make.

Counted by the generic cell rate algorithm (ITU-T I.371): all that is kept of each is the moment at which its bucket will be
full again. It stands in Valkey, so that all web processes count together, and in this process while Valkey does not answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from django.http import HttpRequest
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from accounts.client import client_address
from accounts.credentials import Credential

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S = 0.1
LOOP_ANSWER_WITHIN_S = 0.25  # nothing stands still meanwhile, and on a loop others may come first
PAUSE_S = 5.0  # so long Valkey is not asked again: each time-out would be somebody's wait
KEPT_MOST = 50_000
MICROSECONDS = 1_000_000

# Takes up to so many requests from all buckets together. KEYS: their names; ARGV: how many requests are wanted, then, for each
# bucket, the microseconds that one takes and those that fit into it. Answers how many were taken, how long the next one has to
# wait, and how full each bucket is now, in microseconds.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at, taken = {}, tonumber(ARGV[1])
for i, name in ipairs(KEYS) do
  full_at[i] = math.max(tonumber(redis.call('GET', name) or 0), now)
  taken = math.min(taken, math.floor((ARGV[2 * i + 1] - (full_at[i] - now)) / ARGV[2 * i]))
end
taken = math.max(taken, 0)
local wait, levels = 0, {}
for i, name in ipairs(KEYS) do
  if taken > 0 then
    full_at[i] = full_at[i] + taken * ARGV[2 * i]
    redis.call('SET', name, string.format('%.0f', full_at[i]), 'PX', math.ceil((full_at[i] - now) / 1000))
  end
  levels[i] = full_at[i] - now
  wait = math.max(wait, levels[i] + ARGV[2 * i] - ARGV[2 * i + 1])
end
return {taken, wait, unpack(levels)}
"""
_TAKE_DIGEST = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` requests, and `burst` of them at once. `policy` is the name that clients see.

    `cost`: what is taken at once, all or nothing; more than `burst` only after a pause as long as that takes to be full.
    """

    policy: str  # "key", "organization", "address" or "messages"
    name: str  # whose
    per_second: int
    burst: int
    cost: int = 1

    @property
    def interval(self) -> int:
        return self._each * self.cost

    @property
    def room(self) -> int:
        return self._each * max(self.burst, self.cost)

    @property
    def _each(self) -> int:
        return max(1, MICROSECONDS // self.per_second)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of the rate that is nearest to its end."""

    rate: Rate
    remaining: int  # requests
    reset_s: int  # until all of the burst is there again
    retry_after_s: int = 0  # more than 0: this request is refused

    @property
    def is_refused(self) -> bool:
        return self.retry_after_s > 0

    def headers(self) -> dict[str, str]:
        """As Resend sends them, and as draft-ietf-httpapi-ratelimit-headers has them."""
        rate = self.rate
        headers = {
            "RateLimit-Limit": str(rate.burst),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
            "RateLimit-Policy": f'"{rate.policy}";q={rate.burst};w={math.ceil(rate.burst / rate.per_second)}',
            "RateLimit": f'"{rate.policy}";r={self.remaining};t={self.reset_s}',
        }
        if self.is_refused:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class Limiter:
    """For all threads of a process."""

    def __init__(self, redis_url: str) -> None:
        self._valkey = redis.Redis.from_url(
            redis_url,
            socket_timeout=ANSWER_WITHIN_S,
            socket_connect_timeout=ANSWER_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._pause_ends_at = 0.0
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}

    def take(self, *rates: Rate) -> Standing:
        """One request from each rate, or from none when one of them is used up."""
        if self.is_pausing:
            return self.take_here(rates)[0]
        try:
            return _standings(rates, 1, self._run(_arguments(rates, 1)))[0]
        except (RedisError, OSError) as error:
            self.pause(error)
            return self.take_here(rates)[0]

    @property
    def is_pausing(self) -> bool:
        return time.monotonic() < self._pause_ends_at

    def pause(self, error: Exception) -> None:
        self._pause_ends_at = time.monotonic() + PAUSE_S
        logger.warning("Valkey does not answer (%s): requests are counted in this process for %g s", error, PAUSE_S)

    def take_here(self, rates: Sequence[Rate], wanted: int = 1) -> list[Standing]:
        """As the script does, in this process's memory."""
        now = time.monotonic() * MICROSECONDS
        with self._lock:
            if len(self._full_at) > KEPT_MOST:
                self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            levels = [max(self._full_at.get(f"{rate.policy}:{rate.name}", 0.0) - now, 0.0) for rate in rates]
            fitting = [int((rate.room - level) // rate.interval) for rate, level in zip(rates, levels, strict=True)]
            taken = max(0, min(wanted, *fitting))
            levels = [level + taken * rate.interval for rate, level in zip(rates, levels, strict=True)]
            if taken:
                self._full_at.update(
                    {f"{rate.policy}:{rate.name}": now + level for rate, level in zip(rates, levels, strict=True)}
                )
        wait = max(level + rate.interval - rate.room for rate, level in zip(rates, levels, strict=True))
        return _standings(rates, wanted, [taken, math.ceil(wait), *map(math.ceil, levels)])

    def _run(self, arguments: tuple[Any, ...]) -> Any:
        try:
            return self._valkey.evalsha(_TAKE_DIGEST, *arguments)
        except NoScriptError:  # flushed, or another server
            return self._valkey.eval(_TAKE, *arguments)


class LoopLimiter:
    """The same for what runs on one event loop. Requests that come while Valkey is being asked are asked for together next."""

    def __init__(self, redis_url: str, limiter: Limiter) -> None:
        """`limiter` is the threads'; with it the pauses and what is counted meanwhile are shared."""
        self._valkey = redis.asyncio.Redis.from_url(
            redis_url,
            single_connection_client=True,
            socket_timeout=LOOP_ANSWER_WITHIN_S,
            socket_connect_timeout=LOOP_ANSWER_WITHIN_S,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        self._limiter = limiter
        self._waiting: dict[tuple[Rate, ...], list[asyncio.Future[Standing]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def take(self, *rates: Rate) -> Standing:
        """As `Limiter.take`."""
        if self._limiter.is_pausing:
            return self._limiter.take_here(rates)[0]
        answer: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(rates, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def close(self) -> None:
        if self._asking is not None:
            await self._asking
        await self._valkey.aclose()

    async def _ask(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                answers = await self._run([_arguments(rates, len(asked)) for rates, asked in waiting.items()])
            except Exception as error:  # whatever it is, the others who wait here must not wait forever
                self._limiter.pause(error)
                answers = []
            for number, (rates, asked) in enumerate(waiting.items()):
                if answers:
                    standings = _standings(rates, len(asked), answers[number])
                else:
                    standings = self._limiter.take_here(rates, len(asked))
                for answer, standing in zip(asked, standings, strict=True):
                    if not answer.done():  # its client has gone
                        answer.set_result(standing)
        self._asking = None

    async def _run(self, all_arguments: list[tuple[Any, ...]]) -> list[Any]:
        if len(all_arguments) == 1:
            return [await self._run_one(*all_arguments)]
        pipeline = self._valkey.pipeline(transaction=False)
        for arguments in all_arguments:
            pipeline.evalsha(_TAKE_DIGEST, *arguments)
        answers = await pipeline.execute(raise_on_error=False)
        for number, answer in enumerate(answers):
            if isinstance(answer, Exception):
                answers[number] = await self._run_one(all_arguments[number])
        return list(answers)

    async def _run_one(self, arguments: tuple[Any, ...]) -> Any:
        try:
            return await self._valkey.evalsha(_TAKE_DIGEST, *arguments)
        except NoScriptError:
            return await self._valkey.eval(_TAKE, *arguments)


def _arguments(rates: Sequence[Rate], wanted: int) -> tuple[Any, ...]:
    """Of the script: how many keys, the keys, the other arguments."""
    numbers = [number for rate in rates for number in (rate.interval, rate.room)]
    return len(rates), *[f"api:rate:{rate.policy}:{rate.name}" for rate in rates], wanted, *numbers


def _standings(rates: Sequence[Rate], wanted: int, answer: Sequence[int]) -> list[Standing]:
    """Of each request that was wanted, as if they had come one after the other."""
    taken, wait, *levels = answer
    standings = []
    for later in range(taken - 1, -1, -1):
        before = [level - later * rate.interval for rate, level in zip(rates, levels, strict=True)]
        standings.append(_standing(rates, 0, before))
    if taken < wanted:
        standings += [_standing(rates, wait, levels)] * (wanted - taken)
    return standings


def _standing(rates: Sequence[Rate], wait: int, levels: Sequence[int]) -> Standing:
    found = []
    for rate, level in zip(rates, levels, strict=True):
        remaining = max(0, (rate.room - level) // rate.interval)
        found.append((remaining, -level, rate))
    remaining, level, rate = min(found, key=lambda entry: entry[:2])
    return Standing(rate, remaining, math.ceil(-level / MICROSECONDS), math.ceil(wait / MICROSECONDS))


def rates_of(credential: Credential) -> list[Rate]:
    """An organization's own rate holds for each of its keys, too, where it is the higher one."""
    own = credential.api_rate_limit
    organization = settings.API_ORGANIZATION_RATE if own is None else own
    key = max(settings.API_KEY_RATE, own or 0) if settings.API_KEY_RATE else 0
    return _rates("key", credential.api_key_id, key) + _rates("organization", credential.organization_id, organization)


def rates_of_address(request: HttpRequest) -> list[Rate]:
    """For those who show no key. Whoever has an IPv6 network has all addresses of its /64."""
    address = client_address(request.META)
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, IPv6Address):
        address = str(IPv6Address(int(parsed) >> 64 << 64))
    return _rates("address", address, settings.API_ADDRESS_RATE)


def _rates(policy: str, name: object, per_second: int) -> list[Rate]:
    """None where the rate is not limited."""
    return [_rate(policy, name, per_second, per_second * settings.API_BURST_SECONDS)] if per_second else []


@lru_cache(maxsize=10_000)
def _rate(policy: str, name: object, per_second: int, burst: int) -> Rate:
    return Rate(policy, str(name), per_second, burst)


_lock = threading.Lock()
_shared: tuple[str, Limiter] | None = None


def shared_limiter() -> Limiter:
    """This process's limiter. redis-py opens connections of its own in a forked child."""
    global _shared
    url = settings.REDIS_URL
    with _lock:
        if _shared is None or _shared[0] != url:
            _shared = (url, Limiter(url))
        return _shared[1]
