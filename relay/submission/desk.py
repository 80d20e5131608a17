"""The desk behind both doors: directory, accept, intake and wake-ups on one event loop.

The SMTP process opens a desk on its own loop. Processes without a loop (web, Celery, commands) share one that runs in a
thread: `shared_desk()`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.catalogue import Refused
from accounts.credentials import Credential
from relay.database import database_url
from relay.submission.accept import DomainFact, Draft, Limits, Submission, accept, examine
from relay.submission.content import ContentLimits
from relay.submission.directory import Directory
from relay.submission.filling import with_template
from relay.submission.intake import Intake, Receipt
from relay.submission.options import TemplateCall
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
        # Threads of their own, so that what waits for a press delays nothing else.
        self._fillers = ThreadPoolExecutor(PRESSES, thread_name_prefix="templates")

    async def open(self) -> None:
        await self._pool.open()
        self._intake.start()

    async def close(self) -> None:
        await self._intake.stop()
        await self._pool.close()
        self._fillers.shutdown(wait=False)
        await asyncio.to_thread(self._wake_ups.stop)

    async def smtp_credential(self, user_name: str, digest: bytes) -> Credential | None:
        return await _or_unavailable(self._directory.smtp_credential(user_name, digest))

    async def api_credential(self, secret: str) -> Credential | None:
        return await _or_unavailable(self._directory.api_credential(secret))

    async def system_credential(self) -> Credential | None:
        return await _or_unavailable(self._directory.system_credential())

    async def sending_domain(self, credential: Credential, name: str) -> DomainFact | None:
        return await _or_unavailable(self._directory.sending_domain(credential.organization_id, name))

    async def template(self, credential: Credential, reference: str) -> StoredVersion:
        """What is published of one of the organization's templates. Raises `Refused`."""
        return await _or_unavailable(self._directory.template(credential.organization_id, reference))

    async def submit(self, submission: Submission) -> Receipt:
        """Durable when it returns. Raises `Refused`, with nothing stored."""
        draft = examine(submission, self.limits)
        if draft.options.template:
            draft = await self._filled_in(draft, draft.options.template)
        facts = {name: await self.sending_domain(submission.credential, name) for name in draft.sender_domains}
        accepted = accept(draft, facts, hostname=settings.HOSTNAME)
        return await self._intake.commit(accepted)

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
    """A desk on a loop in a thread, for callers that block."""

    def __init__(self, database_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="desk", daemon=True).start()
        self._desk = self._run(_open_desk(database_url))

    def submit(self, submission: Submission) -> Receipt:
        return self._run(self._desk.submit(submission))

    def api_credential(self, secret: str) -> Credential | None:
        return self._run(self._desk.api_credential(secret))

    def template(self, credential: Credential, reference: str) -> StoredVersion:
        return self._run(self._desk.template(credential, reference))

    def system_credential(self) -> Credential | None:
        return self._run(self._desk.system_credential())

    def close(self) -> None:
        self._run(self._desk.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
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
_shared: tuple[int, str, ThreadedDesk] | None = None


def shared_desk() -> ThreadedDesk:
    """This process's desk, opened at first use (a forked child opens its own)."""
    global _shared
    url = database_url()
    with _lock:
        if _shared is None or _shared[:2] != (os.getpid(), url):
            _shared = (os.getpid(), url, ThreadedDesk(url))
        return _shared[2]
