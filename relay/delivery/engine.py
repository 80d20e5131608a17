"""The delivery engine: one asyncio loop in a worker process, many SMTP conversations at once.

    wake(destinations) ── a lane per destination: claim ── converse ── settle (in batches)

A lane claims while there is something due and room, and ends when there is not; a wake-up for a lane at work only tells
it to look once more. Leases of what is in hand are renewed until it is settled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import psycopg
from django.conf import settings
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.ids import uuid7
from relay.delivery.conversation import Conversation, ConversationFailed, Rejected, Trace
from relay.delivery.messages import Messages
from relay.delivery.outcome import Attempt, CannotSign, delivered, failed
from relay.delivery.queue import Claimed, Outcome, Queue
from relay.delivery.replies import Reply
from relay.delivery.return_path import return_path
from relay.delivery.routing import Router, RoutingFailed
from relay.nudges import nudges
from relay.vital import vital

logger = logging.getLogger(__name__)

DATABASE_AWAY = (psycopg.Error, PoolTimeout, OSError)
DATABASE_RETRY_S = 1.0
KEPT_IDLE_S = 2.0  # a connection waits so long for the next message
SETTLE_MOST = 200


@dataclass(frozen=True, slots=True)
class EngineLimits:
    connections_per_destination: int = 20
    connections: int = 500
    claim: int = 50  # recipients of a destination taken at once
    lease: timedelta = timedelta(seconds=60)
    look_every_s: float = 10.0  # at the queue itself, in case the broker forgot everything


class Engine:
    """Start, use and stop it on one event loop."""

    def __init__(self, database_url: str, limits: EngineLimits | None = None, router: Router | None = None) -> None:
        self.limits = limits or EngineLimits(lease=timedelta(seconds=settings.LEASE_SECONDS))
        self._database_url = database_url
        self.queue = Queue(worker=uuid7(), lease=self.limits.lease)
        self.messages = Messages()
        self.router = router or Router()
        self.conversations = asyncio.Semaphore(self.limits.connections)
        # The plans of our few statements do not hang on their values: planning each time costs more than running it.
        self.pool = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=4,
            timeout=10,
            open=False,
            kwargs={"autocommit": True, "options": "-c plan_cache_mode=force_generic_plan"},
        )
        self.held: dict[UUID, Claimed] = {}  # claimed and not settled
        self.stopping = False
        self._lanes: dict[str, Lane] = {}
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self._upkeep: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.pool.open()
        self._upkeep = [
            vital(work()) for work in (self._settle_all, self._renew_leases, self._look_often, self._heed_nudges)
        ]

    async def stop(self, deadline_s: float) -> None:
        """Finishes the conversations in hand within the deadline and returns the rest to the queue at once."""
        self.stopping = True
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.changed.set()
        if lanes:
            await asyncio.wait([lane.task for lane in lanes], timeout=deadline_s)
        try:
            async with asyncio.timeout(2):
                await self._outcomes.join()
        except TimeoutError:
            logger.warning("%d outcomes could not be written; those attempts will be in doubt", len(self.held))
        for task in [*self._upkeep, *(lane.task for lane in self._lanes.values())]:
            task.cancel()
        await self.pool.close()

    def wake(self, destinations: Iterable[str], *, lapsed: bool = False) -> None:
        """There may be something due for these; `lapsed`: leases that ran out, too. Returns at once."""
        if self.stopping:
            return
        for destination in destinations:
            lane = self._lanes.get(destination)
            if lane is None:
                lane = self._lanes[destination] = Lane(self, destination)
            lane.look_again(lapsed=lapsed)

    async def look(self) -> None:
        """Wakes every destination that has something due."""
        async with self.pool.connection() as connection:
            self.wake(await self.queue.due_destinations(connection), lapsed=True)

    def settle(self, outcome: Outcome) -> None:
        self._outcomes.put_nowait(outcome)

    def take_in_hand(self, claimed: Iterable[Claimed]) -> None:
        self.held.update((one.id, one) for one in claimed)

    def let_go(self, claimed: Claimed) -> None:
        """Settled, or given back."""
        if self.held.pop(claimed.id, None):
            self.messages.done(claimed)

    def lane_ended(self, destination: str) -> None:
        del self._lanes[destination]

    async def _settle_all(self) -> None:
        """Writes outcomes as they come, all that wait in one transaction."""
        while True:
            batch = [await self._outcomes.get()]
            while not self._outcomes.empty() and len(batch) < SETTLE_MOST:
                batch.append(self._outcomes.get_nowait())
            await self._settle_batch(batch)
            for outcome in batch:
                self.let_go(outcome.claimed)
                self._outcomes.task_done()

    async def _settle_batch(self, batch: list[Outcome]) -> None:
        while True:
            try:
                async with self.pool.connection() as connection:
                    settled = await self.queue.settle(connection, batch)
                break
            except (psycopg.DataError, ValueError):  # a value that PostgreSQL or psycopg cannot take
                logger.exception("An outcome could not be written; its attempt will be in doubt")
                if len(batch) > 1:
                    for outcome in batch:
                        await self._settle_batch([outcome])
                return
            except DATABASE_AWAY as error:
                logger.warning("Outcomes wait for the database: %s", error)
                await asyncio.sleep(DATABASE_RETRY_S)
        for outcome in batch:
            if outcome.claimed.id not in settled:
                logger.warning("The lease of recipient %s had run out before it was settled", outcome.claimed.id)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self.limits.lease.total_seconds() / 3)
            if self.held:
                try:
                    async with self.pool.connection() as connection:
                        await self.queue.renew(connection, list(self.held))
                except DATABASE_AWAY as error:
                    logger.warning("Leases could not be renewed: %s", error)

    async def _heed_nudges(self) -> None:
        """More mail for destinations that we are at work on. Others are left to the worker that is woken for them."""
        while True:
            try:
                async for destinations in nudges(self._database_url):
                    self.wake(one for one in destinations if one in self._lanes)
            except DATABASE_AWAY as error:
                logger.warning("Nudges are not heard: %s", error)
            await asyncio.sleep(DATABASE_RETRY_S)

    async def _look_often(self) -> None:
        while True:
            try:
                await self.look()
            except DATABASE_AWAY as error:
                logger.warning("The queue could not be looked at: %s", error)
            await asyncio.sleep(self.limits.look_every_s)


class Lane:
    """The work on one destination: recipients claimed and waiting, and the connections that take them one by one.

    A connection without work is kept for `KEPT_IDLE_S`, and the lane stays awake as long after it was woken: what comes
    meanwhile needs a nudge only.
    """

    def __init__(self, engine: Engine, destination: str) -> None:
        self._engine = engine
        self._destination = destination
        self._waiting: asyncio.Queue[Claimed | None] = asyncio.Queue()  # None: end
        self._connections: set[asyncio.Task[None]] = set()
        self._idle = 0
        self._look = self._look_for_lapsed = False
        self._awake_until = 0.0
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def look_again(self, *, lapsed: bool) -> None:
        self._look = True
        self._awake_until = time.monotonic() + KEPT_IDLE_S
        self._look_for_lapsed = self._look_for_lapsed or lapsed
        self.changed.set()

    async def _run(self) -> None:
        try:
            while True:
                self.changed.clear()
                if self._engine.stopping:
                    await self._give_back()
                elif self._look and self._waiting.qsize() < self._engine.limits.claim // 2:
                    await self._claim()
                    continue
                if self._connections:
                    await self.changed.wait()
                elif self._engine.stopping or (left := self._awake_until - time.monotonic()) <= 0:
                    return
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(left):
                            await self.changed.wait()
        finally:
            self._engine.lane_ended(self._destination)

    async def _claim(self) -> None:
        engine, queue = self._engine, self._engine.queue
        claim_some = queue.claim_lapsed if self._look_for_lapsed else queue.claim
        is_lapsed, self._look, self._look_for_lapsed = self._look_for_lapsed, self._look_for_lapsed, False
        claimed: list[Claimed] = []
        try:
            async with engine.pool.connection() as connection:
                claim = await claim_some(connection, self._destination, engine.limits.claim)
                claimed = claim.recipients
                engine.take_in_hand(claimed)
                await engine.messages.take(connection, claim)
        except DATABASE_AWAY as error:
            logger.warning("Claiming for %s failed: %s", self._destination, error)
            await asyncio.sleep(DATABASE_RETRY_S)
        for one in claimed:
            self._waiting.put_nowait(one)
        if len(claimed) == engine.limits.claim:
            self._look, self._look_for_lapsed = True, self._look_for_lapsed or is_lapsed
        self._open_connections()

    def _open_connections(self) -> None:
        room = self._engine.limits.connections_per_destination - len(self._connections)
        for _ in range(min(room, self._waiting.qsize() - self._idle)):
            task = asyncio.create_task(self._work_off())
            self._connections.add(task)
            task.add_done_callback(self._connection_ended)

    def _connection_ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self.changed.set()
        if not task.cancelled() and (error := task.exception()):
            logger.error("A connection's work failed", exc_info=error)
        if not self._engine.stopping:
            self._open_connections()

    async def _give_back(self) -> None:
        """Returns to the queue what was not begun, and lets the connections end."""
        ids = []
        while not self._waiting.empty():
            if claimed := self._waiting.get_nowait():
                ids.append(claimed.id)
                self._engine.let_go(claimed)
        for _ in self._connections:
            self._waiting.put_nowait(None)
        if ids:
            try:
                async with self._engine.pool.connection() as connection:
                    await self._engine.queue.release(connection, ids)
            except DATABASE_AWAY as error:
                logger.warning("%d recipients stay leased until their lease ends: %s", len(ids), error)

    async def _work_off(self) -> None:
        """Takes one recipient after the other, over one connection as long as it lasts."""
        conversation: Conversation | None = None
        try:
            while claimed := await self._next():
                async with self._engine.conversations:
                    conversation = await self._attempt(claimed, conversation)
        finally:
            if conversation:
                await conversation.quit()

    async def _next(self) -> Claimed | None:
        if self._waiting.qsize() <= self._engine.limits.claim // 2:
            self.changed.set()
        if not self._waiting.empty():
            return self._waiting.get_nowait()
        self._idle += 1
        try:
            async with asyncio.timeout(KEPT_IDLE_S):
                return await self._waiting.get()
        except TimeoutError:
            return None
        finally:
            self._idle -= 1

    async def _attempt(self, claimed: Claimed, conversation: Conversation | None) -> Conversation | None:
        """Makes one attempt and settles it. Returns the connection when it is fit for the next."""
        engine = self._engine
        attempt = Attempt(claimed, Trace())
        try:
            message, signer = await engine.messages.signed(claimed, engine.pool)
            attempt.dkim = signer.facts()
            attempt.return_path = return_path(claimed.id, signer.domain)
            if conversation:
                try:
                    engine.settle(delivered(attempt, await self._hand_over(attempt, conversation, message)))
                    return conversation
                except (ConversationFailed, Rejected) as error:
                    if not _was_closed(error):
                        raise
                    # The exchanger had ended the connection that we kept: that says nothing about this message.
                    attempt.trace.note("the kept connection had been closed")
                    conversation.abort()
                    conversation = None
            conversation = await self._connect(attempt)
            engine.settle(delivered(attempt, await self._hand_over(attempt, conversation, message)))
            return conversation
        except Exception as error:
            if not isinstance(error, (RoutingFailed, Rejected, ConversationFailed, CannotSign)):
                logger.exception("An attempt for recipient %s failed", claimed.id)
            engine.settle(failed(attempt, error, chance=random.random, scale=settings.RETRY_SCALE))
            return await _fit_again(conversation, error)

    async def _hand_over(self, attempt: Attempt, conversation: Conversation, message: bytes) -> Reply:
        attempt.hop, attempt.tls = conversation.hop, conversation.tls
        claimed = attempt.claimed
        local = claimed.address.rpartition("@")[0]
        recipient = f"{local}@{claimed.destination}"
        return await conversation.send(
            attempt.return_path, recipient, message, attempt.trace, smtputf8=not local.isascii()
        )

    async def _connect(self, attempt: Attempt) -> Conversation:
        """To the first exchanger that answers. Raises what the last one raised."""
        last: Exception | None = None
        hops = self._engine.router.hops(self._destination)
        while True:
            with attempt.trace.phase("dns"):
                hop = await anext(hops, None)
            if hop is None:
                raise last or RoutingFailed("no_mail_for_domain", "There is no exchanger.", permanent=True)
            attempt.hop = hop
            try:
                return await Conversation.open(hop, hostname=settings.HOSTNAME, trace=attempt.trace)
            except (ConversationFailed, Rejected) as error:
                if isinstance(error, Rejected) and error.reply.is_permanent:
                    raise  # RFC 5321, 4.2.1: an exchanger that speaks for the domain has said no
                last = error


def _was_closed(error: ConversationFailed | Rejected) -> bool:
    """Whether a kept connection turned out to be at its end before it took anything (RFC 5321, 3.8: 421)."""
    if isinstance(error, Rejected):
        return error.reply.code == 421 and error.phase == "mail"
    return error.reason == "connection_lost" and error.phase == "mail"


async def _fit_again(conversation: Conversation | None, error: Exception) -> Conversation | None:
    """After a refusal the connection is good for the next message, once it was reset."""
    if conversation is None:
        return None
    if isinstance(error, Rejected) and error.reply.code != 421:
        try:
            await conversation.reset(Trace())
            return conversation
        except (ConversationFailed, Rejected):
            pass
    conversation.abort()
    return None
