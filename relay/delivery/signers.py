"""Reads who signs for a domain: the keys out of the database, parsed and ready."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from domains.dkim.keys import decrypt_private_key
from domains.dkim.rotation import IN_FLIGHT
from relay.delivery.signing import Signer

# The newest active key of each algorithm signs, and for a day after a switch the former one too, unless its record was seen
# to be gone. "rsa-sha256" comes before "ed25519-sha256", the active key before the former one.
_KEYS = """
    SELECT DISTINCT ON (d.id, k.algorithm, k.state) d.id, d.name, k.selector, k.private_key
    FROM domains_sendingdomain d JOIN domains_dkimkey k ON k.domain_id = d.id
    WHERE d.id = ANY(%s) AND (k.state = 'active' OR k.state = 'retiring' AND k.retire_after > %s AND EXISTS (
        SELECT FROM domains_dnsrecord r WHERE r.dkim_key_id = k.id AND r.status NOT IN ('missing', 'different')))
    ORDER BY d.id, k.algorithm DESC, k.state, k.created_at DESC
"""


async def load_signers(connection: AsyncConnection[Any], domain_ids: Collection[UUID]) -> dict[UUID, Signer]:
    """By domain; one that is gone or has no active key is missing."""
    overlapping = datetime.now(UTC) + IN_FLIGHT
    rows = await (await connection.execute(_KEYS, (list(domain_ids), overlapping))).fetchall()
    return {
        domain_id: Signer(name, tuple((selector, decrypt_private_key(key)) for _, _, selector, key in keys))
        for (domain_id, name), keys in groupby(rows, key=lambda row: (row[0], row[1]))
    }
