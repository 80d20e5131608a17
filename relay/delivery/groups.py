"""The work on a group of exchangers: envelopes that wait, and the connections that take them one after the other.

A *channel* is what speaks from the same source addresses. A *slot* is a task that keeps one connection at a time; whether it
may serve for the next message too, the deliverer asks the TLS policy of that message. Connections are opened only when those
there are would take too long over what waits, and stay within the throttle's limit for the group and the engine's for all.
Who cannot have one waits for his turn (`Slots`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from relay.delivery.concurrency import Concurrency
from relay.delivery.fair import FairQueue
from relay.delivery.outcome import MOST_RECIPIENTS, Envelope
from relay.delivery.queue import Claimed
from relay.delivery.throttle import Throttle

if TYPE_CHECKING:
    from relay.delivery.conversation import Conversation
    from relay.delivery.deliverer import Deliverer
    from relay.delivery.routing import Route
    from relay.delivery.schedule import LaneState

logger = logging.getLogger(__name__)

KEPT_IDLE_S = 2.0  # a connection waits so long for the next message
DRAIN_S = 0.1  # what waits may take so long before another connection is worth its cost
MESSAGES_PER_CONNECTION = 100
QUANTUM = 5  # recipients that an organization may have claimed ahead, however many others do
FIRST_BUFFER, MOST_BUFFER = 20, 200  # recipients claimed ahead
DESTINATIONS_MOST = 1000  # named for those who ask why mail waits
REMEMBERED_S = 600.0  # a group without work
TROUBLE_REMEMBERED_S = 3600.0  # one in trouble; where it is a dead exchanger, no success will ever end that
PACE_WEIGHT = 0.2  # of the newest transaction in the moving average


class Slots:
    """The connections of the whole engine, and the channels that wait for one: each organization in its turn."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._starving: FairQueue[Channel] = FairQueue()

    def take(self, channel: Channel) -> bool:
        group = channel.group
        if self.used < self.most and group.has_room():
            self.used += 1
            group.slots += 1
            return True
        if not channel.is_starving:
            channel.is_starving = True
            if self.used < self.most:
                group.starving.append(channel)
            else:
                self._starving.push(channel.waiting.peek().organization_id, channel)
        return False

    def give(self, channel: Channel) -> None:
        self.used -= 1
        channel.group.slots -= 1
        self.serve_starving(channel.group)

    def serve_starving(self, group: Group) -> None:
        """Those that wait and may have a connection now get one."""
        for _ in range(len(group.starving)):
            if not group.has_room():
                break
            group.starving.popleft().try_again()
        for _ in range(len(self._starving)):
            if self.used >= self.most:
                break
            self._starving.pop().try_again()

    def should_yield(self, channel: Channel, served: int) -> bool:
        """Whether another channel's turn has come to have one of this channel's connections."""
        if any(other.waiting and len(other.slots) < len(channel.slots) for other in channel.group.starving):
            return True
        return bool(self._starving) and self.used >= self.most and (len(channel.slots) > 1 or served >= QUANTUM)


