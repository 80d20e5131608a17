"""One SMTP connection to an exchanger, client side (RFC 5321, 3207, 2920)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
import warnings
from functools import lru_cache

from django.conf import settings

from domains.networks import is_ipv6
from events.log import Tls
from relay.delivery.replies import make_reply
from relay.delivery.routing import Hop, RoutingFailed
from relay.delivery.tls import OPPORTUNISTIC, TlsPolicy, assess
from relay.delivery.trace import Trace
from relay.delivery.transaction import Handover, Transaction
from relay.delivery.verdict import IN_WORDS, Chain, peer_chain
from relay.delivery.wire import DEFAULT_TIMEOUTS, LONGEST_LINE, ConversationFailed, Rejected, Timeouts, Wire

# No such source address, no port of it left, no more files or memory.
OUR_FAULTS = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Conversation:
    """An open connection, past EHLO and (where offered) STARTTLS, ready for a message."""

    def __init__(self, hop: Hop, wire: Wire, timeouts: Timeouts) -> None:
        self.hop = hop
        self.sent = 0  # transactions so far
        self._wire, self._timeouts = wire, timeouts
        self._chain: Chain | None = None
        self._cipher: tuple[str, str] | None = None  # TLS version and cipher
        self._is_strong = False  # no weaker than where encryption is required
        self._extensions: dict[str, str] = {}
        self._is_clean = True  # no transaction is left to be reset
        self._handover: Handover | None = None

    @classmethod
    async def open(
        cls,
        hop: Hop,
        *,
        hostname: str,
        trace: Trace,
        policy: TlsPolicy = OPPORTUNISTIC,
        source_address: str | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> Conversation:
        """As encrypted and verified as the policy wants it. `source_address`: what this side speaks from.

        Raises `ConversationFailed` or `Rejected`; `RoutingFailed` when it turns out that we speak to ourselves.
        """
        if policy.refusal:
            trace.note(policy.refusal.text)
            raise ConversationFailed(policy.refusal.reason, policy.refusal.text)
        if source_address and is_ipv6(source_address) != is_ipv6(hop.address):
            text = f"{hop.host} ({hop.address}) cannot be reached from {source_address}"
            trace.note(text)
            raise ConversationFailed("unreachable", text, is_ours=True)
        self = await cls._connect(hop, trace, source_address, timeouts)
        try:
            await self._begin(hostname, trace, policy)
        except _HandshakeFailed:
            self.abort()
            if policy.required:
                raise
            # RFC 7435, 3: nobody asked for encryption, so a broken one must not keep the mail back.
            trace.note("again, without encryption")
            self = await cls._connect(hop, trace, source_address, timeouts)
            try:
                await self._begin(hostname, trace, policy, encrypt=False)
            except BaseException:
                self.abort()
                raise
        except BaseException:
            self.abort()
            raise
        return self

    def check(self, policy: TlsPolicy, trace: Trace) -> Tls | None:
        """The facts for the timeline, None when not encrypted. Raises `ConversationFailed` where the policy wants more.

        So a connection opened under one policy may serve under another.
        """
        assessment = assess(policy, self.hop, self._chain)
        tls = None
        if self._cipher and assessment.verdict:
            version, cipher = self._cipher
            trace.note(f"{version} {cipher}, {IN_WORDS[assessment.verdict]}; policy: {policy.source}")
            tls = Tls(version=version, cipher=cipher, verdict=assessment.verdict.value, policy=policy.source.value)
        trace.tls = tls
        if assessment.note:
            trace.note(assessment.note)
        if assessment.refusal:
            trace.note(f"refused by policy: {assessment.refusal.text}")
            raise ConversationFailed(assessment.refusal.reason, assessment.refusal.text)
        return tls

    def resume(self, policy: TlsPolicy, trace: Trace) -> None:
        """To be called before another message goes out on it. Raises as `check`."""
        trace.note(f"on the connection kept to {self.hop.host} ({self.hop.address}, port {self.hop.port})")
        if policy.required and self._cipher and not self._is_strong:
            raise ConversationFailed("tls_required", f"{self._cipher[0]} was agreed on when nothing was required.")
        self.check(policy, trace)

    async def send(self, transaction: Transaction, trace: Trace) -> None:
        """Hands one message over; `transaction.results` then tells what became of each recipient.

        Raises `ConversationFailed`: the connection is of no more use, and what has no result yet has none.
        """
        if self.sent and (self._wire.has_spoken or self._wire.writer.is_closing()):
            # An end (RFC 5321, 3.8: 421 may come at any time), or a reply to nothing, which would answer MAIL.
            raise ConversationFailed("connection_lost", f"{self.hop.host} ended the connection.", phase="mail")
        self.sent += 1
        self._handover = Handover(self._wire, self._extensions, self._timeouts, transaction, trace)
        resets, self._is_clean = not self._is_clean, False
        await self._handover.run(resets=resets)
        self._is_clean = self._handover.is_clean

    @property
    def takes_8bit(self) -> bool:
        """RFC 6152, 3: what does not offer 8BITMIME must be sent ASCII only."""
        return "8BITMIME" in self._extensions

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

    # ---- Beginning ---------------------------------------------------------------------------------------------------

    @classmethod
    async def _connect(cls, hop: Hop, trace: Trace, source_address: str | None, timeouts: Timeouts) -> Conversation:
        speaking_from = f" from {source_address}" if source_address else ""
        trace.note(f"connecting to {hop.host} ({hop.address}, port {hop.port}){speaking_from}")
        local = (source_address, 0) if source_address else None
        with trace.phase("connect"):
            try:
                async with asyncio.timeout(timeouts.connect):
                    streams = await asyncio.open_connection(hop.address, hop.port, limit=LONGEST_LINE, local_addr=local)
            except (OSError, TimeoutError) as error:
                text = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
                trace.note(f"no connection: {text}")
                is_ours = error.errno in OUR_FAULTS
                raise ConversationFailed(
                    "unreachable", f"{hop.host} ({hop.address}): {text}", is_ours=is_ours
                ) from None
        return cls(hop, Wire(hop.host, *streams), timeouts)

    async def _begin(self, hostname: str, trace: Trace, policy: TlsPolicy, *, encrypt: bool = True) -> None:
        with trace.phase("greeting"):
            greeting = self._wire.expect(await self._wire.reply(trace, self._timeouts.greeting), "greeting")
            self._refuse_ourselves(greeting.text, hostname)
            await self._ehlo(hostname, trace)
        if encrypt and "STARTTLS" in self._extensions:
            with trace.phase("tls"):
                if await self._start_tls(trace, policy):
                    # Judged before another word is said: what is said from here on is for the verified only.
                    self.check(policy, trace)
                    await self._ehlo(hostname, trace)
                    return
        self.check(policy, trace)

    async def _ehlo(self, hostname: str, trace: Trace) -> None:
        self._wire.command(f"EHLO {hostname}", trace)
        code, lines = await self._wire.lines(trace, self._timeouts.command)
        if 500 <= code < 600:  # RFC 5321, 3.2: a server of the old kind
            self._wire.command(f"HELO {hostname}", trace)
            self._wire.expect(await self._wire.reply(trace, self._timeouts.command), "greeting")
            self._extensions = {}
            return
        self._wire.expect(make_reply(code, lines), "greeting")
        self._refuse_ourselves(lines[0], hostname)
        words = [line.upper().partition(" ") for line in lines[1:]]
        self._extensions = {keyword: value for keyword, _, value in words}

    def _refuse_ourselves(self, text: str, hostname: str) -> None:
        """RFC 5321, 4.2: a server's greeting begins with its name. A smart host may be ours, under our name."""
        name = text.partition(" ")[0].rstrip(".").lower()
        if name and not self.hop.is_smarthost and name in (hostname.lower(), settings.HOSTNAME.lower()):
            raise RoutingFailed(
                "loops_to_us", f"{self.hop.host} ({self.hop.address}) calls itself {name}, as we do.", permanent=True
            )

    async def _start_tls(self, trace: Trace, policy: TlsPolicy) -> bool:
        """Whether the connection is encrypted now; if not, it goes on as it was."""
        self._wire.command("STARTTLS", trace)
        reply = await self._wire.reply(trace, self._timeouts.command)
        if not reply.is_positive:
            if reply.code == 421:
                raise Rejected(reply, "greeting")
            if policy.required:
                raise ConversationFailed("tls_required", f"{self.hop.host} refused STARTTLS: {reply}")
            return False  # RFC 3207, 4: the client decides whether to go on
        if self._wire.has_spoken:
            # Anything said before the handshake could come from somebody in between (RFC 3207, 6).
            raise ConversationFailed("protocol_error", "The server spoke between STARTTLS and the handshake.")
        # RFC 7672, 8.1: the name that the TLSA records were found at.
        name = policy.names[0] if policy.names else self.hop.host
        try:
            async with asyncio.timeout(self._timeouts.handshake):
                await self._wire.writer.start_tls(_context(is_required=policy.required), server_hostname=name)
        except (OSError, TimeoutError, ssl.SSLError, ValueError) as error:
            text = str(error) or ("no answer" if isinstance(error, TimeoutError) else "the connection was closed")
            trace.note(f"TLS failed: {text}")
            raise _HandshakeFailed("tls_failure", f"TLS with {self.hop.host} failed: {text}") from None
        ssl_object = self._wire.writer.get_extra_info("ssl_object")
        self._chain = peer_chain(ssl_object)
        self._cipher = ssl_object.version(), ssl_object.cipher()[0]
        self._is_strong = policy.required or self._cipher[0] == "TLSv1.3"  # which knows no weak ciphers
        return True


class _HandshakeFailed(ConversationFailed):
    """STARTTLS was agreed on, and then there was no TLS."""


@lru_cache(maxsize=2)
def _context(*, is_required: bool) -> ssl.SSLContext:
    """Takes any certificate: it is judged after the handshake. Where nobody asks for more, old TLS is better than none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if is_required:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
