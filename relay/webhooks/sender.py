"""Hands out events and sends what is due: one loop in a thread of a worker process, with many requests in flight.

All that concerns the database is done by one thread of its own, so that the loop never waits. Outcomes are written in batches:
whatever has come while the last were written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from django.db import close_old_connections, connections

from domains.dns.resolver import async_resolver
from domains.guarded_fetch import Allowance, FetchFailed, GuardedClient, read_url, tls_context
from relay.webhooks import fanout, queue, replays
from relay.webhooks.attempts import EXCERPT_OCTETS, HEEDS_RETRY_AFTER, Outcome, error_of, seconds_of, text_of
from relay.webhooks.fair import Waiting, share_out
from relay.webhooks.models import WebhookEndpoint
from relay.webhooks.queue import Claimed, Open, Settled
from relay.webhooks.signing import signed_headers

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_S = 15.0
SLOW_S = 3.0  # who takes longer counts as in trouble
LOOK_EVERY_S = 0.5
TIDY_EVERY_S = 60.0
LONGEST_PAUSE_S = 60.0  # of an endpoint that asks for one; its deliveries heed more
DRAIN_S = 5.0


class Sender:
    def __init__(self) -> None:
        self._holder = uuid4()
        self._client = GuardedClient(async_resolver(), tls_context(settings.TLS_CA_FILE), TIMEOUT_S)
        self._database = ThreadPoolExecutor(1, thread_name_prefix="webhooks-database")
        self._in_flight = Counter[UUID]()
        self._slow: dict[UUID, bool] = {}  # by endpoint: whether the last answer was
        self._not_before: dict[UUID, float] = {}
        self._known: dict[UUID, Open] = {}
        self._done: list[Settled] = []
        self._requests: set[asyncio.Task[None]] = set()
        self._awake = asyncio.Event()
        self._is_ending = False

    def stop(self) -> None:
        """From the loop's own thread. What is in flight has some seconds."""
        self._is_ending = True
        self._awake.set()

    async def run(self) -> None:
        """Until there is no endpoint anywhere, or it is to stop."""
        tidied_at = float("-inf")
        try:
            while not self._is_ending:
                looked_at = time.monotonic()
                if not await self._in_database(is_wanted):
                    return
                if looked_at >= tidied_at + TIDY_EVERY_S:
                    await self._in_database(_tidy)
                    tidied_at = looked_at
                await self._look()
                await self._send_until(looked_at + LOOK_EVERY_S)
        finally:
            await self._end()

    async def drain(self, top: UUID | None = None) -> None:
        """All that is due now, and their answers; `top`: of `hand_out_next`. For commands and tests."""
        try:
            while await self._in_database(fanout.hand_out_next, top):
                pass
            while await self._in_database(replays.work_on_replays):
                pass
            await self._begin_what_is_due()
            while self._requests or self._done:
                if self._requests:
                    await asyncio.wait(self._requests, return_when=asyncio.FIRST_COMPLETED)
                await self._settle()
                await self._begin_what_is_due()
        finally:
            await self._end()

    async def _look(self) -> None:
        while await self._in_database(fanout.hand_out_next) and not self._is_ending:
            await self._begin_what_is_due()
        await self._in_database(replays.work_on_replays)
        await self._begin_what_is_due()

    async def _send_until(self, moment: float) -> None:
        """Whoever has got its answer makes room for the next."""
        while not self._is_ending and (left := moment - time.monotonic()) > 0:
            self._awake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._awake.wait()
            except TimeoutError:
                return
            await self._settle()
            await self._begin_what_is_due()

    async def _begin_what_is_due(self) -> None:
        opened = await self._in_database(_open_endpoints)
        self._known = {one.endpoint_id: one for one in opened}
        now, monotonic = datetime.now(UTC), time.monotonic()
        waiting = [
            Waiting(one.endpoint_id, one.organization_id, self._in_flight[one.endpoint_id], self._is_in_trouble(one))
            for one in opened
            if one.organization_id is not None
            and one.may_send
            and one.first_due_at <= now
            and self._not_before.get(one.endpoint_id, 0) <= monotonic
        ]
        in_trouble = sum(
            number
            for endpoint_id, number in self._in_flight.items()
            if endpoint_id not in self._known or self._is_in_trouble(self._known[endpoint_id])
        )
        shares = share_out(waiting, self._in_flight.total(), in_trouble)
        if not shares:
            return
        for claimed in await self._in_database(queue.claim, shares, self._holder):
            self._in_flight[claimed.endpoint_id] += 1
            task = asyncio.create_task(self._send(claimed))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    def _is_in_trouble(self, one: Open) -> bool:
        return one.is_in_trouble or self._slow.get(one.endpoint_id, False)

    async def _send(self, claimed: Claimed) -> None:
        began, at = time.monotonic(), datetime.now(UTC)
        headers = _headers(claimed, at)
        try:
            outcome = await self._ask(claimed, headers, began)
        except Exception as error:  # of ours: it must not keep the delivery from being settled
            logger.exception("The webhook delivery %s failed here", claimed.id)
            outcome = Outcome(None, 0.0, error=f"our own error: {type(error).__name__}")
        self._slow[claimed.endpoint_id] = time.monotonic() - began > SLOW_S
        if outcome.retry_after_s:
            pause_s = min(outcome.retry_after_s, LONGEST_PAUSE_S)
            self._not_before[claimed.endpoint_id] = time.monotonic() + pause_s
        self._in_flight[claimed.endpoint_id] -= 1
        if not self._in_flight[claimed.endpoint_id]:
            del self._in_flight[claimed.endpoint_id]
        self._done.append(Settled(claimed, at, outcome, headers))
        self._awake.set()

    async def _ask(self, claimed: Claimed, headers: list[tuple[str, str]], began: float) -> Outcome:
        def ms() -> float:
            return (time.monotonic() - began) * 1000

        try:
            answer = await self._client.request(
                read_url(claimed.url), Allowance(EXCERPT_OCTETS), method="POST", header=headers, body=claimed.body.encode(),
                excerpt=True,
            )  # fmt: skip
        except FetchFailed as failure:
            return Outcome(None, ms(), error=str(failure)[:500])
        asked_s = seconds_of(answer.header.get("retry-after", "")) if answer.status in HEEDS_RETRY_AFTER else 0.0
        return Outcome(answer.status, ms(), text_of(answer.body), error_of(answer.status, answer.reason), asked_s)

    async def _settle(self) -> None:
        done, self._done = self._done, []
        if done:
            await self._in_database(queue.settle, done, self._holder)

    async def _end(self) -> None:
        """What has no answer by then is tried again when its lease is over."""
        if self._requests:
            await asyncio.wait(self._requests, timeout=DRAIN_S)
        for task in self._requests:
            task.cancel()
        try:
            await self._settle()
        finally:
            await self._in_database(connections.close_all)
            self._database.shutdown(wait=False)

    async def _in_database(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, lambda: work(*args, **kwargs))


def is_wanted() -> bool:
    """Whether there is anything to send, or may be."""
    close_old_connections()
    return WebhookEndpoint.objects.exists() or bool(queue.open_endpoints())


def _open_endpoints() -> list[Open]:
    """Those with deliveries that may be sent; what waits for ended ones is cancelled on the way."""
    opened = queue.open_endpoints()
    for one in opened:
        if one.has_ended:
            queue.end_of(one.endpoint_id)
    return opened


def _tidy() -> None:
    while queue.give_up_old() == queue.ENDED_AT_ONCE:
        pass
    replays.forget_old()


def _headers(claimed: Claimed, at: datetime) -> list[tuple[str, str]]:
    return [
        ("Content-Type", "application/json"),
        ("User-Agent", "PlugSend-Webhooks/1"),
        ("Accept", "*/*"),
        *signed_headers(claimed.secrets, claimed.webhook_id, int(at.timestamp()), claimed.body.encode()),
    ]
