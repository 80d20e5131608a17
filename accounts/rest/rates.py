"""How many requests a key, an organization and a stranger's address may make.

Counted by the generic cell rate algorithm (ITU-T I.371): all that is kept of each is the moment at which its bucket will be
full again. It stands in Valkey, so that all web processes count together, and in this process while Valkey does not answer.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

import redis
from django.conf import settings
from django.http import HttpRequest
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from accounts.credentials import Credential

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S = 0.1
PAUSE_S = 5.0  # so long Valkey is not asked again: each time-out would be somebody's wait
KEPT_MOST = 50_000
MICROSECONDS = 1_000_000

# From each bucket or from none. KEYS: names; ARGV: microseconds a request takes, and those that fit into the bucket, for each.
# Answers how long to wait (none: it was taken) and how full each bucket is, in microseconds.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at, wait = {}, 0
for i, name in ipairs(KEYS) do
  full_at[i] = math.max(tonumber(redis.call('GET', name) or 0), now)
  wait = math.max(wait, full_at[i] + ARGV[2 * i - 1] - now - ARGV[2 * i])
end
local answer = {wait}
for i, name in ipairs(KEYS) do
  if wait <= 0 then
    full_at[i] = full_at[i] + ARGV[2 * i - 1]
    redis.call('SET', name, string.format('%.0f', full_at[i]), 'PX', math.ceil((full_at[i] - now) / 1000))
  end
  answer[i + 1] = full_at[i] - now
end
return answer
"""
_TAKE_DIGEST = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` requests, and `burst` of them at once. `policy` is the name that clients see."""

    policy: str  # "key", "organization" or "address"
    name: str  # whose
    per_second: int
    burst: int

    @property
    def interval(self) -> int:
        return MICROSECONDS // self.per_second

    @property
    def room(self) -> int:
        return self.interval * self.burst


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
        wait, *levels = self._there(rates) or self._here(rates)
        return _standing(rates, wait, levels)

    def _there(self, rates: Sequence[Rate]) -> list[int] | None:
        """None while Valkey does not answer."""
        if time.monotonic() < self._pause_ends_at:
            return None
        numbers = [number for rate in rates for number in (rate.interval, rate.room)]
        arguments = (len(rates), *(f"api:rate:{rate.policy}:{rate.name}" for rate in rates), *numbers)
        try:
            answer: Any = self._run(arguments)
        except (RedisError, OSError) as error:
            self._pause_ends_at = time.monotonic() + PAUSE_S
            logger.warning("Valkey does not answer (%s): requests are counted in this process for %g s", error, PAUSE_S)
            return None
        return list(answer)

    def _run(self, arguments: tuple[Any, ...]) -> Any:
        try:
            return self._valkey.evalsha(_TAKE_DIGEST, *arguments)
        except NoScriptError:  # flushed, or another server
            return self._valkey.eval(_TAKE, *arguments)

    def _here(self, rates: Sequence[Rate]) -> list[int]:
        now = time.monotonic() * MICROSECONDS
        with self._lock:
            if len(self._full_at) > KEPT_MOST:
                self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            full_at = [max(self._full_at.get(f"{rate.policy}:{rate.name}", 0.0), now) for rate in rates]
            pairs = list(zip(rates, full_at, strict=True))
            wait = max(0.0, *(at + rate.interval - now - rate.room for rate, at in pairs))
            if wait <= 0:
                pairs = [(rate, at + rate.interval) for rate, at in pairs]
                self._full_at.update({f"{rate.policy}:{rate.name}": at for rate, at in pairs})
        return [math.ceil(wait), *(math.ceil(at - now) for _, at in pairs)]


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
    address = client_address(request)
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, IPv6Address):
        address = str(IPv6Address(int(parsed) >> 64 << 64))
    return _rates("address", address, settings.API_ADDRESS_RATE)


def _rates(policy: str, name: object, per_second: int) -> list[Rate]:
    """None where the rate is not limited."""
    if not per_second:
        return []
    return [Rate(policy, str(name), per_second, per_second * settings.API_BURST_SECONDS)]


def client_address(request: HttpRequest) -> str:
    """Who speaks to us; behind a proxy, who spoke to it."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    if settings.BEHIND_PROXY:
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        return forwarded or address
    return address


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
