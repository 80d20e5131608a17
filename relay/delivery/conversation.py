"""One SMTP connection to an exchanger, client side (RFC 5321, 3207, 2920)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from events.log import Tls
from relay.delivery.replies import make_reply
from relay.delivery.routing import Hop
from relay.delivery.trace import Trace
from relay.delivery.transaction import Handover, Transaction
from relay.delivery.wire import DEFAULT_TIMEOUTS, LONGEST_LINE, ConversationFailed, Timeouts, Wire


class Conversation:
    """An open connection, past EHLO and (where offered) STARTTLS, ready for a message."""

    def __init__(self, hop: Hop, wire: Wire, timeouts: Timeouts) -> None:
        self.hop = hop
        self.tls: Tls | None = None
        self.sent = 0  # transactions so far
        self._wire, self._timeouts = wire, timeouts
        self._extensions: dict[str, str] = {}
        self._is_clean = True  # no transaction is left to be reset
        self._handover: Handover | None = None

    @classmethod
    async def open(
        cls, hop: Hop, *, hostname: str, trace: Trace, timeouts: Timeouts = DEFAULT_TIMEOUTS
    ) -> Conversation:
        """Raises `ConversationFailed` or `Rejected`."""
        trace.note(f"connecting to {hop.host} ({hop.address}, port {hop.port})")
        with trace.phase("connect"):
            try:
                async with asyncio.timeout(timeouts.connect):
                    streams = await asyncio.open_connection(hop.address, hop.port, limit=LONGEST_LINE)
            except (OSError, TimeoutError) as error:
                text = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
                trace.note(f"no connection: {text}")
                raise ConversationFailed("unreachable", f"{hop.host} ({hop.address}): {text}") from None
        self = cls(hop, Wire(hop.host, *streams), timeouts)
        try:
            with trace.phase("greeting"):
                self._wire.expect(await self._wire.reply(trace, timeouts.greeting), "greeting")
                await self._ehlo(hostname, trace)
            if "STARTTLS" in self._extensions:
                with trace.phase("tls"):
                    await self._start_tls(trace)
                    await self._ehlo(hostname, trace)
        except BaseException:
            self.abort()
            raise
        return self

    async def send(self, transaction: Transaction, trace: Trace) -> None:
        """Hands one message over; `transaction.results` then tells what became of each recipient.

        Raises `ConversationFailed`: the connection is of no more use, and what has no result yet has none.
        """
        if self.sent:
            trace.note(f"on the connection kept to {self.hop.host} ({self.hop.address}, port {self.hop.port})")
            if self._wire.has_spoken or self._wire.writer.is_closing():
                # An end (RFC 5321, 3.8: 421 may come at any time), or a reply to nothing, which would answer MAIL.
                raise ConversationFailed("connection_lost", f"{self.hop.host} ended the connection.", phase="mail")
        self.sent += 1
        self._handover = Handover(self._wire, self._extensions, self._timeouts, transaction, trace)
        resets, self._is_clean = not self._is_clean, False
        await self._handover.run(resets=resets)
        self._is_clean = self._handover.is_clean

    @property
    def is_usable(self) -> bool:
        """Whether the exchanger lets us go on with this connection."""
        return self._handover is None or not self._handover.is_dismissed

    @property
    def is_in_doubt(self) -> bool:
        """Whether a final dot is on its way and its reply is not here."""
        return self._handover is not None and self._handover.is_in_doubt

    async def quit(self) -> None:
        """Says goodbye, without insisting."""
        with contextlib.suppress(ConversationFailed, OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(self._timeouts.quit):
                trace = Trace()
                self._wire.command("QUIT", trace)
                await self._wire.reply(trace, self._timeouts.quit)
        self._wire.close()

    def abort(self) -> None:
        self._wire.abort()

    async def _ehlo(self, hostname: str, trace: Trace) -> None:
        self._wire.command(f"EHLO {hostname}", trace)
        code, lines = await self._wire.lines(trace, self._timeouts.command)
        if 500 <= code < 600:  # RFC 5321, 3.2: a server of the old kind
            self._wire.command(f"HELO {hostname}", trace)
            self._wire.expect(await self._wire.reply(trace, self._timeouts.command), "greeting")
            self._extensions = {}
            return
        self._wire.expect(make_reply(code, lines), "greeting")
        words = [line.upper().partition(" ") for line in lines[1:]]
        self._extensions = {keyword: value for keyword, _, value in words}

    async def _start_tls(self, trace: Trace) -> None:
        self._wire.command("STARTTLS", trace)
        reply = await self._wire.reply(trace, self._timeouts.command)
        if not reply.is_positive:  # which says nothing about the recipient
            raise ConversationFailed("tls_failure", f"{self.hop.host} refused STARTTLS: {reply}")
        if self._wire.has_spoken:
            # Anything said before the handshake could come from somebody in between (RFC 3207, 6).
            raise ConversationFailed("protocol_error", "The server spoke between STARTTLS and the handshake.")
        try:
            async with asyncio.timeout(self._timeouts.handshake):
                await self._wire.writer.start_tls(_opportunistic_tls(), server_hostname=self.hop.host)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            text = str(error) or ("no answer" if isinstance(error, TimeoutError) else "the connection was closed")
            trace.note(f"TLS failed: {text}")
            raise ConversationFailed("tls_failure", f"TLS with {self.hop.host} failed: {text}") from None
        wire = self._wire.writer.get_extra_info("ssl_object")
        self.tls = Tls(version=wire.version(), cipher=wire.cipher()[0])
        trace.note(f"{self.tls['version']} {self.tls['cipher']}")


_tls: ssl.SSLContext | None = None


def _opportunistic_tls() -> ssl.SSLContext:
    """Encryption without authentication, as RFC 7435 has it: any certificate is better than none."""
    global _tls
    if _tls is None:
        _tls = ssl.create_default_context()
        _tls.check_hostname = False
        _tls.verify_mode = ssl.CERT_NONE
    return _tls
