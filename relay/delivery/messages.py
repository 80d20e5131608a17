"""Signed messages for the engine: content read in batches, each message signed once, keys kept."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import dkim
from psycopg import AsyncConnection

from domains.dkim_keys import decrypt_private_key
from relay.delivery.outcome import CannotSign
from relay.delivery.queue import Claimed
from relay.delivery.signing import Signer

SIGNERS_KEPT_S = 30
OCTETS_KEPT = 64 * 1024 * 1024

_CONTENTS = "SELECT id, raw FROM relay_content WHERE id = ANY(%s)"
# The newest active key signs.
_KEYS = """
    SELECT DISTINCT ON (d.id) d.id, d.name, k.selector, k.private_key
    FROM domains_sendingdomain d JOIN domains_dkimkey k ON k.domain_id = d.id AND k.is_active
    WHERE d.id = ANY(%s) ORDER BY d.id, k.created_at DESC
"""


@dataclass(slots=True)
class Letter:
    """A message on its way out."""

    domain_id: UUID
    content: bytes | None
    signed: bytes | None = None


class Messages:
    """Keeps what is in hand, and a little of what was lately, up to a number of octets."""

    def __init__(self) -> None:
        self._letters: OrderedDict[UUID, Letter] = OrderedDict()
        self._octets = 0
        self._signers: dict[UUID, tuple[float, Signer]] = {}

    async def load(self, connection: AsyncConnection[Any], claimed: Iterable[Claimed]) -> None:
        """Reads the contents and keys that these recipients need and that are not here yet."""
        wanted = {c.message_id: c.domain_id for c in claimed if c.message_id not in self._letters}
        if wanted:
            contents = dict(await (await connection.execute(_CONTENTS, (list(wanted),))).fetchall())
            for message_id, domain_id in wanted.items():
                self._keep(message_id, Letter(domain_id, contents.get(message_id)))
        await self._load_signers(connection, {c.domain_id for c in claimed})

    def signed(self, claimed: Claimed) -> tuple[bytes, Signer]:
        """The message with its signature, and who signed. Raises `CannotSign`."""
        letter = self._letters.get(claimed.message_id)
        if letter is None or letter.content is None:
            raise CannotSign("The content of the message is gone.")
        _, signer = self._signers.get(claimed.domain_id, (0, None))
        if signer is None:
            raise CannotSign("The sending domain has no DKIM key; it may have been removed.")
        if letter.signed is None:
            try:
                letter.signed = signer.sign(letter.content)
            except dkim.DKIMException as error:
                raise CannotSign(f"The message could not be signed: {error}") from error
        return letter.signed, signer

    async def _load_signers(self, connection: AsyncConnection[Any], domain_ids: set[UUID]) -> None:
        now = time.monotonic()
        stale = [one for one in domain_ids if self._signers.get(one, (0.0, None))[0] <= now]
        if not stale:
            return
        for domain_id, name, selector, private_key in await (await connection.execute(_KEYS, (stale,))).fetchall():
            signer = Signer(name, selector, decrypt_private_key(private_key))
            self._signers[domain_id] = (now + SIGNERS_KEPT_S, signer)

    def _keep(self, message_id: UUID, letter: Letter) -> None:
        self._letters[message_id] = letter
        self._octets += len(letter.content or b"")

    def trim(self, in_hand: set[UUID]) -> None:
        """Forgets the oldest messages that no recipient in hand needs, down to `OCTETS_KEPT`."""
        for message_id in list(self._letters):
            if self._octets <= OCTETS_KEPT:
                return
            if message_id not in in_hand:
                self._octets -= len(self._letters.pop(message_id).content or b"")
