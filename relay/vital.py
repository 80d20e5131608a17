"""Tasks without which a process is of no use: when one fails, the process ends, and its supervisor starts it anew."""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


def vital(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Runs `work` as a task that must not fail."""
    task = asyncio.create_task(work)
    task.add_done_callback(_end_process_if_failed)
    return task


def _end_process_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.critical("A vital task failed; this process ends", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
