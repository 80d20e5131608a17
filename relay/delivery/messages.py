"""Signed messages for the engine: content read in batches, each message signed once, keys kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from relay.delivery.outcome import CannotSign
from relay.delivery.queue import Claim, Claimed
from relay.delivery.signers import load_signers
from relay.delivery.signing import Signer

SIGNERS_KEPT_S = 30

_CONTENT = "SELECT raw FROM relay_content WHERE id = %s"


@dataclass(slots=True)
class Letter:
    """A message on its way out. `content` is None for a large one, which is read when its turn has come."""

    content: bytes | None
    signed: bytes | None = None
    recipients: int = 0  # in hand


class Messages:
    """Keeps the messages whose recipients are in hand, and keys for some seconds longer."""

    def __init__(self) -> None:
        self._letters: dict[UUID, Letter] = {}
        self._signers: dict[UUID, tuple[float, Signer]] = {}

    async def take(self, connection: AsyncConnection[Any], claim: Claim) -> None:
        """Makes ready for what was claimed: keeps the contents that came along, reads the keys that are not here yet."""
        for claimed in claim.recipients:
            letter = self._letters.setdefault(claimed.message_id, Letter(claim.contents.get(claimed.message_id)))
            letter.recipients += 1
        await self._load_signers(connection, {claimed.domain_id for claimed in claim.recipients})

    async def signed(self, claimed: Claimed, pool: AsyncConnectionPool) -> tuple[bytes, Signer]:
        """The message with its signature, and who signed. Raises `CannotSign`."""
        letter = self._letters[claimed.message_id]
        _, signer = self._signers.get(claimed.domain_id, (0, None))
        if signer is None:
            raise CannotSign("The sending domain has no DKIM key; it may have been removed.")
        if letter.signed is None:
            content = letter.content or await self._read(pool, claimed.message_id)
            letter.signed = signer.sign(content)
        return letter.signed, signer

    async def _read(self, pool: AsyncConnectionPool, message_id: UUID) -> bytes:
        """A large message, when its turn has come."""
        async with pool.connection() as connection:
            cursor = await connection.execute(_CONTENT, (message_id,), binary=True)
            row = await cursor.fetchone()
        if row is None:
            raise CannotSign("The content of the message is gone.")
        return bytes(row[0])

    async def _load_signers(self, connection: AsyncConnection[Any], domain_ids: set[UUID]) -> None:
        now = time.monotonic()
        stale = [one for one in domain_ids if self._signers.get(one, (0.0, None))[0] <= now]
        if not stale:
            return
        for domain_id, signer in (await load_signers(connection, stale)).items():
            self._signers[domain_id] = (now + SIGNERS_KEPT_S, signer)

    def done(self, claimed: Claimed) -> None:
        """This recipient is not in hand any more; with its last one a message is forgotten."""
        letter = self._letters[claimed.message_id]
        letter.recipients -= 1
        if not letter.recipients:
            del self._letters[claimed.message_id]
