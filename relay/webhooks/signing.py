"""Signatures of Standard Webhooks 1.0 (github.com/standard-webhooks): symmetric, v1.

The same values go out as `svix-*`, the names that Svix's and Resend's verifiers read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from uuid import UUID

PREFIX = "whsec_"
SECRET_OCTETS = 32  # of 24 to 64
FAMILIES = ("webhook", "svix")


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_OCTETS)).decode()


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def signed_headers(keys: Iterable[str], webhook_id: UUID, timestamp: int, body: bytes) -> list[tuple[str, str]]:
    """`timestamp`: seconds. With several secrets there are as many signatures, and one that fits is enough."""
    signature = " ".join(sign(secret, str(webhook_id), timestamp, body) for secret in keys)
    values = {"id": str(webhook_id), "timestamp": str(timestamp), "signature": signature}
    return [(f"{family}-{name}", value) for family in FAMILIES for name, value in values.items()]