class Group:
    """A group of exchangers, with all that waits for it."""

    def __init__(self, name: str, throttle: Throttle) -> None:
        self.name = name
        self.throttle = throttle
        self.concurrency = Concurrency(throttle.limits.most_connections)
        self.slots = 0
        self.channels: dict[Hashable, Channel] = {}
        self.starving: deque[Channel] = deque()  # channels that wait for the group's own limit
        self.blocked: dict[UUID, list[LaneState]] = {}  # by organization: lanes that wait until more may be claimed
        self.destinations: set[str] = set()  # that mail waits for while it is suspended
        self.has_untold_destination = False  # to those who read the group's row
        self.buffer = FIRST_BUFFER
        self.has_backlog = False  # the last claim brought as many as were asked for
        self.pace_s = 0.0  # a transaction takes; moving average, 0: not known yet
        self.used_at = time.monotonic()
        self.waiting = 0  # recipients claimed and not begun, or just being claimed
        self._waiting = Counter[UUID]()  # the same, by organization
        self._weights: dict[UUID, int] = {}  # of those
        self._weight = 0  # of them together

    def has_room(self) -> bool:
        return self.slots < self._bearable()

    def has_too_many(self) -> bool:
        return self.slots > self._bearable()

    def _bearable(self) -> int:
        """How many connections the receiver bears and we have a use for."""
        return min(self.throttle.allowed(time.monotonic()), self.concurrency.wanted)

    def room_for(self, organization_id: UUID, weight: int) -> int:
        """How many recipients of an organization may be claimed now: up to its share of the buffer."""
        if self.throttle.is_suspended(time.monotonic()):
            return 0
        if self.throttle.is_probing:
            return 0 if self.waiting or self.slots else 1
        return self._share(organization_id, weight) - self._waiting[organization_id]

    def expect(self, organization_id: UUID, recipients: int, weight: int) -> None:
        """So many are claimed, or about to be."""
        self._weight += weight - self._weights.get(organization_id, 0)
        self._weights[organization_id] = weight
        self._waiting[organization_id] += recipients
        self.waiting += recipients

    def release(self, organization_id: UUID, recipients: int) -> list[LaneState]:
        """So many are begun, given back, or were not found. Returns lanes that may claim again."""
        weight, left = self._weights[organization_id], self._waiting[organization_id] - recipients
        self.waiting -= recipients
        if left:
            self._waiting[organization_id] = left
        else:
            del self._waiting[organization_id], self._weights[organization_id]
            self._weight -= weight
        if organization_id in self.blocked and left <= self._share(organization_id, weight) // 2:
            return self.blocked.pop(organization_id)
        return []

    def await_for(self, destination: str) -> None:
        """Mail for a destination waits until the group is used again."""
        if destination not in self.destinations and len(self.destinations) < DESTINATIONS_MOST:
            self.destinations.add(destination)
            self.has_untold_destination = True

    def unblock(self) -> list[LaneState]:
        """All lanes that wait, to see anew what they may."""
        lanes = [state for states in self.blocked.values() for state in states]
        self.blocked.clear()
        return lanes

    def _share(self, organization_id: UUID, weight: int) -> int:
        others = self._weight - self._weights.get(organization_id, 0)
        return max(QUANTUM, max(self.buffer, self.slots) * weight // (others + weight))

    def ran_dry(self) -> None:
        """A connection had nothing to do: where there was more to claim, more is claimed ahead from now on."""
        if self.has_backlog:
            self.buffer = min(MOST_BUFFER, self.buffer * 2)

    def took(self, seconds: float) -> None:
        self.used_at = time.monotonic()
        self.pace_s += (seconds - self.pace_s) * (PACE_WEIGHT if self.pace_s else 1.0)
        waiting = self.waiting + (max(self.buffer, self.slots) if self.has_backlog else 0)  # at least
        is_behind = waiting * self.pace_s > DRAIN_S * self.slots
        self.concurrency.completed(self.used_at, connections=self.slots, pace_s=self.pace_s, is_behind=is_behind)

    def is_forgettable(self, now: float) -> bool:
        is_used = self.slots or self.waiting or self.blocked or self.throttle.is_suspended(now)
        remembered_s = TROUBLE_REMEMBERED_S if self.throttle.is_troubled else REMEMBERED_S
        return not is_used and now - self.used_at > remembered_s


class Channel:
    def __init__(self, group: Group, key: Hashable, deliverer: Deliverer, slots: Slots) -> None:
        self.group, self.key = group, key
        self.waiting: FairQueue[Envelope] = FairQueue()
        self.slots: set[asyncio.Task[None]] = set()
        self.is_starving = False
        self._deliverer, self._all = deliverer, slots
        self._by_message: dict[tuple[UUID, str], Envelope] = {}  # waiting, and with room for more recipients
        self._idle: list[asyncio.Future[Envelope | None]] = []
        self._opening = 0  # slots that have no connection yet
        self._busy_since: dict[asyncio.Task[None], float] = {}
        self._second_look: asyncio.TimerHandle | None = None
        self._is_closing = False

    def add(self, recipients: Iterable[Claimed], route: Route, weight: int) -> None:
        """Claimed recipients, those of one message and destination to be handed over together.

        Where they may unsubscribe from a stream each gets a link of its own, and so a transaction of its own.
        """
        for claimed in recipients:
            key = (claimed.message_id, claimed.destination)
            envelope = self._by_message.get(key)
            if envelope is None or claimed.stream or len(envelope.recipients) >= MOST_RECIPIENTS:
                envelope = Envelope(
                    claimed.message_id, claimed.domain_id, claimed.organization_id, claimed.destination, route, []
                )
                self._by_message[key] = envelope
                self.waiting.push(claimed.organization_id, envelope, weight)
            envelope.recipients.append(claimed)
        while self._idle and self.waiting:
            self._idle.pop().set_result(self._pop())
        self.open_slots()

    def try_again(self) -> None:
        self.is_starving = False
        self.open_slots()

    def open_slots(self) -> None:
        """As many as are worth it and allowed."""
        while self._wants_more() and self._all.take(self):
            self._opening += 1
            task = asyncio.create_task(self._work_off())
            self.slots.add(task)
            task.add_done_callback(self._slot_ended)
        if self.waiting and self._second_look is None and not self._is_closing:
            # What seemed quick may turn out to be slow.
            self._second_look = asyncio.get_running_loop().call_later(DRAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._second_look = None
        self.open_slots()

    def close(self) -> list[Claimed]:
        """Lets connections end when they have done what they are at; returns what was not begun."""
        self._is_closing = True
        if self._second_look:
            self._second_look.cancel()
        return self.empty()

    def empty(self) -> list[Claimed]:
        """Takes all that waits; idle connections end."""
        for future in self._idle:
            future.set_result(None)
        self._idle.clear()
        self._by_message.clear()
        recipients = [claimed for envelope in self.waiting.clear() for claimed in envelope.recipients]
        for claimed in recipients:
            self._deliverer.ears.released(self.group, claimed.organization_id, 1)
        return recipients

    def _wants_more(self) -> bool:
        unattended = len(self.waiting) - self._opening
        if unattended <= 0 or self._is_closing:
            return False
        if not self.slots:
            return True
        now = time.monotonic()
        longest = max((now - since for since in self._busy_since.values()), default=0.0)
        pace = max(self.group.pace_s, longest)
        return not self.group.pace_s or unattended * pace / len(self.slots) > DRAIN_S

    def _pop(self) -> Envelope:
        self.group.used_at = time.monotonic()
        envelope = self.waiting.pop()
        key = (envelope.message_id, envelope.destination)
        if self._by_message.get(key) is envelope:
            del self._by_message[key]
        self._deliverer.ears.released(self.group, envelope.organization_id, len(envelope.recipients))
        return envelope

    async def _work_off(self) -> None:
        """Takes one envelope after the other, over one connection as long as it lasts."""
        task = asyncio.current_task()
        assert task is not None
        conversation: Conversation | None = None
        served = 0
        try:
            while envelope := await self._next(conversation, is_first=not served):
                served += 1
                self._busy_since[task] = time.monotonic()
                started = time.monotonic()
                conversation = await self._deliverer.deliver(envelope, self, conversation)
                del self._busy_since[task]
                if conversation is not None:
                    self.group.took(time.monotonic() - started)
                if self.waiting:
                    self.open_slots()
                if self._all.should_yield(self, served):
                    break
        finally:
            self._busy_since.pop(task, None)
            if conversation is not None:
                self._deliverer.say_goodbye(conversation)

    async def _next(self, conversation: Conversation | None, *, is_first: bool) -> Envelope | None:
        if is_first:
            self._opening -= 1
        if self._is_closing or self.group.has_too_many():
            return None
        if self.waiting:
            return self._pop()
        if conversation is None:
            return None
        self.group.ran_dry()
        future: asyncio.Future[Envelope | None] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        timer = asyncio.get_running_loop().call_later(KEPT_IDLE_S, self._end_idle, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and (envelope := future.result()):
                self._deliverer.ears.give_back(envelope.recipients)
            raise
        finally:
            timer.cancel()

    def _end_idle(self, future: asyncio.Future[Envelope | None]) -> None:
        if not future.done():
            self._idle.remove(future)
            future.set_result(None)

    def _slot_ended(self, task: asyncio.Task[None]) -> None:
        self.slots.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("The work on a connection failed", exc_info=error)
        self._all.give(self)
        if self.waiting:
            self.open_slots()
