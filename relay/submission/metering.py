"""Counts the messages of subjects with a limit, in the transaction that stores them: what is accepted is what is counted.

The counters' rows are locked from here to the end of the transaction, always in the same order, so that transactions wait for
each other and never in a circle. What is over a limit is taken off again before the transaction ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncCursor

from accounts.catalogue import Refused
from accounts.credentials import UsageLimit
from accounts.ids import first_id_at
from relay.submission.accept import Parcel
from relay.usage import end_of, start_of

_ADD = """
    INSERT INTO relay_usagecounter AS c (subject_id, period, starts_at, count)
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[])
    ON CONFLICT (subject_id, period, starts_at) DO UPDATE SET count = c.count + excluded.count
    RETURNING subject_id, period, starts_at, count, xmax = 0 -- 0: a new row
"""
_CHANGE = """
    UPDATE relay_usagecounter AS c SET count = c.count + w.difference
    FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[]) AS w (subject_id, period, starts_at, difference)
    WHERE (c.subject_id, c.period, c.starts_at) = (w.subject_id, w.period, w.starts_at)
"""
_SENT_BEFORE = "SELECT count(*) FROM relay_message WHERE smtp_user_id = %s AND id >= %s AND id < %s"


class _Key(NamedTuple):
    subject_id: UUID
    period: str
    starts_at: datetime


async def take(cursor: AsyncCursor[Any], parcels: Iterable[Parcel]) -> dict[UUID, Refused]:
    """Counts what fits, parcel by parcel, in the caller's transaction. Returns the refusals of the others, by parcel."""
    metered = [(parcel, dict(_keys(parcel))) for parcel in parcels if parcel.limits]
    wanted = Counter[_Key]()
    for parcel, keys in metered:
        wanted.update(dict.fromkeys(keys, len(parcel.messages)))
    if not wanted:
        return {}
    used = await _add(cursor, wanted)
    refused: dict[UUID, Refused] = {}
    excess = Counter[_Key]()
    for parcel, keys in metered:
        messages = len(parcel.messages)
        full = [key for key, limit in keys.items() if used[key] + messages > limit.most]
        if full:
            key = max(full, key=lambda key: end_of(key.period, key.starts_at))  # the one that keeps it out longest
            refused[parcel.id] = _refusal(keys[key], key, used[key], messages)
            excess.update(dict.fromkeys(keys, messages))
        else:
            used.update(dict.fromkeys(keys, messages))
    if excess:
        await cursor.execute(_CHANGE, _columns({key: -number for key, number in excess.items()}))
    return refused


def _keys(parcel: Parcel) -> Iterator[tuple[_Key, UsageLimit]]:
    moment = parcel.messages[0].submitted_at
    for limit in parcel.limits:
        yield _Key(limit.subject_id, limit.period, start_of(limit.period, moment)), limit


async def _add(cursor: AsyncCursor[Any], wanted: Counter[_Key]) -> Counter[_Key]:
    """Adds all, for now. Returns what was counted before."""
    await cursor.execute(_ADD, _columns(wanted))
    used, new = Counter[_Key](), []
    for subject_id, period, starts_at, count, is_new in await cursor.fetchall():
        key = _Key(subject_id, period, starts_at.astimezone(UTC))
        used[key] = count - wanted[key]
        if is_new:
            new.append(key)
    # The limit may be younger than the period: what was sent before it was set counts, too.
    before = {key: await _sent_before(cursor, key) for key in new}
    if any(before.values()):
        await cursor.execute(_CHANGE, _columns(before))
        used.update(before)
    return used


async def _sent_before(cursor: AsyncCursor[Any], key: _Key) -> int:
    bounds = first_id_at(key.starts_at), first_id_at(end_of(key.period, key.starts_at))
    await cursor.execute(_SENT_BEFORE, (key.subject_id, *bounds))
    [count] = await cursor.fetchone() or (0,)
    return int(count)


def _columns(numbers: Mapping[_Key, int]) -> tuple[list[Any], ...]:
    """In the order in which all transactions lock them."""
    keys = sorted(numbers)
    return (
        [key.subject_id for key in keys],
        [key.period for key in keys],
        [key.starts_at for key in keys],
        [numbers[key] for key in keys],
    )


def _refusal(limit: UsageLimit, key: _Key, used: int, wanted: int) -> Refused:
    ends_at = end_of(key.period, key.starts_at)
    return Refused(
        limit.code,
        retry_after_s=max(1, math.ceil((ends_at - datetime.now(UTC)).total_seconds())),
        subject=limit.subject,
        most=f"{limit.most:,}",
        period=key.period,
        used=f"{used:,}",
        wanted=f"{wanted:,}",
        until=f"{ends_at:%H:%M} UTC",
    )
