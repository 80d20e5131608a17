"""Keeps the mail that arrived at the sandbox's exchanger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.parser import HeaderParser
from functools import partial
from uuid import UUID

from accounts.ids import uuid7
from relay.sandbox.database import Connection, Database

LONGEST_TEXT = 998  # RFC 5322, 2.1.1

# DO NOTHING: the connection may have broken after the commit, and the work is then done again (see Database.run).
INSERT = (
    "INSERT INTO sandbox_receivedmail (id, received_at, envelope_sender, recipients, raw, subject, header_from, dkim,"
    " dkim_domain, dkim_signatures, tls, helo) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (id) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail to keep; fields as in relay.sandbox.models.ReceivedMail."""

    envelope_sender: str
    recipients: list[str]
    raw: bytes
    subject: str
    header_from: str
    dkim: str
    dkim_domain: str
    dkim_signatures: list[str]
    tls: str
    helo: str
    id: UUID = field(default_factory=uuid7)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Inbox:
    """Commits what waits in one go (group commit), so that a burst shares the cost of the flush."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Arrival, asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None

    async def keep(self, arrival: Arrival) -> None:
        """Returns once the mail is committed. Raises psycopg.Error when it could not be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, done))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit())
        await done

    async def _commit(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._database.run(partial(_insert, batch))
            except Exception as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)


async def _insert(batch: list[tuple[Arrival, asyncio.Future[None]]], connection: Connection) -> None:
    async with connection.cursor() as cursor:  # one round trip and, by autocommit, one transaction
        await cursor.executemany(INSERT, [_row(arrival) for arrival, _ in batch])


def _row(mail: Arrival) -> tuple[object, ...]:
    return (
        mail.id,
        mail.received_at,
        storable(mail.envelope_sender),
        [storable(recipient) for recipient in mail.recipients],
        mail.raw,
        storable(mail.subject)[:LONGEST_TEXT],
        storable(mail.header_from)[:LONGEST_TEXT],
        mail.dkim,
        storable(mail.dkim_domain)[:253],
        [storable(signature) for signature in mail.dkim_signatures],
        storable(mail.tls)[:80],
        storable(mail.helo)[:LONGEST_TEXT],
    )


def storable(text: str) -> str:
    """Without what PostgreSQL's text refuses: NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def read_header(raw: bytes, *names: str) -> list[str]:
    """The values of header fields, decoded (RFC 2047, RFC 6532); empty where missing."""
    block = raw[: raw.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in raw else raw
    headers = HeaderParser().parsestr(block.decode("utf-8", "replace"), headersonly=True)
    return [_decoded(headers.get(name) or "") for name in names]


def _decoded(value: str) -> str:
    unfolded = " ".join(value.split())
    if "=?" not in unfolded:
        return unfolded
    try:
        return str(make_header(decode_header(unfolded)))
    except (HeaderParseError, MessageError, LookupError, ValueError):
        return unfolded
