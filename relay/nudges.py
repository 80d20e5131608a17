"""Nudges: word from the committers to engines that already work on a lane, by PostgreSQL's NOTIFY.

A Celery wake-up starts work on a lane. While that work is young, further mail in the lane needs no task of its own (which
would cost more than all the rest of the message's way): a nudge tells the engine to look once more. Nobody depends on it:
what a nudge does not reach, the next look at the queue finds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any

from psycopg import AsyncConnection

from relay.lanes import Lane

CHANNEL = "plugsend_due"
MOST_OCTETS = 7000  # a payload holds 8000

NUDGE = "SELECT pg_notify(%s, %s)"  # takes what `nudge_terms` gives


def nudge_terms(lane: Lane) -> tuple[str, str]:
    return CHANNEL, str(lane)


async def nudge(connection: AsyncConnection[Any], lanes: Iterable[Lane]) -> None:
    """A statement of its own, after the commit: a transaction that notifies would hold up others that do."""
    payload = ""
    for name in map(str, lanes):
        if len(payload) + len(name) >= MOST_OCTETS:
            await connection.execute(NUDGE, (CHANNEL, payload))
            payload = ""
        payload = f"{payload} {name}" if payload else name
    if payload:
        await connection.execute(NUDGE, (CHANNEL, payload))


async def nudges(database_url: str) -> AsyncGenerator[list[Lane]]:
    """The lanes of each nudge, for as long as the connection lasts. Raises what psycopg raises when it ends."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        async for notification in connection.notifies():
            yield [Lane.parse(name) for name in notification.payload.split()]
