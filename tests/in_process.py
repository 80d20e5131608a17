"""An SMTP door in this process, in a thread, on the test run's own engines: for what a test must reach into."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from relay.database import database_url
from relay.submission.desk import Desk
from relay.submission.login_guard import GuardLimits, LoginGuard
from relay.submission.smtp import Listening, serve_submission
from relay.submission.smtp_limits import SessionLimits
from relay.submission.smtp_reception import Reception
from relay.submission.smtp_tls import Certificate
from tests.free_port import free_port


@dataclass(frozen=True)
class Door:
    port: int
    tls_port: int
    reception: Reception
    loop: asyncio.AbstractEventLoop


@contextmanager
def running_door(
    certificate: Certificate,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    limits: SessionLimits | None = None,
    drain_s: float = 1.0,
) -> Iterator[Door]:
    loop = new_loop()
    with ExitStack() as stack:
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)

        async def open_door() -> tuple[Desk, Reception, list[asyncio.Server]]:
            desk = Desk(database_url())
            await desk.open()
            guard = LoginGuard(settings.REDIS_URL, GuardLimits())
            reception = Reception(
                desk, hostname="mail.here.test", certificate=certificate, limits=limits or SessionLimits(), guard=guard,
                spool=Path("/tmp"),
            )  # fmt: skip
            reception.open()
            ports = [Listening(port), Listening(tls_port, is_encrypted=True)]
            return desk, reception, await serve_submission(reception, "127.0.0.1", ports)

        async def close_door() -> None:
            for server in servers:
                server.close()
            await reception.close(drain_s)
            await desk.close()

        port, tls_port = free_port(), free_port()
        desk, reception, servers = asyncio.run_coroutine_threadsafe(open_door(), loop).result(20)
        try:
            yield Door(port, tls_port, reception, loop)
        finally:
            asyncio.run_coroutine_threadsafe(close_door(), loop).result(20)
