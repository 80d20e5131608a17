"""The delivery engine: one asyncio loop in a worker process, many SMTP conversations at once.

    wake(lanes) ── ready lanes in turn ── route ── claim (many lanes a statement) ── groups: connections ── settle (in batches)

What is due is claimed as far as its exchangers take it: a group's throttle and buffer say how much. Leases of what is in hand
are renewed until it is settled. The queue itself is looked at now and then, should a wake-up have been lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from psycopg_pool import AsyncConnectionPool

from accounts.ids import uuid7
from relay.database import ENGINE_NAME
from relay.delivery import outcome as outcomes
from relay.delivery.deliverer import Deliverer, Ears, chances
from relay.delivery.groups import Channel, Group, Slots
from relay.delivery.holdings import Holdings
from relay.delivery.messages import Messages
from relay.delivery.pauses import Pauses
from relay.delivery.queue import PLANNING, Claim, Claimed, Outcome, Queue
from relay.delivery.routes import Routes
from relay.delivery.routing import Route, Router, RoutingFailed
from relay.delivery.schedule import LaneState, Schedule
from relay.delivery.senders import Senders
from relay.delivery.settler import DATABASE_AWAY, DATABASE_RETRY_S, Settler
from relay.delivery.standings import Standings
from relay.delivery.throttle import Throttle, ThrottleLimits
from relay.delivery.tls import TlsPolicies
from relay.delivery.wire import DEFAULT_TIMEOUTS, Timeouts
from relay.lanes import Lane
from relay.nudges import nudges
from relay.vital import vital

logger = logging.getLogger(__name__)

AWAKE_S = 10.0  # so long after it was woken, a lane needs nudges only
BUSY_HELD = 4  # recipients in hand, beyond which outcomes may gather
CLAIM_LANES = 100  # in one statement
CLAIM_RECIPIENTS = 200
CLAIM_FEW = 5  # of a lane, where many are ready
CLAIM_UNROUTABLE = 50  # of a lane that there is no way for
HELD_FEW = 20  # an organization that holds fewer may claim though the engine is full
KEPT_OCTETS = 32 * 1024 * 1024  # contents in memory beyond which claims come without them
LAPSED_MOST = 200
SCAN_SHARE = 20  # looking at the queue may take one part in so many of the time


def _throttle_limits() -> ThrottleLimits:
    return ThrottleLimits(
        most_connections=settings.CONNECTIONS_PER_EXCHANGER,
        first_pause_s=30.0 * settings.RETRY_SCALE,
        longest_pause_s=900.0 * settings.RETRY_SCALE,
    )


@dataclass(frozen=True, slots=True)
class EngineLimits:
    connections: int = field(default_factory=lambda: int(settings.DELIVERY_CONNECTIONS))
    held: int = 5000  # recipients claimed and not settled
    lease: timedelta = field(default_factory=lambda: timedelta(seconds=settings.LEASE_SECONDS))
    look_every_s: float = 10.0  # at the queue itself, in case the broker forgot everything
    throttle: ThrottleLimits = field(default_factory=_throttle_limits)


@dataclass(frozen=True, slots=True)
class Picked:
    """A lane about to be claimed from."""

    state: LaneState
    most: int
    route: Route | RoutingFailed


class Engine:
    """Start, use and stop it on one event loop."""

    def __init__(
        self,
        database_url: str,
        limits: EngineLimits | None = None,
        router: Router | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self.limits = limits or EngineLimits()
        self.queue = Queue(worker=uuid7(), lease=self.limits.lease)
        self.pool = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=4,
            timeout=10,
            open=False,
            # By the name, and by when it last asked something, it is seen to be alive (`plugsend.status.facts`).
            kwargs={
                "autocommit": True,
                "options": PLANNING,
                "application_name": f"{ENGINE_NAME} {self.queue.worker}",
            },
        )
        self.groups: dict[str, Group] = {}
        self.stopping = False
        self._database_url = database_url
        self._messages = Messages(self.pool)
        self._senders = Senders(self.pool.connection)
        self._schedule = Schedule()
        self.held = Holdings(self.queue, self.limits.lease, self._schedule, self._messages)
        self._slots = Slots(self.limits.connections)
        router = router or Router()
        self._routes = Routes(router, self._routed)
        self._policies = TlsPolicies(router, self.pool.connection)
        self._pauses = Pauses()
        self._standings = Standings(self.pool, self.queue.worker)
        self._settler = Settler(
            self.queue, self.pool, is_busy=lambda: len(self.held) > BUSY_HELD, on_settled=self._settled
        )
        ears = Ears(self._settler.settle, self._give_back, self._released, self._suspended, self.held.is_ours)
        self._deliverer = Deliverer(self._routes, self._policies, self._senders, self._messages, ears, timeouts)
        self._parked: list[LaneState] = []  # lanes that wait until less is held
        self._claimable = asyncio.Event()
        self._returned: list[Claimed] = []  # not begun, to be given back to the queue
        self._upkeep: list[asyncio.Task[None]] = []
        self._scanned_at = self._scan_took_s = 0.0
        self._ahead_s = self.limits.look_every_s + 5

    # ---- What others ask of it ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self.pool.open()
        works = (
            self._claim_all,
            self._settler.run,
            lambda: self._every(self.limits.lease.total_seconds() / 3, self._renew_leases),
            lambda: self._every(self.limits.look_every_s, self.look),
            lambda: self._every(1.0, self._tick),
            self._heed_nudges,
        )
        self._upkeep = [vital(work()) for work in works]

    async def stop(self, deadline_s: float) -> None:
        """Finishes the conversations in hand within the deadline and returns the rest to the queue at once."""
        self.stopping = True
        self._claimable.set()
        await asyncio.wait(self._upkeep[:1], timeout=2)  # a claim that is under way
        channels = [channel for group in self.groups.values() for channel in group.channels.values()]
        for channel in channels:
            self._give_back(channel.close())
        await self._return_claims()
        slots = [slot for channel in channels for slot in channel.slots]
        if slots:
            _, unfinished = await asyncio.wait(slots, timeout=deadline_s)
            await _end(unfinished)
        await self._return_claims()
        try:
            async with asyncio.timeout(2):
                await self._settler.join()
        except TimeoutError:
            logger.warning("%d outcomes could not be written; those attempts will be in doubt", len(self.held))
        await _end(self._upkeep)
        await self._policies.close()
        await self.pool.close()

    def wake(self, lanes: Iterable[Lane]) -> None:
        """There may be something due in these. Returns at once."""
        if self.stopping:
            return
        awake_until = time.monotonic() + AWAKE_S
        for lane in lanes:
            self._schedule.wake(lane, self._senders.weight(lane.organization_id), awake_until)
        self._claimable.set()

    async def look(self) -> None:
        """Looks at the queue itself: for lanes with something due soon, and for attempts whose worker died."""
        started = time.monotonic()
        if started - self._scanned_at < SCAN_SHARE * self._scan_took_s:
            return
        self._ahead_s = self.limits.look_every_s + SCAN_SHARE * self._scan_took_s + 5
        async with self.pool.connection() as connection:
            lanes = await self.queue.open_lanes(connection, timedelta(seconds=self._ahead_s))
            await self.held.make_sure(connection)  # what became of ours is known, or will be
            await self._end_lapsed(connection)
        now = self._scanned_at = time.monotonic()
        self._scan_took_s = now - started
        for lane, in_s in lanes.items():
            if in_s <= 0:
                # A wake-up may have been lost, or have reached a worker that died: nudges may be on their way.
                self._schedule.wake(lane, self._senders.weight(lane.organization_id), now + AWAKE_S)
                self._schedule.look_ahead(lane)
            else:
                self._schedule.wake_at(lane, now + in_s)
        self._claimable.set()

    # ---- Claiming ----------------------------------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        """Claims what the exchangers can take, until nothing is left that is due."""
        while not (self._pauses.are_known or self.stopping):
            await self._heed_pauses()
        while not self.stopping:
            self._claimable.clear()
            for lane in self._schedule.pop_due(time.monotonic()):
                self._schedule.wake(lane, self._senders.weight(lane.organization_id))
            picked = self._pick()
            if picked:
                await self._claim(picked)
                continue
            timer = self._schedule.next_timer()
            try:
                async with asyncio.timeout(None if timer is None else max(0.0, timer - time.monotonic())):
                    await self._claimable.wait()
            except TimeoutError:
                pass

    def _pick(self) -> list[Picked]:
        """Ready lanes in turn, each with how many to claim."""
        picked: list[Picked] = []
        left = CLAIM_RECIPIENTS
        share = max(CLAIM_FEW, left // max(1, self._schedule.ready))  # so that many short lanes go into one claim
        while self._schedule.ready and left > 0 and len(picked) < CLAIM_LANES:
            state = self._schedule.pop_ready()
            lane = state.lane
            if len(self.held) >= self.limits.held and self.held.of(lane.organization_id) >= HELD_FEW:
                self._parked.append(state)
                continue
            if lane.destination in self._pauses.destinations:
                self._schedule.rest(state, self._senders.weight(lane.organization_id))
                continue
            route = self._routes.get(lane)
            if route is None:
                continue  # `_routed` makes it ready again
            if isinstance(route, RoutingFailed):
                most = CLAIM_UNROUTABLE
            else:
                group, weight = self._group(route.group), self._senders.weight(lane.organization_id)
                most = min(share, left, group.room_for(lane.organization_id, weight))
                if most <= 0:
                    group.has_backlog = True
                    group.blocked.setdefault(lane.organization_id, []).append(state)
                    if group.throttle.is_probing:
                        group.await_for(lane.destination)
                    continue
                group.expect(lane.organization_id, most, weight)
            picked.append(Picked(state, most, route))
            left -= most
        return picked

    async def _claim(self, picked: list[Picked]) -> None:
        claim = Claim([], {})
        failed = False
        try:
            async with self.pool.connection() as connection:
                await self.held.make_sure(connection)
                claim = await self.queue.claim(
                    connection,
                    {one.state.lane: one.most for one in picked},
                    with_contents=self._messages.octets < KEPT_OCTETS,
                )
                self.held.take(claim)
                await self._senders.load(connection, {claimed.domain_id for claimed in claim.recipients})
        except DATABASE_AWAY as error:
            logger.warning("Claiming failed: %s", error)
            failed = True
        if failed and claim.recipients:
            self._give_back(claim.recipients)
            claim = Claim([], {})
        by_lane: dict[Lane, list[Claimed]] = {}
        for claimed in claim.recipients:
            by_lane.setdefault(claimed.lane, []).append(claimed)
        ahead: list[Lane] = []
        for one in picked:
            found = by_lane.get(one.state.lane, [])
            self._distribute(one, found)
            weight = self._senders.weight(one.state.lane.organization_id)
            if len(found) >= one.most or failed:
                self._schedule.make_ready(one.state, weight)
                continue
            self._schedule.rest(one.state, weight)
            if one.state.looks_ahead:
                one.state.looks_ahead = False
                ahead.append(one.state.lane)
        if ahead:
            await self._set_timers(ahead)
        if failed:
            await asyncio.sleep(DATABASE_RETRY_S)

    async def _set_timers(self, lanes: list[Lane]) -> None:
        """A timer stands for the first only of what waits in a lane for its time."""
        try:
            async with self.pool.connection() as connection:
                due = await self.queue.next_due(connection, lanes, timedelta(seconds=self._ahead_s))
        except DATABASE_AWAY as error:
            logger.warning("What is due next in %d lanes is left to the next look: %s", len(lanes), error)
            return
        now = time.monotonic()
        for lane, in_s in due.items():
            self._schedule.wake_at(lane, now + in_s)

    def _distribute(self, picked: Picked, found: list[Claimed]) -> None:
        """Hands a lane's claimed recipients to the connections of its group."""
        now = datetime.now(UTC)
        ready = []
        for claimed in found:
            if claimed.is_suppressed:
                self._settler.settle(outcomes.suppressed(claimed))
            elif claimed.expires_at <= now:
                self._settler.settle(outcomes.expired(claimed))
            elif loss := self._senders.loss(claimed.domain_id):
                self._settler.settle(outcomes.sender_gone(claimed, loss))
            else:
                ready.append(claimed)
        if isinstance(picked.route, RoutingFailed):
            self._deliverer.refuse(ready, picked.route)
            return
        group = self._group(picked.route.group)
        organization_id = picked.state.lane.organization_id
        group.has_backlog = len(found) >= picked.most or bool(group.blocked)
        if self.stopping or group.throttle.is_suspended(time.monotonic()):
            self._give_back(ready)
            ready = []
        self._released(group, organization_id, picked.most - len(ready))
        by_channel: dict[Channel, list[Claimed]] = {}
        for claimed in ready:
            by_channel.setdefault(self._channel(group, claimed), []).append(claimed)
        for channel, recipients in by_channel.items():
            channel.add(recipients, picked.route, self._senders.weight(organization_id))

    def _group(self, name: str) -> Group:
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group(name, Throttle(self.limits.throttle))
            self._standings.introduce(group)
        return group

    def _channel(self, group: Group, claimed: Claimed) -> Channel:
        key = self._deliverer.channel_key(claimed)
        channel = group.channels.get(key)
        if channel is None:
            channel = group.channels[key] = Channel(group, key, self._deliverer, self._slots)
        return channel

    def _routed(self, lane: Lane) -> None:
        """Where the lane's mail goes has become known."""
        self._schedule.make_ready(self._schedule.state(lane), self._senders.weight(lane.organization_id))
        self._claimable.set()

    def _released(self, group: Group, organization_id: UUID, recipients: int) -> None:
        """So many that were claimed ahead for a group wait no longer: its organization's lanes may go on."""
        self._ready_again(group.release(organization_id, recipients))

    def _ready_again(self, lanes: list[LaneState]) -> None:
        for state in lanes:
            self._schedule.make_ready(state, self._senders.weight(state.lane.organization_id))
        if lanes:
            self._claimable.set()

    def _suspended(self, group: Group) -> None:
        """Nothing more is tried there for a while: what was claimed goes back, as if it had not been."""
        for channel in group.channels.values():
            self._give_back(channel.empty())

    async def _heed_pauses(self) -> None:
        """What was claimed for a destination that is paused now, and not begun, goes back."""
        try:
            async with self.pool.connection() as connection:
                paused = await self._pauses.read(connection)
        except DATABASE_AWAY as error:
            logger.warning("Which destinations are paused is not known anew: %s", error)
            await asyncio.sleep(DATABASE_RETRY_S)
            return
        for name in filter(None, map(self._routes.group_of, paused)):
            if group := self.groups.get(name):
                self._suspended(group)

    # ---- Settling ----------------------------------------------------------------------------------------------------

    def _settled(self, batch: list[Outcome]) -> None:
        now, at = time.monotonic(), datetime.now(UTC)
        for outcome in batch:
            self.held.let_go(outcome.claimed)
            if outcome.next_attempt_at is not None:
                in_s = (outcome.next_attempt_at - at).total_seconds()
                if in_s < self._ahead_s:  # else the next look will find it
                    self._schedule.wake_at(outcome.claimed.lane, now + in_s)
        self._unpark(len(batch))

    def _unpark(self, most: int) -> None:
        if self._parked:
            self._ready_again(self._parked[:most])
            del self._parked[:most]
        if self._schedule.next_timer() is not None or self._schedule.ready:
            self._claimable.set()

    def _give_back(self, recipients: Iterable[Claimed]) -> None:
        """What was claimed and not begun returns to the queue with the next tick."""
        self._returned.extend(recipients)

    async def _return_claims(self) -> None:
        returned, self._returned = self._returned, []
        if not returned:
            return
        try:
            async with self.pool.connection() as connection:
                await self.queue.release(connection, returned)
        except DATABASE_AWAY as error:
            logger.warning("%d recipients could not be given back: %s", len(returned), error)
            self._returned += returned
            return
        for claimed in returned:
            self.held.let_go(claimed)
        if not self.stopping:
            self.wake({claimed.lane for claimed in returned})

    async def _end_lapsed(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        """Attempts whose worker died or lost the database are in doubt; an event says so."""
        while lapsed := await self.queue.take_lapsed(connection, LAPSED_MOST):
            await self.queue.settle(connection, [outcomes.lapsed(one, chances()) for one in lapsed])
            if len(lapsed) < LAPSED_MOST:
                return

    # ---- Upkeep ------------------------------------------------------------------------------------------------------

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except DATABASE_AWAY as error:
                logger.warning("%s failed for now: %s", work.__name__.strip("_").replace("_", " "), error)
            await asyncio.sleep(seconds)

    async def _renew_leases(self) -> None:
        if not self.held:
            self.held.be_sure()
            return
        async with self.pool.connection() as connection:
            await self.held.renew(connection)

    async def _heed_nudges(self) -> None:
        """More mail for lanes that we are at work on. Others are left to the worker that is woken for them."""
        while True:
            try:
                async with contextlib.aclosing(nudges(self._database_url)) as heard:
                    async for lanes in heard:
                        self.wake(lane for lane in lanes if lane in self._schedule)
            except DATABASE_AWAY as error:
                logger.warning("Nudges are not heard: %s", error)
            await asyncio.sleep(DATABASE_RETRY_S)

    async def _tick(self) -> None:
        """What no event tells: suspensions that are over, connections that became worth opening, things not needed any more."""
        if self._pauses.are_due:
            await self._heed_pauses()
        await self._return_claims()
        now = time.monotonic()
        for group in list(self.groups.values()):
            if not group.throttle.is_suspended(now):
                self._ready_again(group.unblock())
            for key, channel in list(group.channels.items()):
                channel.open_slots()
                if not (channel.slots or channel.waiting):
                    del group.channels[key]
            self._slots.serve_starving(group)
            if group.is_forgettable(now):
                del self.groups[group.name]
        if len(self.held) < self.limits.held:
            self._unpark(len(self._parked))
        self._schedule.forget_idle(now)
        await self._standings.exchange(self.groups)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels until they have ended: before Python 3.12 `asyncio.wait_for`, which psycopg uses, may swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)
