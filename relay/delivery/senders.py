"""Who sends: the keys that sign for a domain, the addresses its mail leaves from, and its organization's wishes.

Whether mail may leave as a domain at all is known to be so for `STANDING_KEPT_S` only: it may be removed, or taken over by
another organization, while mail of it waits in memory. Claims bring that along; a message that waited longer asks, all that
wait for the same domain together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from accounts.models import OutgoingTls
from relay.delivery.outcome import SenderGone
from relay.delivery.settler import DATABASE_AWAY
from relay.delivery.signers import load_signers
from relay.delivery.signing import Signer

logger = logging.getLogger(__name__)

KEPT_S = 30.0
STANDING_KEPT_S = 3.0
ANSWER_WITHIN_S = 1.5
KEPT_MOST = 10_000

# A domain that is stopped may still deliver what it submitted before.
_STANDINGS = """
    SELECT id, CASE WHEN status = 'taken_over' THEN 'domain_taken_over' ELSE '' END
    FROM domains_sendingdomain WHERE id = ANY(%s)
"""
LOSSES = {
    "sender_gone": "The sending domain was removed before the message could be delivered.",
    "domain_taken_over": "Another organization has proved that the sending domain is its own.",
}

# A domain's own pool wins over its organization's.
_SENDERS = """
    SELECT d.id, d.organization_id, o.outgoing_tls, o.never_twice, o.delivery_weight,
           ARRAY(SELECT host(a.address) FROM relay_sourceaddress a WHERE a.pool_id = p.id AND a.is_active ORDER BY a.address),
           ARRAY(SELECT a.ehlo_name FROM relay_sourceaddress a WHERE a.pool_id = p.id AND a.is_active ORDER BY a.address)
    FROM domains_sendingdomain d
    JOIN accounts_organization o ON o.id = d.organization_id
    LEFT JOIN LATERAL (
        SELECT pool_id AS id FROM relay_poolassignment
        WHERE domain_id = d.id OR organization_id = d.organization_id ORDER BY domain_id IS NULL LIMIT 1) p ON true
    WHERE d.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Source:
    """An address of this machine to speak from, and the name to present it by; without an address: any."""

    address: str | None
    ehlo_name: str


@dataclass(frozen=True, slots=True)
class Sender:
    """A sending domain as delivery sees it."""

    signer: Signer | None  # None: it has no key
    sources: tuple[Source, ...]  # empty: the machine's own choice
    outgoing_tls: OutgoingTls
    never_twice: bool
    weight: int


class StandingUnknown(Exception):
    """The database does not say whether mail may leave as the domain."""


class Senders:
    """Keeps what was read for some seconds. `ask` opens a connection to the database."""

    def __init__(self, ask: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]) -> None:
        self._ask = ask
        self._senders: dict[UUID, tuple[float, Sender | None]] = {}
        self._weights: dict[UUID, int] = {}
        self._standings: dict[UUID, tuple[float, str]] = {}  # the reason of a loss, or nothing
        self._asking: dict[UUID, asyncio.Task[None]] = {}

    async def load(self, connection: AsyncConnection[Any], domain_ids: Iterable[UUID]) -> None:
        """Reads those that are not here or have grown old."""
        now, wanted = time.monotonic(), set(domain_ids)
        if unsure := [one for one in wanted if not self._is_sure(one)]:
            await self._read_standings(connection, unsure)
        stale = [one for one in wanted if self._senders.get(one, (0.0, None))[0] <= now]
        if not stale:
            return
        if len(self._senders) > KEPT_MOST:
            self._senders.clear()
            self._weights.clear()
        signers = await load_signers(connection, stale)
        found: dict[UUID, Sender] = {}
        for row in await (await connection.execute(_SENDERS, (stale,))).fetchall():
            domain_id, organization_id, outgoing_tls, never_twice, weight, addresses, names = row
            sources = tuple(Source(address, ehlo_name) for address, ehlo_name in zip(addresses, names, strict=True))
            found[domain_id] = Sender(signers.get(domain_id), sources, OutgoingTls(outgoing_tls), never_twice, weight)
            self._weights[organization_id] = weight
        for domain_id in stale:
            self._senders[domain_id] = (now + KEPT_S, found.get(domain_id))

    def get(self, domain_id: UUID) -> Sender | None:
        """None: the domain was gone when it was read."""
        return self._senders[domain_id][1]

    def weight(self, organization_id: UUID) -> int:
        return self._weights.get(organization_id, 1)

    # ---- Whether mail may leave as a domain --------------------------------------------------------------------------

    def loss(self, domain_id: UUID) -> SenderGone | None:
        """Why no mail may leave as the domain, as far as is known."""
        _, reason = self._standings.get(domain_id, (0.0, ""))
        return SenderGone(reason, LOSSES[reason]) if reason else None

    async def check(self, domain_id: UUID) -> None:
        """Costs nothing as long as what was read is young. Raises `SenderGone`, `StandingUnknown`."""
        if not self._is_sure(domain_id):
            task = self._asking.get(domain_id)
            if task is None:
                task = self._asking[domain_id] = asyncio.create_task(self._ask_for(domain_id))
            await asyncio.wait([task], timeout=ANSWER_WITHIN_S)
            if not self._is_sure(domain_id):
                raise StandingUnknown
        if loss := self.loss(domain_id):
            raise loss

    async def _ask_for(self, domain_id: UUID) -> None:
        try:
            async with self._ask() as connection:
                await self._read_standings(connection, [domain_id])
        except DATABASE_AWAY as error:
            logger.warning("Whether mail may leave as domain %s is not known: %s", domain_id, error)
        finally:
            del self._asking[domain_id]

    async def _read_standings(self, connection: AsyncConnection[Any], domain_ids: Collection[UUID]) -> None:
        until = time.monotonic() + STANDING_KEPT_S  # of what was so when we began to ask
        lost = dict(await (await connection.execute(_STANDINGS, (list(domain_ids),))).fetchall())
        if len(self._standings) > KEPT_MOST:
            self._standings.clear()
        for domain_id in domain_ids:
            self._standings[domain_id] = (until, lost.get(domain_id, "sender_gone"))

    def _is_sure(self, domain_id: UUID) -> bool:
        return self._standings.get(domain_id, (0.0, ""))[0] > time.monotonic()
