"""One SMTP connection to an exchanger, client side (RFC 5321, 3207, 2920), with its transcript and timings."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from django.conf import settings

from events.log import Tls
from relay.delivery.networks import is_ipv6
from relay.delivery.replies import Reply, make_reply
from relay.delivery.routing import Hop, RoutingFailed
from relay.delivery.tls import OPPORTUNISTIC, TlsPolicy, assess
from relay.delivery.verdict import IN_WORDS, Chain, peer_chain

# Seconds, RFC 5321, 4.5.3.2.
CONNECT_TIMEOUT = 30
GREETING_TIMEOUT = 300
COMMAND_TIMEOUT = 300
DATA_TIMEOUT = 120
BLOCK_TIMEOUT = 180
FINAL_TIMEOUT = 600
QUIT_TIMEOUT = 2

LONGEST_LINE = 4096  # octets; RFC 5321 (4.5.3.1.5) allows 512, servers send more
MOST_LINES = 100
TRANSCRIPT_LINES = 200


class ConversationFailed(Exception):
    """The conversation broke without a usable reply. `phase`: what had been said last."""

    def __init__(self, reason: str, text: str, *, phase: str = "", in_doubt: bool = False) -> None:
        super().__init__(text)
        self.reason, self.text, self.phase, self.in_doubt = reason, text, phase, in_doubt


class Rejected(Exception):
    """The exchanger said no."""

    def __init__(self, reply: Reply, phase: str) -> None:
        super().__init__(str(reply))
        self.reply, self.phase = reply, phase


@dataclass(slots=True)
class Trace:
    """What happened in one attempt: transcript lines and milliseconds spent in each phase."""

    lines: list[str] = field(default_factory=list)
    phases_ms: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    tls: Tls | None = None  # of the last connection, also when it was refused for it

    def note(self, text: str) -> None:
        self._add(f"-- {text}")

    def client(self, text: str) -> None:
        self._add(f"C: {text}")

    def server(self, text: str) -> None:
        self._add(f"S: {text}")

    def _add(self, line: str) -> None:
        if len(self.lines) < TRANSCRIPT_LINES:
            self.lines.append(line)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            spent = self.phases_ms.get(name, 0.0) + (time.monotonic() - start) * 1000
            self.phases_ms[name] = round(spent, 2)

    @property
    def transcript(self) -> str:
        return "\n".join(self.lines)

    @property
    def duration_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 2)


class Conversation:
    """An open connection, past EHLO and (where offered) STARTTLS, ready for a message."""

    def __init__(self, hop: Hop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hop = hop
        self.tls: Tls | None = None
        self._chain: Chain | None = None
        self._wire: tuple[str, str] | None = None  # version and cipher
        self._reader, self._writer = reader, writer
        self._extensions: dict[str, str] = {}
        self._used = False

    @classmethod
    async def open(
        cls,
        hop: Hop,
        *,
        hostname: str,
        trace: Trace,
        policy: TlsPolicy = OPPORTUNISTIC,
        source_address: str | None = None,
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
            raise ConversationFailed("unreachable", text)
        self = await cls._connect(hop, trace, source_address)
        try:
            await self._begin(hostname, trace, policy)
        except _HandshakeFailed:
            self.abort()
            if policy.required:
                raise
            # RFC 7435, 3: nobody asked for encryption, so a broken one must not keep the mail back.
            trace.note("again, without encryption")
            self = await cls._connect(hop, trace, source_address)
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
        if self._wire and assessment.verdict:
            version, cipher = self._wire
            trace.note(f"{version} {cipher}, {IN_WORDS[assessment.verdict]}; policy: {policy.source}")
            tls = Tls(version=version, cipher=cipher, verdict=assessment.verdict.value, policy=policy.source.value)
        trace.tls = tls
        if assessment.note:
            trace.note(assessment.note)
        if assessment.refusal:
            trace.note(f"refused by policy: {assessment.refusal.text}")
            raise ConversationFailed(assessment.refusal.reason, assessment.refusal.text)
        return tls

    async def send(self, sender: str, recipient: str, message: bytes, trace: Trace, *, smtputf8: bool) -> Reply:
        """Hands one message over; returns the reply to the final dot when it is positive.

        Raises `Rejected` (the connection stays usable after `reset`) and `ConversationFailed` (it does not).
        """
        if self._used:
            trace.note(f"on the connection kept to {self.hop.host} ({self.hop.address}, port {self.hop.port})")
        self._used = True
        if smtputf8 and "SMTPUTF8" not in self._extensions:
            raise Rejected(Reply(553, "5.6.7", "The exchanger does not offer SMTPUTF8 (RFC 6531)"), "mail")
        await self._envelope(sender, recipient, message, trace, smtputf8=smtputf8)
        with trace.phase("data"):
            self._command("DATA", trace)
            reply = await self._reply(trace, DATA_TIMEOUT)
            if reply.code != 354:
                raise Rejected(reply, "data")
            return await self._content(message, trace)

    async def reset(self, trace: Trace) -> None:
        """Ready for the next message after a refusal. Raises like `send`."""
        self._command("RSET", trace)
        self._expect(await self._reply(trace, COMMAND_TIMEOUT), "reset")

    async def quit(self) -> None:
        """Says goodbye, without insisting."""
        with contextlib.suppress(ConversationFailed, OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(QUIT_TIMEOUT):
                trace = Trace()
                self._command("QUIT", trace)
                await self._reply(trace, QUIT_TIMEOUT)
        self.abort()

    def abort(self) -> None:
        self._writer.close()

    @classmethod
    async def _connect(cls, hop: Hop, trace: Trace, source_address: str | None) -> Conversation:
        speaking_from = f" from {source_address}" if source_address else ""
        trace.note(f"connecting to {hop.host} ({hop.address}, port {hop.port}){speaking_from}")
        local = (source_address, 0) if source_address else None
        with trace.phase("connect"):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    streams = await asyncio.open_connection(hop.address, hop.port, limit=LONGEST_LINE, local_addr=local)
            except (OSError, TimeoutError) as error:
                text = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
                trace.note(f"no connection: {text}")
                raise ConversationFailed("unreachable", f"{hop.host} ({hop.address}): {text}") from None
        return cls(hop, *streams)

    async def _begin(self, hostname: str, trace: Trace, policy: TlsPolicy, *, encrypt: bool = True) -> None:
        with trace.phase("greeting"):
            greeting = self._expect(await self._reply(trace, GREETING_TIMEOUT), "greeting")
            self._refuse_ourselves(greeting.text, hostname)
            await self._ehlo(hostname, trace)
        if encrypt and "STARTTLS" in self._extensions:
            with trace.phase("tls"):
                if await self._start_tls(trace, policy):
                    # Judged before another word is said: what is said from here on is for the verified only.
                    self.tls = self.check(policy, trace)
                    await self._ehlo(hostname, trace)
                    return
        self.check(policy, trace)

    async def _ehlo(self, hostname: str, trace: Trace) -> None:
        self._command(f"EHLO {hostname}", trace)
        code, lines = await self._lines(trace, COMMAND_TIMEOUT)
        if 500 <= code < 600:  # RFC 5321, 3.2: a server of the old kind
            self._command(f"HELO {hostname}", trace)
            self._expect(await self._reply(trace, COMMAND_TIMEOUT), "greeting")
            self._extensions = {}
            return
        self._expect(make_reply(code, lines), "greeting")
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
        self._command("STARTTLS", trace)
        reply = await self._reply(trace, COMMAND_TIMEOUT)
        if not reply.is_positive:
            if reply.code == 421:
                raise Rejected(reply, "tls")
            if policy.required:
                raise ConversationFailed("tls_required", f"{self.hop.host} refused STARTTLS: {reply}")
            return False  # RFC 3207, 4: the client decides whether to go on
        if self._reader._buffer:  # type: ignore[attr-defined]
            # Anything said before the handshake could come from somebody in between (RFC 3207, 6).
            raise ConversationFailed("protocol_error", "The server spoke between STARTTLS and the handshake.")
        # RFC 7672, 8.1: the name that the TLSA records were found at.
        name = policy.names[0] if policy.names else self.hop.host
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._writer.start_tls(_context(is_required=policy.required), server_hostname=name)
        except (OSError, TimeoutError, ssl.SSLError, ValueError) as error:
            text = str(error) or ("no answer" if isinstance(error, TimeoutError) else "the connection was closed")
            trace.note(f"TLS failed: {text}")
            raise _HandshakeFailed("tls_failure", f"TLS with {self.hop.host} failed: {text}") from None
        wire = self._writer.get_extra_info("ssl_object")
        self._chain = peer_chain(wire)
        self._wire = wire.version(), wire.cipher()[0]
        return True

    async def _envelope(self, sender: str, recipient: str, message: bytes, trace: Trace, *, smtputf8: bool) -> None:
        parameters = ""
        if "SIZE" in self._extensions:
            parameters += f" SIZE={len(message)}"
        if "8BITMIME" in self._extensions and not message.isascii():
            parameters += " BODY=8BITMIME"
        if smtputf8:
            parameters += " SMTPUTF8"
        mail, rcpt = f"MAIL FROM:<{sender}>{parameters}", f"RCPT TO:<{recipient}>"
        if "PIPELINING" in self._extensions:  # RFC 2920
            with trace.phase("mail"):
                self._command(f"{mail}\r\n{rcpt}", trace)
                mail_reply = await self._reply(trace, COMMAND_TIMEOUT, "mail")
            with trace.phase("rcpt"):
                rcpt_reply = await self._reply(trace, COMMAND_TIMEOUT)
            self._expect(mail_reply, "mail")
            self._expect(rcpt_reply, "rcpt")
            return
        for name, line in (("mail", mail), ("rcpt", rcpt)):
            with trace.phase(name):
                self._command(line, trace)
                self._expect(await self._reply(trace, COMMAND_TIMEOUT, name), name)

    async def _content(self, message: bytes, trace: Trace) -> Reply:
        stuffed = message.replace(b"\r\n.", b"\r\n..")  # RFC 5321, 4.5.2
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        trace.client(f"({len(stuffed)} octets)")
        trace.client(".")
        try:
            # In one write: a small last segment would wait for an ACK.
            await self._write(stuffed + b".\r\n", BLOCK_TIMEOUT)
            reply = await self._reply(trace, FINAL_TIMEOUT)
        except ConversationFailed as failed:
            # RFC 5321, 4.5.3.2.6 and 6.1: the receiver may or may not have taken it.
            raise ConversationFailed("outcome_unknown", f"After the final dot: {failed.text}", in_doubt=True) from None
        return self._expect(reply, "final")

    def _expect(self, reply: Reply, phase: str) -> Reply:
        if not reply.is_positive:
            raise Rejected(reply, phase)
        return reply

    def _command(self, text: str, trace: Trace) -> None:
        """Commands are short: the reply that follows is what is waited for."""
        for line in text.split("\r\n"):
            trace.client(line)
        self._writer.write(text.encode() + b"\r\n")

    async def _write(self, octets: bytes, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(octets)
                await self._writer.drain()
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise ConversationFailed("connection_lost", f"{self.hop.host}: {error or 'time-out'}") from None

    async def _reply(self, trace: Trace, timeout_s: float, phase: str = "") -> Reply:
        try:
            return make_reply(*await self._lines(trace, timeout_s))
        except ConversationFailed as failed:
            failed.phase = phase
            raise

    async def _lines(self, trace: Trace, timeout_s: float) -> tuple[int, list[str]]:
        """A reply's code and the texts of its lines (RFC 5321, 4.2.1)."""
        texts: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    octets = (await self._reader.readuntil(b"\n")).rstrip(b"\r\n")
                    line = octets.replace(b"\0", b"?").decode("utf-8", "replace")  # PostgreSQL's text holds no NUL
                    trace.server(line)
                    if not (line[:3].isdigit() and line[3:4] in ("", " ", "-")):
                        raise ConversationFailed("protocol_error", f"{self.hop.host} said: {line[:200]}")
                    texts.append(line[4:])
                    if line[3:4] != "-":
                        return int(line[:3]), texts
                    if len(texts) >= MOST_LINES:
                        raise ConversationFailed("protocol_error", f"{self.hop.host} sent an endless reply.")
        except asyncio.IncompleteReadError:
            trace.note("connection closed by the server")
            raise ConversationFailed("connection_lost", f"{self.hop.host} closed the connection.") from None
        except asyncio.LimitOverrunError:
            raise ConversationFailed("protocol_error", f"{self.hop.host} sent an endless line.") from None
        except TimeoutError:
            trace.note(f"no answer within {timeout_s:g} s")
            raise ConversationFailed("connection_lost", f"{self.hop.host} did not answer.") from None
        except (OSError, ssl.SSLError) as error:
            trace.note(f"connection lost: {error}")
            raise ConversationFailed("connection_lost", f"{self.hop.host}: {error}") from None


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
