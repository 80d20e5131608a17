"""Idempotency keys in PostgreSQL: taken in the transaction that stores the message, so neither is there without the other.

Two submissions with one key at the same moment: the second waits for the first one's transaction and gets its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor

from accounts.catalogue import Refused
from accounts.ids import uuid7
from relay.submission.accept import Accepted
from relay.submission.once import Once

# A key of more than 24 hours ago is free again. Keys that another committer is writing are waited for.
_CLAIM_KEYS = """
    INSERT INTO relay_idempotencykey AS k (id, organization_id, scope, key, fingerprint, message_id, created_at)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::uuid[], %s::timestamptz[])
    ON CONFLICT (organization_id, scope, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, message_id = excluded.message_id, created_at = excluded.created_at
    WHERE k.created_at < now() - interval '24 hours'
    RETURNING message_id
"""
_FIND_KEYS = """
    SELECT k.organization_id, k.scope, k.key, k.fingerprint, k.message_id FROM relay_idempotencykey k
    JOIN unnest(%s::uuid[], %s::text[], %s::text[]) AS w (organization_id, scope, key)
    USING (organization_id, scope, key)
"""

_Key = tuple[UUID, str, str]  # organization, scope, key


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a submission. `is_repeat`: the message was accepted before, and nothing is sent again."""

    message_id: UUID
    is_repeat: bool = False


async def recognise(cursor: AsyncCursor[Any], batch: list[Accepted]) -> dict[UUID, Receipt | Refused]:
    """The answers to those messages that are repeats; takes the keys of the others, in the caller's transaction."""
    keyed = {message.id: (_key(message, message.once), message.once) for message in batch if message.once}
    if not keyed:
        return {}
    # Sorted, so that two committers cannot wait for each other; each key once, as one statement must have it.
    first = {key: (message_id, once) for message_id, (key, once) in reversed(keyed.items())}
    ordered = sorted(first.items(), key=lambda item: (item[0][0].bytes, *item[0][1:]))
    now = datetime.now(UTC)
    await cursor.execute(
        _CLAIM_KEYS,
        (
            [uuid7() for _ in ordered],
            [key[0] for key, _ in ordered],
            [key[1] for key, _ in ordered],
            [key[2] for key, _ in ordered],
            [once.fingerprint for _, (_, once) in ordered],
            [message_id for _, (message_id, _) in ordered],
            [now] * len(ordered),
        ),
    )
    taken = {row[0] for row in await cursor.fetchall()}
    repeats = {message_id: known for message_id, known in keyed.items() if message_id not in taken}
    if not repeats:
        return {}
    keys = list(dict.fromkeys(key for key, _ in repeats.values()))
    await cursor.execute(_FIND_KEYS, ([k[0] for k in keys], [k[1] for k in keys], [k[2] for k in keys]))
    held = {(row[0], row[1], row[2]): (bytes(row[3]), row[4]) for row in await cursor.fetchall()}
    return {message_id: _answer(once, held.get(key)) for message_id, (key, once) in repeats.items()}


def _answer(once: Once, held: tuple[bytes, UUID] | None) -> Receipt | Refused:
    if held is None:  # it grew old in this very moment
        return Refused("temporarily_unavailable")
    fingerprint, message_id = held
    if fingerprint == once.fingerprint:
        return Receipt(message_id, is_repeat=True)
    return Refused("invalid_idempotent_request", key=once.key)


def _key(message: Accepted, once: Once) -> _Key:
    return message.submission.credential.organization_id, once.scope, once.key
