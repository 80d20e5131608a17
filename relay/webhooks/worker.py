"""The sender of a Celery worker process: it has a thread of its own while there are endpoints; tasks only start it."""

from __future__ import annotations

import asyncio
import logging
import threading
from uuid import UUID

from relay.loops import new_loop
from relay.webhooks.sender import DRAIN_S, Sender, is_wanted

logger = logging.getLogger(__name__)

_lock = threading.RLock()  # the handler of a signal may find its own thread within
_current: SenderThread | None = None
_is_ending = False


class SenderThread:
    def __init__(self) -> None:
        self._loop = new_loop()
        self._sender: Sender | None = None
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        if self._sender and self.is_running:
            self._loop.call_soon_threadsafe(self._sender.stop)
        self._thread.join(DRAIN_S + 2)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        except Exception:  # the database is away, say: the next task starts another
            logger.exception("Sending webhooks was interrupted")
        finally:
            self._loop.close()

    async def _work(self) -> None:
        self._sender = Sender()
        await self._sender.run()


def ensure_running() -> None:
    """Costs a look where there is no endpoint."""
    global _current
    with _lock:
        if _is_ending or (_current and _current.is_running) or not is_wanted():
            return
        _current = SenderThread()


def stop() -> None:
    """For good."""
    global _is_ending
    _is_ending = True
    with _lock:
        if _current:
            _current.stop()


def send_due(top: UUID | None = None) -> None:
    """Hands out and sends all that is due now, in this thread, and waits for the answers. `top`: of `hand_out_next`."""
    asyncio.run(_drain(top))


async def _drain(top: UUID | None) -> None:
    await Sender().drain(top)
