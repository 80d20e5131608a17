"""The desk behind both doors: directory, accept, intake and wake-ups on one event loop.

The SMTP process opens a desk on its own loop, and so does the web process (`open_desk_for_all`). Threads use their process's
desk through `shared_desk()`: where none is open yet (Celery, commands), on a loop that runs in a thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.rest.rates import LoopLimiter, shared_limiter
from relay.database import database_url
from relay.loops import new_loop
from relay.submission.accept import Accepted, DomainFact, Draft, Limits, Parcel, Submission, accept, examine
from relay.submission.content import ContentLimits
from relay.submission.directory import Directory
from relay.submission.filling import with_template
from relay.submission.intake import Intake
from relay.submission.key_uses import KeyUses
from relay.submission.once import Once
from relay.submission.options import TemplateCall
from relay.submission.pace import Pace
from relay.submission.repeats import Receipt, first_answer
from relay.submission.wake_up import WakeUps
from relay.templating.press import PRESSES
from relay.templating.published import StoredVersion

T = TypeVar("T")
SUBMIT_TIMEOUT_S = 60


class Desk:
    """Where submissions are taken. Open, use and close it on one event loop."""

    def __init__(self, database_url: str) -> None:
        self.limits = Limits(
            message_octets=settings.MESSAGE_SIZE_LIMIT,
            recipients=settings.RECIPIENTS_LIMIT,
            content=ContentLimits(
                header_fields=settings.MESSAGE_HEADERS_LIMIT,
                header_octets=settings.MESSAGE_HEADER_OCTETS,
                mime_depth=settings.MIME_DEPTH_LIMIT,
                mime_parts=settings.MIME_PARTS_LIMIT,
            ),
        )
        self._wake_ups = WakeUps()
        self._pool = AsyncConnectionPool(database_url, min_size=1, max_size=4, timeout=5, open=False,
                                         kwargs={"autocommit": True})  # fmt: skip
        self._directory = Directory(self._pool)
        self._intake = Intake(database_url, self._wake_ups)
        self._key_uses = KeyUses(self._pool)
        self._limiter = LoopLimiter(settings.REDIS_URL, shared_limiter())
        self._pace = Pace(self._limiter)
        # Threads of their own, so that what waits for a press delays nothing else.
        self._fillers = ThreadPoolExecutor(PRESSES, thread_name_prefix="templates")

    async def open(self) -> None:
        await self._pool.open()
        self._intake.start()

    async def close(self) -> None:
        await self._intake.stop()
        await self._key_uses.stop()
        await self._pool.close()
        await self._limiter.close()
        self._fillers.shutdown(wait=False)
        await asyncio.to_thread(self._wake_ups.stop)

    async def smtp_credential(self, user_name: str, digest: bytes) -> Credential | None:
        return await _or_unavailable(self._directory.smtp_credential(user_name, digest))

    async def api_credential(self, secret: str) -> Credential | None:
        return await _or_unavailable(self._directory.api_credential(secret))

    def known_api_credential(self, secret: str) -> Credential | None:
        """What was looked up a moment ago. May be asked from any thread."""
        return self._directory.known_api_credential(secret)

    def note_use(self, credential: Credential, client: str) -> None:
        """Its key was let in just now."""
        self._key_uses.note(credential.api_key_id, client)

    def is_use_due(self, credential: Credential) -> bool:
        """Whether noting it would tell anything new. May be asked from any thread."""
        return self._key_uses.is_due(credential.api_key_id)

    async def system_credential(self) -> Credential | None:
        return await _or_unavailable(self._directory.system_credential())

    async def sending_domain(self, credential: Credential, name: str) -> DomainFact | None:
        return await _or_unavailable(self._directory.sending_domain(credential.organization_id, name))

    async def template(self, credential: Credential, reference: str) -> StoredVersion:
        """What is published of one of the organization's templates. Raises `Refused`."""
        return await _or_unavailable(self._directory.template(credential.organization_id, reference))

    async def submit(self, submission: Submission) -> Receipt:
        """Durable when it returns. Raises `Refused`, with nothing stored.

        A repeat gets the first answer even where it would be refused by now: its domain has lost a record since, say.
        """
        return await self.submit_draft(examine(submission, self.limits))

    async def submit_draft(self, draft: Draft) -> Receipt:
        """The same for what has been examined, perhaps in another thread, with these limits."""
        try:
            accepted = await self._accept(draft)
        except Refused:
            receipt = await self.first_answer(draft.submission.credential, draft.once) if draft.once else None
            if receipt is None:
                raise
            return receipt
        return await self._intake.commit(accepted)

    async def prepare(self, draft: Draft, facts: dict[str, DomainFact | None]) -> Accepted:
        """For `submit_together`. `facts`: what was looked up for the others of the parcel; grows. Raises `Refused`."""
        for name in draft.senders.keys() - facts.keys():
            facts[name] = await self.sending_domain(draft.submission.credential, name)
        return accept(draft, facts, hostname=settings.HOSTNAME)

    async def submit_together(self, parcel: Parcel) -> Receipt:
        """All messages are durable when it returns. Raises `Refused`, with nothing stored."""
        credential = parcel.messages[0].submission.credential
        try:
            await self._pace.check(credential, len(parcel.messages))
        except Refused:
            receipt = await self.first_answer(credential, parcel.once) if parcel.once else None
            if receipt is None:
                raise
            return receipt
        return await self._intake.commit_together(parcel)

    async def first_answer(self, credential: Credential, once: Once) -> Receipt | None:
        """The answer that this very submission was given in the last 24 h, if it was."""
        return await _or_unavailable(self._first_answer(credential.organization_id, once))

    async def _first_answer(self, organization_id: UUID, once: Once) -> Receipt | None:
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            return await first_answer(cursor, organization_id, once)

    async def _accept(self, draft: Draft) -> Accepted:
        credential = draft.submission.credential
        if draft.options.template:
            draft = await self._filled_in(draft, draft.options.template)
        facts = {name: await self.sending_domain(credential, name) for name in draft.senders}
        accepted = accept(draft, facts, hostname=settings.HOSTNAME)
        await self._pace.check(credential)
        return accepted

    async def _filled_in(self, draft: Draft, call: TemplateCall) -> Draft:
        version = await self.template(draft.submission.credential, call.reference)
        loop = asyncio.get_running_loop()
        filled = await loop.run_in_executor(self._fillers, version.fill_in, call.variables)
        return with_template(draft, filled, self.limits)


