"""The SMTP door: listens for submission (RFC 6409), with STARTTLS (RFC 3207) and with TLS from the first octet (RFC 8314).

`smtp_session` says what is answered to what, `smtp_connection` moves the octets, `smtp_reception` holds what sessions
share, `smtp_limits` and `login_guard` say how much is too much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from relay.submission.smtp_connection import HANDSHAKE_S
from relay.submission.smtp_reception import Reception
from relay.submission.smtp_session import SubmissionSession

BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Listening:
    """A port; `is_encrypted`: TLS from the first octet (RFC 8314, 3.3)."""

    port: int
    is_encrypted: bool = False


async def serve_submission(reception: Reception, host: str, ports: Iterable[Listening]) -> list[asyncio.Server]:
    """Listens on `host`; other processes may share the ports."""
    return [await _listen(reception, host, listening) for listening in ports]


async def _listen(reception: Reception, host: str, listening: Listening) -> asyncio.Server:
    def session() -> SubmissionSession:
        return SubmissionSession(reception, is_encrypted=listening.is_encrypted)

    loop = asyncio.get_running_loop()
    if not listening.is_encrypted:
        return await loop.create_server(session, host, listening.port, backlog=BACKLOG, reuse_port=True)
    return await loop.create_server(
        session, host, listening.port, backlog=BACKLOG, reuse_port=True,
        ssl=reception.certificate.for_listener, ssl_handshake_timeout=HANDSHAKE_S,
    )  # fmt: skip
