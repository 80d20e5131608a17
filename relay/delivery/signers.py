"""Reads who signs for a domain: the keys out of the database, parsed and ready."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from domains.dkim_keys import decrypt_private_key
from relay.delivery.signing import Signer

# The newest active key of each algorithm signs; "rsa-sha256" comes before "ed25519-sha256".
_KEYS = """
    SELECT DISTINCT ON (d.id, k.algorithm) d.id, d.name, k.selector, k.private_key
    FROM domains_sendingdomain d JOIN domains_dkimkey k ON k.domain_id = d.id AND k.state = 'active'
    WHERE d.id = ANY(%s) ORDER BY d.id, k.algorithm DESC, k.created_at DESC
"""


async def load_signers(connection: AsyncConnection[Any], domain_ids: Collection[UUID]) -> dict[UUID, Signer]:
    """By domain; one that is gone or has no active key is missing."""
    rows = await (await connection.execute(_KEYS, (list(domain_ids),))).fetchall()
    return {
        domain_id: Signer(name, tuple((selector, decrypt_private_key(key)) for _, _, selector, key in keys))
        for (domain_id, name), keys in groupby(rows, key=lambda row: (row[0], row[1]))
    }