async def _or_unavailable(look_up: Coroutine[Any, Any, T]) -> T:
    """A database that is away is a refusal with its own code, not an accident."""
    try:
        return await look_up
    except (psycopg.Error, PoolTimeout, OSError) as error:
        raise Refused("temporarily_unavailable") from error


class ThreadedDesk:
    """A desk for callers that block, on a loop in another thread."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        """`thread_id`: of the thread in which the loop runs."""
        self._desk, self._loop, self._thread_id = desk, loop, thread_id

    @classmethod
    def open(cls, database_url: str) -> ThreadedDesk:
        """On a loop of its own."""
        loop = new_loop()
        thread = threading.Thread(target=loop.run_forever, name="desk", daemon=True)
        thread.start()
        desk = asyncio.run_coroutine_threadsafe(_open_desk(database_url), loop).result(SUBMIT_TIMEOUT_S)
        assert thread.ident
        return cls(desk, loop, thread.ident)

    def submit(self, submission: Submission) -> Receipt:
        return self._run(self._desk.submit(submission))

    def api_credential(self, secret: str) -> Credential | None:
        return self._desk.known_api_credential(secret) or self._run(self._desk.api_credential(secret))

    def note_use(self, credential: Credential, client: str) -> None:
        if self._desk.is_use_due(credential):
            self._loop.call_soon_threadsafe(self._desk.note_use, credential, client)

    def template(self, credential: Credential, reference: str) -> StoredVersion:
        return self._run(self._desk.template(credential, reference))

    def system_credential(self) -> Credential | None:
        return self._run(self._desk.system_credential())

    def close(self) -> None:
        """Of one that was opened on a loop of its own."""
        self._run(self._desk.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def run(self, use: Callable[[Desk], Coroutine[Any, Any, T]]) -> T:
        """What `use` does with the desk on its loop."""
        return self._run(use(self._desk))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if threading.get_ident() == self._thread_id:
            coroutine.close()
            raise RuntimeError("The desk's own loop would wait for itself.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(SUBMIT_TIMEOUT_S)
        except TimeoutError:
            future.cancel()
            raise Refused("temporarily_unavailable") from None


async def _open_desk(database_url: str) -> Desk:
    desk = Desk(database_url)
    await desk.open()
    return desk


_lock = threading.Lock()
_shared: tuple[int, str, ThreadedDesk] | None = None  # of which process, for which database


def shared_desk() -> ThreadedDesk:
    """This process's desk, opened at first use (a forked child opens its own)."""
    global _shared
    process, database = _place()
    with _lock:
        if _shared is None or _shared[:2] != (process, database):
            _shared = (process, database, ThreadedDesk.open(database_url()))
        return _shared[2]


async def open_desk_for_all() -> Desk:
    """Opens this process's desk on the running loop; its threads get the same one from `shared_desk`."""
    global _shared
    desk = await _open_desk(database_url())
    with _lock:
        _shared = (*_place(), ThreadedDesk(desk, asyncio.get_running_loop(), threading.get_ident()))
    return desk


def _place() -> tuple[int, str]:
    return os.getpid(), connection.settings_dict["NAME"]
