"""Who sends: the keys that sign for a domain, the addresses its mail leaves from, and its organization's wishes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from accounts.models import OutgoingTls
from relay.delivery.signers import load_signers
from relay.delivery.signing import Signer

KEPT_S = 30.0
KEPT_MOST = 10_000

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


class Senders:
    """Keeps what was read for some seconds."""

    def __init__(self) -> None:
        self._senders: dict[UUID, tuple[float, Sender | None]] = {}
        self._weights: dict[UUID, int] = {}

    async def load(self, connection: AsyncConnection[Any], domain_ids: Iterable[UUID]) -> None:
        """Reads those that are not here or have grown old."""
        now = time.monotonic()
        stale = [one for one in set(domain_ids) if self._senders.get(one, (0.0, None))[0] <= now]
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
        """None: the domain is gone, and what it submitted with it cannot be signed any more."""
        return self._senders[domain_id][1]

    def weight(self, organization_id: UUID) -> int:
        return self._weights.get(organization_id, 1)
