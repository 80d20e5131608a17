"""A worker that has grown too large ends in good order; whoever supervises it starts another.

Celery's own limit, `worker_max_memory_per_child`, is for pools of processes; ours is one of threads.
"""

import logging
import os
import signal
from pathlib import Path
from typing import Any

from celery import bootsteps
from django.conf import settings

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


class MemoryLimit(bootsteps.StartStopStep):
    """Once over the limit the worker gets a SIGTERM: it takes no more, finishes what it has in hand, ends."""

    requires = {"celery.worker.components:Timer"}

    def __init__(self, worker: Any, **options: Any) -> None:
        self._limit_mib = settings.WORKER_MEMORY_MIB
        self._entry: Any = None
        super().__init__(worker, **options)

    def start(self, worker: Any) -> None:
        if resident_mib() is not None:
            self._entry = worker.timer.call_repeatedly(LOOK_EVERY_S, self._look)

    def stop(self, worker: Any) -> None:
        if self._entry is not None:
            self._entry.cancel()

    def _look(self) -> None:
        resident = resident_mib() or 0
        if resident > self._limit_mib:
            logger.warning(
                "This worker holds %d MiB, more than WORKER_MEMORY_MIB=%d: it ends, for another to be started",
                resident,
                self._limit_mib,
            )
            self._entry.cancel()
            os.kill(os.getpid(), signal.SIGTERM)


def resident_mib() -> int | None:
    """What this process holds in memory, shared pages too (proc(5), statm); None where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20
