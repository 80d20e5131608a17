"""Group commit: whatever has queued while the last transaction ran goes into the next.

A message alone is committed at once; nobody waits on a timer. `commit` returns when the message, its content, its
recipients and their events are durable, or raises `Refused("temporarily_unavailable")` with nothing stored.

What waits is parcels: of one message, or of those of a batch request, which are stored together or not at all. A parcel is
never divided: the limits of a transaction say from where on no further parcel is taken into it, and a parcel beyond them is
committed all the same, if need be in a transaction of its own. A parcel with a message that PostgreSQL cannot take fails as a
whole and alone, with `Refused("internal_error")`.

Messages are counted in shares that each committer reserves for itself (`relay.submission.metering`). Parcels for which there
is none, near a limit, go to a committer of their own: it may wait for counters that another process holds, and nobody else
waits with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, DeadlockDetected

from accounts.catalogue import Refused
from relay.lanes import Lane
from relay.nudges import nudge
from relay.submission.accept import Accepted, Parcel
from relay.submission.metering import Account, Meter, Metered
from relay.submission.repeats import Receipt, recognise, release, tell_repeats, with_suppressed
from relay.submission.storing import PLANNING, Suppressed, is_large, store
from relay.vital import vital

logger = logging.getLogger(__name__)

COMMITTERS = 2  # one fills its transaction while the other waits for the disk
GIVE_BACK_S = 2
HELD_COUNTERS_S = 3  # by a process that stands still in the middle of a transaction; PostgreSQL ends that then
BATCH_MESSAGES = 200
BATCH_OCTETS = 32 * 1024 * 1024
COMMIT_TIMEOUT_S = 30
# Between looks at a key that another transaction holds; a second in all.
KEY_PAUSES_S = (0.005, 0.01, 0.02, 0.04, *[0.1] * 9)
SELDOM_S = 0.005  # between one commit and the next
TAKEN_BACK = (CheckViolation, DeadlockDetected)  # a share by another process, or one of those being taken
UNFIT = (psycopg.DataError, ValueError)  # a value that PostgreSQL or psycopg cannot take

_Waiting = tuple[Parcel, "asyncio.Future[Receipt | None]"]  # None: its key is in other hands


class Wakers(Protocol):
    """Word to the workers (`relay.submission.wake_up`). Neither call may block."""

    def is_awake(self, lane: Lane) -> bool:
        """Whether a nudge reaches it."""

    def send(self, lanes: set[Lane]) -> set[Lane]:
        """Wakes those that are asleep; returns the others, to be nudged."""


class Intake:
    """`wakers` is told the lanes of each committed batch."""

    def __init__(self, database_url: str, wakers: Wakers) -> None:
        self._database_url = database_url
        self._wakers = wakers
        self._at_work = 0  # committers
        self._committed_at = 0.0
        self._is_stopping = False
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._near_limits: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._committers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        queues = [self._waiting] * COMMITTERS + [self._near_limits]
        self._committers = [vital(self._committer(queue)) for queue in queues]

    async def stop(self) -> None:
        """Commits what waits, then ends."""
        self._is_stopping = True
        await self._waiting.join()
        await self._near_limits.join()
        for task in self._committers:
            task.cancel()
        await asyncio.gather(*self._committers, return_exceptions=True)

    def commit(self, accepted: Accepted) -> Coroutine[Any, Any, Receipt]:
        return self.commit_together(Parcel((accepted,), accepted.once))

    async def commit_together(self, parcel: Parcel) -> Receipt:
        """Raises `Refused`, with nothing stored and no key taken.

        While another transaction holds the parcel's key it waits here, and in nobody's way, for about a second.
        """
        loop = asyncio.get_running_loop()
        for pause_s in KEY_PAUSES_S:
            done: asyncio.Future[Receipt | None] = loop.create_future()
            self._waiting.put_nowait((parcel, done))
            receipt = await done
            if receipt is not None:
                return receipt
            await asyncio.sleep(pause_s)
            if self._is_stopping:
                break
        assert parcel.once
        raise Refused("concurrent_idempotent_requests", key=parcel.once.key)

    async def _committer(self, queue: asyncio.Queue[_Waiting]) -> None:
        connection: AsyncConnection | None = None
        meter, may_wait = Meter(), queue is self._near_limits
        try:
            while True:
                batch = await _next_batch(queue)
                self._at_work += 1
                try:
                    async with asyncio.timeout(COMMIT_TIMEOUT_S):
                        if connection is None or connection.closed:
                            connection = await self._connect()
                        await self._commit_batch(connection, meter, batch, may_wait=may_wait)
                except (psycopg.Error, OSError, TimeoutError) as error:
                    logger.error("Could not commit %d submissions: %s", len(batch), error)
                    _fail(batch, "temporarily_unavailable")
                    await _discard(connection)
                    connection = None
                    meter.forget_all()  # nobody knows what was stored
                finally:
                    self._at_work -= 1
                    for _ in batch:
                        queue.task_done()
        finally:
            if connection is not None and not connection.closed:
                with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
                    async with asyncio.timeout(GIVE_BACK_S):
                        await meter.give_back(connection)
            await _discard(connection)

    async def _connect(self) -> AsyncConnection:
        connection = await AsyncConnection.connect(self._database_url, connect_timeout=5, autocommit=True)
        await connection.execute(f"SET idle_in_transaction_session_timeout = '{HELD_COUNTERS_S}s'")
        for setting in PLANNING:
            await connection.execute(f"SET {setting}")
        return connection

    async def _commit_batch(
        self, connection: AsyncConnection, meter: Meter, batch: list[_Waiting], *, may_wait: bool
    ) -> None:
        metered = [meter.metered(parcel) for parcel, _ in batch]
        short = await meter.reserve(connection, metered)
        if short and not may_wait:
            batch, metered = self._hand_on(batch, metered, short)
            short = set()
            if not batch:
                return
        nudged = self._nudged_at_once(batch)
        try:
            try:
                answers = await _write(connection, meter, metered, short, nudged)
            except TAKEN_BACK:
                meter.forget(metered)
                if not may_wait:
                    self._hand_on(batch, metered, {account for one in metered for account in one.accounts})
                    return
                answers = await _write(
                    connection, meter, metered, {account for one in metered for account in one.accounts}, nudged
                )
        except UNFIT:
            # One parcel that PostgreSQL will not take must not fail its neighbours.
            if len(batch) == 1:
                parcel = batch[0][0]
                logger.exception("Could not commit %d messages from %s on", len(parcel.messages), parcel.id)
                _fail(batch, "internal_error")
                return
            for single in batch:
                await self._commit_batch(connection, meter, [single], may_wait=may_wait)
            return
        self._committed_at = time.monotonic()
        _answer(batch, answers)
        new = [parcel for parcel, _ in batch if _is_new(answers[parcel.id])]
        lanes = {lane for parcel in new for accepted in parcel.messages for lane in accepted.lanes()} - {nudged}
        if lanes:
            await nudge(connection, self._wakers.send(lanes))

    def _hand_on(
        self, batch: list[_Waiting], metered: list[Metered], short: set[Account]
    ) -> tuple[list[_Waiting], list[Metered]]:
        """Leaves what is counted in these accounts to the committer that may wait. Returns the rest."""
        rest = []
        for waiting, one in zip(batch, metered, strict=True):
            if short.isdisjoint(one.accounts):
                rest.append((waiting, one))
            else:
                self._near_limits.put_nowait(waiting)
        return [waiting for waiting, _ in rest], [one for _, one in rest]

    def _nudged_at_once(self, batch: list[_Waiting]) -> Lane | None:
        """The lane that the storing statement itself may nudge, which saves a turn with the server.

        Only where messages come now and then: transactions that notify wait for each other (PostgreSQL's `async.c`), and
        while this one takes its two turns others gather for the next.
        """
        is_alone = self._at_work == 1 and time.monotonic() - self._committed_at > SELDOM_S
        if not is_alone or len(batch) > 1 or len(batch[0][0].messages) > 1 or batch[0][0].once:
            return None
        lanes = batch[0][0].messages[0].lanes()
        return next((lane for lane in lanes if len(lanes) == 1 and self._wakers.is_awake(lane)), None)


async def _next_batch(queue: asyncio.Queue[_Waiting]) -> list[_Waiting]:
    batch = [await queue.get()]
    messages, octets = len(batch[0][0].messages), batch[0][0].octets
    while not queue.empty() and messages < BATCH_MESSAGES and octets < BATCH_OCTETS:
        batch.append(queue.get_nowait())
        messages += len(batch[-1][0].messages)
        octets += batch[-1][0].octets
    return batch


async def _write(
    connection: AsyncConnection, meter: Meter, batch: list[Metered], short: set[Account], nudged: Lane | None
) -> dict[UUID, Receipt | Refused | None]:
    """One transaction. Returns the answer to each parcel, by its id; those that are new are stored.

    `short`: what cannot be counted in the meter's shares. Raises TAKEN_BACK, with nothing stored, where those are gone.
    """
    answers: dict[UUID, Receipt | Refused | None] = {}
    suppressed: Suppressed
    new = batch
    async with connection.cursor() as cursor:
        if short or any(one.parcel.once for one in batch):
            async with connection.transaction():
                answers = await recognise(cursor, [one.parcel for one in batch])
                new = [one for one in batch if one.parcel.id not in answers]
                if over := await meter.take(cursor, new, short):
                    await release(cursor, [one.parcel for one in new if one.parcel.id in over])
                    answers |= {parcel_id: _or_refused(answer, over) for parcel_id, answer in answers.items()} | over
                    new = [one for one in new if one.parcel.id not in over]
                suppressed = await store(cursor, _messages(new), meter.rows(new, short))
                told = _told([one.parcel for one in new], suppressed)
                await tell_repeats(cursor, told)
                answers |= {
                    parcel_id: replace(answer, answer=told[answer.message_id])
                    for parcel_id, answer in answers.items()
                    if isinstance(answer, Receipt) and answer.message_id in told  # a repeat in the same batch
                }
        elif is_large(messages := _messages(batch)):
            async with connection.transaction():
                suppressed = await store(cursor, messages, meter.rows(batch, short), nudged)
            told = _told([one.parcel for one in new], suppressed)
        else:  # one statement, which is a transaction by itself
            suppressed = await store(cursor, messages, meter.rows(batch, short), nudged)
            told = _told([one.parcel for one in new], suppressed)
    meter.spend(new, short)
    return {
        one.parcel.id: answers.get(one.parcel.id, Receipt(one.parcel.id, answer=told.get(one.parcel.id)))
        for one in batch
    }


def _is_new(answer: Receipt | Refused | None) -> bool:
    return isinstance(answer, Receipt) and not answer.is_repeat


def _told(parcels: Iterable[Parcel], suppressed: Suppressed) -> dict[UUID, Any]:
    """By parcel: what is told of its recipients that are suppressed, where there are such."""
    if not suppressed:
        return {}
    told = {}
    for parcel in parcels:
        of_parcel = {message.id: suppressed[message.id] for message in parcel.messages if message.id in suppressed}
        if of_parcel:
            told[parcel.id] = with_suppressed(parcel.answer, of_parcel)
    return told


def _or_refused(answer: Receipt | Refused | None, over: Mapping[UUID, Refused]) -> Receipt | Refused | None:
    """To a repeat of a parcel of the same batch that is over a limit, and so is not stored."""
    return over.get(answer.message_id, answer) if isinstance(answer, Receipt) else answer


def _messages(batch: Iterable[Metered]) -> list[Accepted]:
    return [message for one in batch for message in one.parcel.messages]


def _answer(batch: list[_Waiting], answers: Mapping[UUID, Receipt | Refused | None]) -> None:
    for parcel, done in batch:
        answer = answers[parcel.id]
        if done.done():  # the client has gone
            continue
        if isinstance(answer, Refused):
            done.set_exception(answer)
        else:
            done.set_result(answer)


def _fail(batch: list[_Waiting], code: str) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(Refused(code))


async def _discard(connection: AsyncConnection | None) -> None:
    if connection is not None:
        with contextlib.suppress(psycopg.Error, OSError):
            await connection.close()
