"""Work that takes seconds: one piece at a time in each process, so that wake-ups never find all of Celery's threads taken, and
where it must be, one in all processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from uuid import UUID

from django.db import connection

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
