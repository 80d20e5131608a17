"""One client's connection: octets in, replies out, TLS, and its end. What is said on it stands in `smtp_session`.

It is aiosmtpd's session with the parts replaced that are slow: aiosmtpd inspects its methods and its handler anew for
each connection, logs and flushes each line, sets a timer for each command and reads DATA by the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP

from accounts.catalogue import Refused
from relay.submission.smtp_input import Gone, Input
from relay.submission.smtp_reception import Reception

logger = logging.getLogger(__name__)

HANDSHAKE_S = 30
LAST_WORD_S = 5.0  # for a client that is sent away to read why
NEVER = float("inf")


class Goodbye(Exception):
    """The session ends after this reply."""


class Connection(SMTP):
    """`converse` is the session; it ends by returning or raising. Replies that carry 421 end it too (RFC 5321, 3.8)."""

    transport: asyncio.Transport

    def __init__(self, reception: Reception, *, is_encrypted: bool) -> None:
        # Not aiosmtpd's, see above: all that is the same for each connection stands in `reception`.
        self.reception = reception
        self.is_encrypted = is_encrypted
        self.loop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + reception.limits.login_s
        self.is_in_hand = False
        self.peer = ""
        self._input = Input(self._flush)
        self._replies: list[str] = []
        self._may_write: asyncio.Future[None] | None = None
        self._is_sent_away = False

    async def converse(self) -> None:
        raise NotImplementedError

    # ---- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:  # several small replies in a row must not wait for an ACK each
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self._input.comes_from(self.transport)
        self.reception.enters(self)
        self._task = self.loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._input.feed(data)

    def eof_received(self) -> bool | None:
        self._input.stop(Gone())
        return not self.is_encrypted  # what it said before is answered; TLS cannot be closed by halves

    def connection_lost(self, error: Exception | None) -> None:
        self.reception.leaves(self)
        self._input.stop(Gone())
        self.resume_writing()

    def pause_writing(self) -> None:
        self._may_write = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._may_write is not None and not self._may_write.done():
            self._may_write.set_result(None)
        self._may_write = None

    # ---- the session's side ------------------------------------------------------------------------------------------

    def reply(self, text: str) -> None:
        """Goes out before we wait for the client next: answers to commands that came together go together (RFC 2920, 3.2)."""
        self._replies.append(text)

    def send_away(self, reason: Refused) -> None:
        """Ends the session with a reply as soon as it waits for its client; the second time at once."""
        if self._is_sent_away:
            self.transport.abort()
        self._is_sent_away = True
        self.deadline = self.loop.time() + LAST_WORD_S
        self._input.stop(reason)

    async def start_tls(self) -> None:
        """RFC 3207, 4. Says 220, then shakes hands."""
        self._input.throw_away()  # RFC 3207, 4.2: what came in the clear is not to be believed
        self.reply("220 2.0.0 Ready to start TLS")
        # No await between these two, so that nothing of the handshake is taken for a command.
        self._write()
        try:
            transport = await self.loop.start_tls(
                self.transport, self, self.reception.certificate.newest(), server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
            )  # fmt: skip
        except (OSError, ssl.SSLError) as error:
            logger.info("A TLS handshake failed: %s", error)
            self.transport.abort()
            raise Gone from error
        if transport is None:  # the client left in the meantime
            raise Gone
        # Under asyncio's own loop commands may have come in before we get here; they wait in the input.
        self.transport = transport
        self._input.comes_from(transport)
        self.is_encrypted = True

    async def _run(self) -> None:
        try:
            with self.reception.by_address.one_for(self.peer):
                await self.converse()
        except Gone:
            self._replies.clear()
        except Goodbye as goodbye:
            self.reply(str(goodbye))
            self.reply("421 4.5.2 Closing the connection")  # RFC 5321, 3.8: only so may a server end it
        except Refused as refused:
            self.reply(refused.smtp_reply())
        except Exception:
            logger.exception("A session failed")
            self.reply("421 4.3.0 Something went wrong on our side; nothing was accepted")
        finally:
            with contextlib.suppress(Exception):
                self._write()
            self._end()

    def _end(self) -> None:
        self.deadline = self.loop.time() + LAST_WORD_S
        self._is_sent_away = True
        self.transport.close()

    def _write(self) -> None:
        if self._replies:
            octets = "".join(f"{reply}\r\n" for reply in self._replies).encode("ascii", "replace")
            self._replies.clear()
            self.transport.write(octets)

    async def _flush(self) -> None:
        self._write()
        if self._may_write is not None:  # the client does not read what we say: it is not heard either
            await asyncio.shield(self._may_write)

    def __del__(self) -> None:
        """aiosmtpd's looks after a stream that we do not have."""
