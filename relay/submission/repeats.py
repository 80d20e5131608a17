"""Idempotency keys in PostgreSQL: taken in the transaction that stores the message, so neither is there without the other.

Two submissions with one key at the same moment: one takes the key, the others wait for its transaction and get its answer.
They do not wait in a transaction of their own, where other people's messages would wait with them: who writes a key holds an
advisory lock on it, and whoever finds that taken has no answer yet and comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.types.json import Jsonb

from accounts.catalogue import Refused
from accounts.ids import uuid7
from relay.submission.accept import Parcel
from relay.submission.once import Once

# A key of more than 24 hours ago is free again. The lock is held to the end of the transaction, after which the row is seen.
_CLAIM_KEYS = """
    WITH wanted AS MATERIALIZED (
        SELECT *, pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', organization_id, scope, key), 0)) AS is_locked
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::uuid[], %s::jsonb[], %s::timestamptz[])
            AS w (id, organization_id, scope, key, fingerprint, message_id, answer, created_at)
    ), taken AS (
        INSERT INTO relay_idempotencykey AS k
            (id, organization_id, scope, key, fingerprint, message_id, answer, created_at)
        SELECT id, organization_id, scope, key, fingerprint, message_id, answer, created_at FROM wanted WHERE is_locked
        ON CONFLICT (organization_id, scope, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, message_id = excluded.message_id, answer = excluded.answer,
            created_at = excluded.created_at
        WHERE k.created_at < now() - interval '24 hours'
        RETURNING message_id
    )
    SELECT message_id, is_locked, taken.message_id IS NOT NULL FROM wanted LEFT JOIN taken USING (message_id)
"""
_FIND_KEYS = """
    SELECT k.organization_id, k.scope, k.key, k.fingerprint, k.message_id, k.answer FROM relay_idempotencykey k
    JOIN unnest(%s::uuid[], %s::text[], %s::text[]) AS w (organization_id, scope, key)
    USING (organization_id, scope, key)
    WHERE k.created_at >= now() - interval '24 hours'
"""

_Key = tuple[UUID, str, str]  # organization, scope, key


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a submission. `is_repeat`: the message was accepted before, and nothing is sent again.

    `answer`: the JSON of a batch, whose first message `message_id` is; of a message alone what is told beside its id.
    Of what is no repeat: only where recipients are suppressed.
    """

    message_id: UUID
    is_repeat: bool = False
    answer: Any = None

    @property
    def suppressed(self) -> list[str]:
        """Of a message alone: the recipients to whom it is not sent."""
        found: list[str] = self.answer.get("suppressed", []) if self.answer else []
        return found


def with_suppressed(answer: Any, suppressed: Mapping[UUID, list[str]]) -> Any:
    """`answer` as of a parcel, with the addresses that are suppressed, by message."""
    if answer is None:
        return {"suppressed": [address for addresses in suppressed.values() for address in addresses]}
    items = [
        item | ({"suppressed": found} if (found := suppressed.get(UUID(item["id"]))) else {}) for item in answer["data"]
    ]
    return answer | {"data": items}


async def tell_repeats(cursor: AsyncCursor[Any], answers: Mapping[UUID, Any]) -> None:
    """What these parcels were told belongs to the keys that they took in this transaction."""
    if answers:
        await cursor.execute(
            "UPDATE relay_idempotencykey k SET answer = a.answer FROM unnest(%s::uuid[], %s::jsonb[]) AS a (id, answer)"
            " WHERE k.message_id = a.id",
            (list(answers), [Jsonb(answer) for answer in answers.values()]),
        )


async def recognise(cursor: AsyncCursor[Any], batch: list[Parcel]) -> dict[UUID, Receipt | Refused | None]:
    """The answers to those parcels that are repeats, by id; takes the keys of the others, in the caller's transaction.

    None: its key is in another transaction's hands at this moment.
    """
    keyed = {parcel.id: (_key(parcel, parcel.once), parcel.once) for parcel in batch if parcel.once}
    if not keyed:
        return {}
    # Each key once, as one statement must have it; the first parcel that has it.
    first: dict[_Key, Parcel] = {}
    for parcel in batch:
        if parcel.once:
            first.setdefault(keyed[parcel.id][0], parcel)
    now = datetime.now(UTC)
    await cursor.execute(
        _CLAIM_KEYS,
        (
            [uuid7() for _ in first],
            [key[0] for key in first],
            [key[1] for key in first],
            [key[2] for key in first],
            [keyed[parcel.id][1].fingerprint for parcel in first.values()],
            [parcel.id for parcel in first.values()],
            [None if parcel.answer is None else Jsonb(parcel.answer) for parcel in first.values()],
            [now] * len(first),
        ),
    )
    claims = await cursor.fetchall()
    taken = {parcel_id for parcel_id, _, is_taken in claims if is_taken}
    busy = {keyed[parcel_id][0] for parcel_id, is_locked, _ in claims if not is_locked}
    repeats = {parcel_id: known for parcel_id, known in keyed.items() if parcel_id not in taken}
    keys = list(dict.fromkeys(key for key, _ in repeats.values() if key not in busy))
    held = await _find(cursor, keys) if keys else {}
    return {
        parcel_id: None if key in busy else _answer(once, held.get(key)) for parcel_id, (key, once) in repeats.items()
    }


async def first_answer(cursor: AsyncCursor[Any], organization_id: UUID, once: Once) -> Receipt | None:
    """The answer that this very submission was given before, if it was. Raises `Refused` where another one has its key."""
    key = (organization_id, once.scope, once.key)
    held = (await _find(cursor, [key])).get(key)
    if held is None:
        return None
    answer = _answer(once, held)
    if isinstance(answer, Refused):
        raise answer
    return answer


async def release(cursor: AsyncCursor[Any], parcels: list[Parcel]) -> None:
    """Gives back the keys that these parcels took in this transaction: they are not stored after all."""
    ids = [parcel.id for parcel in parcels if parcel.once]
    if ids:
        await cursor.execute("DELETE FROM relay_idempotencykey WHERE message_id = ANY(%s)", (ids,))


class _Held(NamedTuple):
    fingerprint: bytes
    message_id: UUID
    answer: Any


async def _find(cursor: AsyncCursor[Any], keys: list[_Key]) -> dict[_Key, _Held]:
    await cursor.execute(_FIND_KEYS, ([k[0] for k in keys], [k[1] for k in keys], [k[2] for k in keys]))
    return {(row[0], row[1], row[2]): _Held(bytes(row[3]), row[4], row[5]) for row in await cursor.fetchall()}


def _answer(once: Once, held: _Held | None) -> Receipt | Refused:
    if held is None:  # it grew old in this very moment
        return Refused("temporarily_unavailable")
    if held.fingerprint == once.fingerprint:
        return _receipt(held)
    return Refused("invalid_idempotent_request", key=once.key)


def _receipt(held: _Held) -> Receipt:
    return Receipt(held.message_id, is_repeat=True, answer=held.answer)


def _key(parcel: Parcel, once: Once) -> _Key:
    return parcel.messages[0].submission.credential.organization_id, once.scope, once.key
