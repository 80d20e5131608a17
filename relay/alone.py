"""Work that one process at a time does, of however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

EXPORTING = 7211  # a PostgreSQL advisory lock; others' numbers stand with their work


@contextmanager
def alone(lock: int) -> Iterator[bool]:
    """Whether no other process is at it. Held by the connection: it ends with the process."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock])
        is_ours = bool(cursor.fetchone()[0])
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])
