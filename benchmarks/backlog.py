"""What a claim costs beside a backlog: ten thousand and a million open recipients, in a database of its own.

    python -m benchmarks.backlog [--rows 10000,1000000]

Most of the rows belong to one organization and one dead destination; the claims measured are those of another lane, of a
hundred lanes at once, of the backlog's own lane while it is worked off, and the look at all open lanes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from plugsend.engines import scratch

LANES = 1000  # small ones, beside the one with the backlog
ROUNDS = 200


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--rows", default="10000,1000000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plugsend-backlog-") as var, scratch() as engines:
        os.environ |= {"PLUGSEND_VAR": var, "DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url}
        os.environ["DJANGO_SETTINGS_MODULE"] = "plugsend.settings"
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True)
        import django

        django.setup()
        from events.partitions import ensure_partitions

        ensure_partitions()
        print(
            "| open rows | another lane, 1 row | 100 lanes, 1 row each | the backlog's lane, 50 rows | look at all lanes |"
        )
        print("|---|---|---|---|---|")
        loaded = 0
        for rows in map(int, options.rows.split(",")):
            load(rows - loaded, with_lanes=not loaded)
            loaded = rows
            print(asyncio.run(measure(rows)), flush=True)


def load(rows: int, *, with_lanes: bool) -> None:
    """`rows` for the dead destination; with `with_lanes` also `ROUNDS` for each small lane."""
    from django.db import connection

    with connection.cursor() as cursor:
        insert(cursor, rows, "'dead.test'", BIG)
        if with_lanes:
            insert(cursor, LANES * 10, f"'d' || mod(n, {LANES}) || '.test'", SMALL)
        cursor.execute("ANALYZE relay_recipient")


BIG, SMALL = UUID(int=1), UUID(int=2)


def insert(cursor: Any, rows: int, destination: str, organization_id: UUID) -> None:
    """Recipients with a message each, ids of this very moment, so that they lie in today's partition."""
    milliseconds = int(time.time() * 1000)
    cursor.execute(
        f"""
        WITH ids AS (
            SELECT n, (lpad(to_hex({milliseconds} + n / 1000), 12, '0') || '7' || substr(md5(n::text || %s), 1, 3)
                       || '8' || substr(md5(n::text || %s), 4, 15))::uuid AS id
            FROM generate_series(1, %s) n),
        messages AS (
            INSERT INTO relay_message (id, organization_id, domain_id, door, envelope_sender, header_from, subject,
                                       message_id_header, size_bytes, recipient_count, tags, metadata, submitted_at)
            SELECT id, %s, %s, 'smtp', 'a@b.test', 'a@b.test', '', '', 2000, 1, '{{}}', '{{}}', now() FROM ids)
        INSERT INTO relay_recipient (id, message_id, organization_id, address, destination, state, attempts, next_attempt_at,
                                     expires_at, reason, last_reply, state_at)
        SELECT id, id, %s, 'r' || n || '@' || {destination}, {destination}, 'submitted', 0, now(), now() + interval '3 days',
               '', '', now()
        FROM ids
        """,
        [str(organization_id), destination, rows, organization_id, organization_id, organization_id],
    )


async def measure(rows: int) -> str:
    from psycopg import AsyncConnection

    from accounts.ids import uuid7
    from relay.database import database_url
    from relay.delivery.queue import PLANNING, Queue
    from relay.lanes import Lane

    queue = Queue(uuid7(), timedelta(minutes=10))
    async with await AsyncConnection.connect(database_url(), autocommit=True, options=PLANNING) as connection:

        async def claim(lanes: dict[Lane, int]) -> None:
            claimed = (await queue.claim(connection, lanes)).recipients
            assert claimed, "nothing was due"
            await queue.release(connection, claimed)

        async def claim_backlog() -> None:
            assert len((await queue.claim(connection, {Lane(BIG, "dead.test"): 50})).recipients) == 50

        async def look() -> None:
            assert len(await queue.open_lanes(connection, timedelta(0))) == LANES + 1

        numbers = iter(range(10**9))
        one = await timed(lambda: claim({Lane(SMALL, f"d{next(numbers) % LANES}.test"): 1}), ROUNDS)
        many = await timed(lambda: claim({Lane(SMALL, f"d{n}.test"): 1 for n in range(100)}), ROUNDS // 4)
        own = await timed(claim_backlog, min(ROUNDS, rows // 100))
        looks = await timed(look, 10)
    return f"| {rows:,} | {one} | {many} | {own} | {looks} |"


async def timed(work: Callable[[], Awaitable[None]], rounds: int) -> str:
    for _ in range(10):
        await work()  # prepared, and in the cache
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return f"{statistics.median(times):.2f} ms (p95 {times[int(len(times) * 0.95)]:.2f})"


if __name__ == "__main__":
    print(f"{datetime.now(UTC):%Y-%m-%d}, claim and release where not said otherwise; median of {ROUNDS}")
    main()
