"""Slows down and then stops whoever guesses passwords, by address and by user name.

Failures are counted in Valkey, so that all processes know them, and in this process, so that the door needs no Valkey.
Signing in with the right password costs no round trip: who is held back is learned from Valkey once a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

from accounts.catalogue import Refused

logger = logging.getLogger(__name__)

HELD_BACK = "smtp:login:held-back"  # a sorted set: who, by the second in which it ends
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
POLL_S = 1.0
ANSWER_WITHIN_S = 0.5
KNOWN_PLACES_S = 24 * 3600
REMEMBERED_MOST = 20_000


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """How many failures within `pause_s` make the door refuse for `pause_s`."""

    per_user: int = 10
    per_address: int = 20
    pause_s: int = 900

    @classmethod
    def from_settings(cls) -> GuardLimits:
        return cls(
            settings.SMTP_LOGIN_FAILURES_PER_USER,
            settings.SMTP_LOGIN_FAILURES_PER_ADDRESS,
            settings.SMTP_LOGIN_PAUSE_SECONDS,
        )


class LoginGuard:
    """For one event loop."""

    def __init__(self, redis_url: str, limits: GuardLimits) -> None:
        self._limits = limits
        self._valkey = redis.asyncio.Redis.from_url(
            redis_url, socket_timeout=ANSWER_WITHIN_S, socket_connect_timeout=ANSWER_WITHIN_S
        )
        self._failures: dict[str, list[float]] = {}
        self._held_back: dict[str, float] = {}
        self._good_places: dict[tuple[str, str], float] = {}
        self._valkey_answers = True
        self._poller: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._poller = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        if self._poller:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        await self._valkey.aclose()

    def check(self, address: str, user_name: str) -> None:
        """Raises `Refused` for those held back, before the password is looked at, so that nothing is to be learned."""
        now = time.time()
        if self._held_back.get(_address(address), 0) > now:
            raise Refused("login_paused")
        # A stranger's guesses must not shut out the owner: where the name signed in lately it may again.
        if self._held_back.get(_user(user_name), 0) > now and self._good_places.get((user_name, address), 0) < now:
            raise Refused("login_paused")

    def succeeded(self, address: str, user_name: str) -> None:
        _forget_some(self._good_places)
        self._good_places[user_name, address] = time.time() + KNOWN_PLACES_S

    async def failed(self, address: str, user_name: str) -> float:
        """Counts a failure. Returns for how many seconds the answer is to be held back."""
        names = {_address(address): self._limits.per_address, _user(user_name): self._limits.per_user}
        here = {name: self._count_here(name) for name in names}
        shared = await self._count_shared(list(names))
        counts = {name: max(count, shared.get(name, 0)) for name, count in here.items()}
        over = [name for name, count in counts.items() if count >= names[name]]
        if over:
            await self._hold_back(over)
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (max(counts.values()) - 1)))

    def _count_here(self, name: str) -> int:
        _forget_some(self._failures)
        now = time.time()
        recent = [at for at in self._failures.get(name, []) if at > now - self._limits.pause_s]
        self._failures[name] = [*recent, now][-100:]
        return len(self._failures[name])

    async def _count_shared(self, names: list[str]) -> dict[str, int]:
        """The counts in Valkey; none when it does not answer."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), self._valkey.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.incr(f"smtp:login:failed:{name}")
                    pipeline.expire(f"smtp:login:failed:{name}", self._limits.pause_s, nx=True)
                answers = await pipeline.execute()
        except (RedisError, OSError) as error:
            self._note(error)
            return {}
        return dict(zip(names, (int(count) for count in answers[::2]), strict=True))

    async def _hold_back(self, names: list[str]) -> None:
        until = time.time() + self._limits.pause_s
        logger.warning("Too many wrong passwords: %s held back for %d s", " and ".join(names), self._limits.pause_s)
        self._held_back.update(dict.fromkeys(names, until))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._valkey.zadd(HELD_BACK, dict.fromkeys(names, until))
        except (RedisError, OSError) as error:
            self._note(error)

    async def _poll(self) -> None:
        while True:
            now = time.time()
            shared: Any = []
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    shared = await self._valkey.zrange(
                        HELD_BACK, now, float("inf"), byscore=True, withscores=True, offset=0, num=REMEMBERED_MOST
                    )
                    await self._valkey.zremrangebyscore(HELD_BACK, 0, now)
                self._note(None)
            except (RedisError, OSError) as error:
                self._note(error)
            ours = {name: until for name, until in self._held_back.items() if until > now}
            self._held_back = ours | {name.decode(): until for name, until in shared}
            await asyncio.sleep(POLL_S)

    def _note(self, error: Exception | None) -> None:
        if error and self._valkey_answers:
            logger.warning("Valkey does not answer (%s): wrong passwords are counted in this process alone", error)
        self._valkey_answers = error is None


def _address(address: str) -> str:
    return f"address {address}"


def _user(user_name: str) -> str:
    """Not the name itself: people type passwords into the wrong field."""
    digest = hmac.digest(settings.API_KEY_PEPPER.encode(), user_name.encode(), hashlib.sha256)
    return f"user {digest.hex()[:16]}"


def _forget_some(remembered: dict[Any, Any]) -> None:
    """Keeps a dictionary from growing without end: the oldest half goes."""
    if len(remembered) >= REMEMBERED_MOST:
        for name in list(remembered)[: REMEMBERED_MOST // 2]:
            del remembered[name]
