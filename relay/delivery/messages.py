"""Contents for the engine: each message is read once and signed once, whatever the number of its recipients in hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from relay.delivery.memory_budget import MemoryBudget
from relay.delivery.outcome import CannotSign
from relay.delivery.queue import SMALL_OCTETS, Claim, Claimed
from relay.delivery.signing import Signer
from relay.delivery.unsubscribe_fields import with_unsubscribe
from relay.submission.content import to_seven_bit

LARGE_OCTETS = 96 * 1024 * 1024  # of large messages that are being handed over
OWN_THREAD_OCTETS = 512 * 1024  # signing more than that would hold up the loop
SIGNATURE_OCTETS = 3072  # of two DKIM-Signature fields and those to unsubscribe by, generously
_CONTENT = "SELECT raw FROM relay_content WHERE id = %s"


@dataclass(slots=True)
class Letter:
    """A message on its way out. Neither `content` nor `signed`: it is large, and read when its turn has come."""

    content: bytes | None
    signed: bytes | None = None
    recipients: int = 0  # in hand
    in_use: int = 0  # conversations that it is part of

    @property
    def octets(self) -> int:
        return len(self.signed or self.content or b"")

    @property
    def wire_octets(self) -> int:
        """How long it is with its signatures, or not much longer (RFC 1870, 5: an estimate)."""
        return len(self.signed) if self.signed is not None else self.octets + SIGNATURE_OCTETS

    @property
    def is_ascii(self) -> bool:
        return (self.signed or self.content or b"").isascii()


class Messages:
    """Keeps the messages whose recipients are in hand."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self.octets = 0  # kept
        self._pool = pool
        self._letters: dict[UUID, Letter] = {}
        self._large = MemoryBudget(LARGE_OCTETS)

    def take(self, claim: Claim) -> None:
        """Makes ready for what was claimed: keeps the contents that came along."""
        for claimed in claim.recipients:
            letter = self._letters.get(claimed.message_id)
            if letter is None:
                letter = self._letters[claimed.message_id] = Letter(claim.contents.get(claimed.message_id))
                self.octets += letter.octets
            letter.recipients += 1

    def done(self, claimed: Claimed) -> None:
        """This recipient is not in hand any more; with its last one a message is forgotten."""
        letter = self._letters[claimed.message_id]
        letter.recipients -= 1
        self._forget(claimed.message_id, letter)

    async def open(self, claimed: Claimed) -> Letter:
        """The message, for as long as it is handed over: to be given back by `close`.

        A large one waits for its turn and is read then. Raises `CannotSign`.
        """
        letter = self._letters[claimed.message_id]
        letter.in_use += 1
        if claimed.size_bytes > SMALL_OCTETS:
            try:
                await self._large.take(claimed.organization_id, claimed.size_bytes)
            except BaseException:
                letter.in_use -= 1
                self._forget(claimed.message_id, letter)
                raise
        try:
            if letter.content is None and letter.signed is None:
                self._keep(letter, await self._read(claimed.message_id), None)
        except BaseException:
            self.close(claimed)
            raise
        return letter

    async def signed(self, letter: Letter, signer: Signer) -> bytes:
        """An open message with its signatures, the same for all its recipients."""
        if letter.signed is None:
            assert letter.content is not None
            if letter.octets > OWN_THREAD_OCTETS:
                self._keep(letter, None, await asyncio.to_thread(signer.sign, letter.content))
            else:
                self._keep(letter, None, signer.sign(letter.content))
        assert letter.signed is not None
        return letter.signed

    async def signed_for(self, letter: Letter, claimed: Claimed, signer: Signer) -> bytes:
        """An open message of a stream, signed for this recipient: with a link of their own to unsubscribe by."""
        assert letter.content is not None
        content = with_unsubscribe(letter.content, claimed, signer.domain)
        if len(content) > OWN_THREAD_OCTETS:
            return await asyncio.to_thread(signer.sign, content)
        return signer.sign(content)

    async def signed_in_seven_bit(self, claimed: Claimed, signer: Signer) -> bytes:
        """An open message for an exchanger that takes no 8-bit content: converted, then signed in that form.

        Made anew each time and not kept: few exchangers need it. Raises `CannotSign`.
        """
        content = with_unsubscribe(await self._read(claimed.message_id), claimed, signer.domain)
        if len(content) > OWN_THREAD_OCTETS:
            return await asyncio.to_thread(lambda: signer.sign(to_seven_bit(content)))
        return signer.sign(to_seven_bit(content))

    def close(self, claimed: Claimed) -> None:
        letter = self._letters[claimed.message_id]
        letter.in_use -= 1
        if claimed.size_bytes > SMALL_OCTETS:
            self._large.give(claimed.organization_id, claimed.size_bytes)
            if not letter.in_use:
                self._keep(letter, None, None)
        self._forget(claimed.message_id, letter)

    def _forget(self, message_id: UUID, letter: Letter) -> None:
        if not (letter.recipients or letter.in_use):  # an attempt may go on though its lease was lost
            self.octets -= letter.octets
            del self._letters[message_id]

    def _keep(self, letter: Letter, content: bytes | None, signed: bytes | None) -> None:
        """One form only."""
        self.octets -= letter.octets
        letter.content, letter.signed = content, signed
        self.octets += letter.octets

    async def _read(self, message_id: UUID) -> bytes:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_CONTENT, (message_id,), binary=True)
            row = await cursor.fetchone()
        if row is None:
            raise CannotSign("The content of the message is gone.")
        return bytes(row[0])
