"""The engine of a Celery worker process: its loop runs in a thread, tasks only hand over."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable

from django.conf import settings

from relay.database import database_url
from relay.delivery.engine import Engine
from relay.lanes import Lane
from relay.loops import new_loop

# So long Celery's threads may keep the interpreter from the engine's. CPython's own 5 ms showed in the latency's p99.
SWITCH_S = 0.0005


class EngineThread:
    def __init__(self, url: str) -> None:
        sys.setswitchinterval(SWITCH_S)
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()
        self.engine = asyncio.run_coroutine_threadsafe(_start(url), self._loop).result()

    def wake(self, lanes: Iterable[Lane]) -> None:
        self._loop.call_soon_threadsafe(self.engine.wake, list(lanes))

    def look(self) -> None:
        asyncio.run_coroutine_threadsafe(self.engine.look(), self._loop)

    def stop(self) -> None:
        drain_s = settings.WORKER_DRAIN_SECONDS
        asyncio.run_coroutine_threadsafe(self.engine.stop(drain_s), self._loop).result(drain_s + 5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)


_lock = threading.RLock()  # the handler of a signal may find its own thread within
_current: EngineThread | None = None
_is_ending = False


def engine() -> EngineThread | None:
    """This process's engine, started at first use; None once it is to end: tasks may run yet, and nothing more is begun."""
    global _current
    with _lock:
        if _current is None and not _is_ending:
            _current = EngineThread(database_url())
            if _is_ending:  # a signal came meanwhile
                stop_engine()
        return _current


def stop_engine() -> None:
    """For good."""
    global _current, _is_ending
    _is_ending = True
    with _lock:
        current, _current = _current, None
    if current:
        current.stop()


async def _start(url: str) -> Engine:
    started = Engine(url)
    await started.start()
    return started
