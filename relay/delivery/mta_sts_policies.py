"""The MTA-STS policies that we know (RFC 8461, 3.3 and 5.1): fetched, kept in memory and in PostgreSQL, renewed in time."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver
import psycopg
from django.conf import settings
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from relay.delivery.https import FetchFailed, Https
from relay.delivery.mta_sts import Mode, PolicyInvalid, StsPolicy, read_policy, read_record

logger = logging.getLogger(__name__)

WAIT_S = 10.0  # what mail waits for a policy; the fetch itself may go on behind it
ASKED_AGAIN_AFTER_S = 300.0  # whether there is one, or another one; also after a failure
LOADED_AGAIN_AFTER_S = 600.0  # what other processes have fetched
MOST_KNOWN = 50_000

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]

_LOAD = "SELECT domain, policy_id, mode, mx, fetched_at, expires_at FROM relay_mtastspolicy WHERE expires_at > now()"
_SAVE = """
    INSERT INTO relay_mtastspolicy (domain, policy_id, mode, mx, fetched_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (domain) DO UPDATE SET policy_id = excluded.policy_id, mode = excluded.mode, mx = excluded.mx,
        fetched_at = excluded.fetched_at, expires_at = excluded.expires_at
    WHERE relay_mtastspolicy.fetched_at < excluded.fetched_at
"""


@dataclass(slots=True)
class _Known:
    policy: StsPolicy | None = None
    asked_at: float | None = None


class StsPolicies:
    """For one event loop. `connect`: such as a pool's `connection`; without it nothing survives the process."""

    def __init__(
        self,
        resolver: dns.asyncresolver.Resolver,
        connect: Connect | None = None,
        *,
        https: Https | None = None,
        wait_s: float = WAIT_S,
        asked_again_after_s: float = ASKED_AGAIN_AFTER_S,
    ) -> None:
        self._resolver, self._connect = resolver, connect
        self._https = https
        self._wait_s, self._asked_again_after_s = wait_s, asked_again_after_s
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._loading = asyncio.Lock()
        self._loaded_at: float | None = None

    async def policy_for(self, domain: str) -> StsPolicy | None:
        """The valid policy of a destination. Waits a bounded time; never raises for what others did wrong."""
        known = self._known.get(domain)
        if known is None or known.asked_at is None or time.monotonic() - known.asked_at > self._asked_again_after_s:
            task = self._asking.get(domain)
            if task is None:
                task = self._asking[domain] = asyncio.create_task(self._ask(domain))
                task.add_done_callback(lambda _: self._asking.pop(domain, None))
            # RFC 8461, 3.3: a policy that cannot be had in time is none; one that was had before goes on.
            await asyncio.wait({task}, timeout=self._wait_s)
            if task.done() and not task.cancelled() and (error := task.exception()):
                logger.error("Asking for the MTA-STS policy of %s failed", domain, exc_info=error)
        return self._valid(domain)

    async def close(self) -> None:
        """Gives up what is being fetched."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _valid(self, domain: str) -> StsPolicy | None:
        known = self._known.get(domain)
        if known is None or known.policy is None or known.policy.expires_at <= datetime.now(UTC):
            return None
        return known.policy

    async def _ask(self, domain: str) -> None:
        """5.1: the TXT record tells whether there is a policy that we do not know yet. Its absence ends none that we do."""
        try:
            await self._load()
            policy_id = await self._announced(domain)
            policy = self._valid(domain)
            if policy_id and not (policy and policy.is_fresh(policy_id, datetime.now(UTC))):
                await self._fetch(domain, policy_id)
        finally:
            if len(self._known) >= MOST_KNOWN:
                self._known = {name: known for name, known in self._known.items() if known.policy}
            self._known.setdefault(domain, _Known()).asked_at = time.monotonic()

    async def _announced(self, domain: str) -> str | None:
        try:
            answer = await self._resolver.resolve(f"_mta-sts.{domain}", "TXT")
        except dns.exception.DNSException:
            return None
        return read_record(b"".join(record.strings).decode("utf-8", "replace") for record in answer)

    async def _fetch(self, domain: str, policy_id: str) -> None:
        if self._https is None:  # the authorities are loaded when they are needed for the first time
            self._https = Https(self._resolver, ssl.create_default_context(cafile=settings.TLS_CA_FILE or None))
        try:
            text = read_policy(await self._https.text(f"mta-sts.{domain}", "/.well-known/mta-sts.txt"))
        except (FetchFailed, PolicyInvalid) as error:
            logger.info("The MTA-STS policy of %s was not to be had: %s", domain, error)
            return
        now = datetime.now(UTC)
        policy = StsPolicy(domain, policy_id, text.mode, text.mx, now, now + text.max_age)
        self._known.setdefault(domain, _Known()).policy = policy
        await self._save(policy)

    async def _load(self) -> None:
        """All that are valid, in one look: they are few, and most destinations have none."""
        async with self._loading:
            if self._connect is None or (
                self._loaded_at is not None and time.monotonic() - self._loaded_at < LOADED_AGAIN_AFTER_S
            ):
                return
            try:
                async with self._connect() as connection:
                    rows = await (await connection.execute(_LOAD)).fetchall()
            except (psycopg.Error, PoolTimeout, OSError) as error:
                logger.warning("Known MTA-STS policies could not be loaded: %s", error)
                return
            self._loaded_at = time.monotonic()
        for domain, policy_id, mode, mx, fetched_at, expires_at in rows:
            known = self._known.setdefault(domain, _Known())
            if known.policy is None or known.policy.fetched_at < fetched_at:
                known.policy = StsPolicy(domain, policy_id, Mode(mode), tuple(mx), fetched_at, expires_at)

    async def _save(self, policy: StsPolicy) -> None:
        if self._connect is None:
            return
        values = (policy.domain, policy.policy_id, policy.mode.value, list(policy.mx), policy.fetched_at)
        try:
            async with self._connect() as connection:
                await connection.execute(_SAVE, (*values, policy.expires_at))
        except (psycopg.Error, PoolTimeout, OSError) as error:
            logger.warning("The MTA-STS policy of %s could not be saved: %s", policy.domain, error)
