"""Work that takes seconds: one piece at a time in each process, so that wake-ups never find all of Celery's threads taken, and
where it must be, one in all processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TypeVar
from uuid import UUID

from django.db import connection

Job = TypeVar("Job")
TURN_S = 2.0  # of one job, where several want theirs
NOBODY = UUID(int=0)
LONG_WORK = threading.Lock()  # that may wait, such as forgetting and erasing


def in_turn(turn: threading.Lock) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Does nothing while something else has the turn; beat calls again."""

    def decorate(work: Callable[[], None]) -> Callable[[], None]:
        @wraps(work)
        def guarded() -> None:
            if turn.acquire(blocking=False):
                try:
                    work()
                finally:
                    turn.release()

        return guarded

    return decorate


@contextmanager
def alone(lock: int, organization_id: UUID = NOBODY) -> Iterator[bool]:
    """Whether no other process has this lock. Held by the connection: it ends with the process."""
    key = [lock, organization_id.int % 2**31]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
        is_ours = bool(cursor.fetchone()[0])
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def work_off(
    lock: int, seconds: float, next_job: Callable[[], Job | None], take_turn: Callable[[Job, float], None]
) -> bool:
    """Jobs that customers asked for, a turn each in all processes together, for so long at most. `take_turn` is told until when
    (monotonic). Returns whether something is left to do."""
    until = time.monotonic() + seconds
    with alone(lock) as is_alone:
        if not is_alone:
            return False  # who is at it goes on by itself
        while time.monotonic() < until:
            job = next_job()
            if job is None:
                return False
            take_turn(job, min(until, time.monotonic() + TURN_S))
        return next_job() is not None
