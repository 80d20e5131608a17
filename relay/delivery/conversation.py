"""One SMTP connection to an exchanger, client side (RFC 5321, 3207, 2920), with its transcript and timings."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from events.log import Tls
from relay.delivery.replies import Reply, make_reply
from relay.delivery.routing import Hop

LONGEST_LINE = 4096  # octets; RFC 5321 (4.5.3.1.5) allows 512, servers send more
MOST_LINES = 100
MOST_OCTETS = 16 * 1024  # of one reply, all lines together: it is kept with its event, for each attempt
TRANSCRIPT_LINES = 200
BLOCK_OCTETS = 64 * 1024  # of a message, written at once
_LINE = re.compile(r"[2-5][0-9]{2}(?:[ -]|$)")  # RFC 5321, 4.2; some servers' second digit is beyond the RFC's 5


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for a whole reply, from its first octet to its last, however it drips. RFC 5321, 4.5.3.2, says at least how
    many."""

    connect: float = 30  # the RFC leaves it to us; the next address may answer
    greeting: float = 300  # 4.5.3.2.1: initial 220 message
    command: float = 300  # EHLO, HELO, STARTTLS; as for MAIL
    handshake: float = 60  # TLS
    mail: float = 300  # 4.5.3.2.2
    rcpt: float = 300  # 4.5.3.2.3
    data: float = 120  # 4.5.3.2.4: DATA initiation
    block: float = 180  # 4.5.3.2.5: for each block of the message
    final: float = 600  # 4.5.3.2.6: DATA termination
    reset: float = 20  # nothing hangs on it: without an answer the connection is given up
    quit: float = 2


DEFAULT_TIMEOUTS = Timeouts()


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

    def __init__(
        self, hop: Hop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeouts: Timeouts
    ) -> None:
        self.hop = hop
        self.tls: Tls | None = None
        self._timeouts = timeouts
        self._reader, self._writer = reader, writer
        self._extensions: dict[str, str] = {}
        self._used = False

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
        self = cls(hop, *streams, timeouts)
        try:
            with trace.phase("greeting"):
                self._expect(await self._reply(trace, timeouts.greeting), "greeting")
                await self._ehlo(hostname, trace)
            if "STARTTLS" in self._extensions:
                with trace.phase("tls"):
                    await self._start_tls(trace)
                    await self._ehlo(hostname, trace)
        except BaseException:
            self.abort()
            raise
        return self

    async def send(self, sender: str, recipient: str, message: bytes, trace: Trace, *, smtputf8: bool) -> Reply:
        """Hands one message over; returns the reply to the final dot when it is positive.

        Raises `Rejected` (the connection stays usable after `reset`) and `ConversationFailed` (it does not).
        """
        if self._used:
            trace.note(f"on the connection kept to {self.hop.host} ({self.hop.address}, port {self.hop.port})")
            if self._has_spoken or self._writer.is_closing():
                # An end (RFC 5321, 3.8: 421 may come at any time), or a reply to nothing, which would answer MAIL.
                raise ConversationFailed("connection_lost", f"{self.hop.host} ended the connection.", phase="mail")
        self._used = True
        if smtputf8 and "SMTPUTF8" not in self._extensions:
            raise Rejected(Reply(553, "5.6.7", "The exchanger does not offer SMTPUTF8 (RFC 6531)"), "mail")
        await self._envelope(sender, recipient, message, trace, smtputf8=smtputf8)
        with trace.phase("data"):
            self._command("DATA", trace)
            reply = await self._reply(trace, self._timeouts.data)
            self._expect(reply, "data", first_digit=3)
            return await self._content(message, trace)

    async def reset(self, trace: Trace) -> None:
        """Ready for the next message after a refusal. Raises like `send`."""
        self._command("RSET", trace)
        self._expect(await self._reply(trace, self._timeouts.reset), "reset")

    async def quit(self) -> None:
        """Says goodbye, without insisting."""
        with contextlib.suppress(ConversationFailed, OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(self._timeouts.quit):
                trace = Trace()
                self._command("QUIT", trace)
                await self._reply(trace, self._timeouts.quit)
        self._writer.close()

    def abort(self) -> None:
        """Ends it at once: what still waits to be sent is not sent after all, nor is a silent peer waited for."""
        self._writer.transport.abort()

    async def _ehlo(self, hostname: str, trace: Trace) -> None:
        self._command(f"EHLO {hostname}", trace)
        code, lines = await self._lines(trace, self._timeouts.command)
        if 500 <= code < 600:  # RFC 5321, 3.2: a server of the old kind
            self._command(f"HELO {hostname}", trace)
            self._expect(await self._reply(trace, self._timeouts.command), "greeting")
            self._extensions = {}
            return
        self._expect(make_reply(code, lines), "greeting")
        words = [line.upper().partition(" ") for line in lines[1:]]
        self._extensions = {keyword: value for keyword, _, value in words}

    async def _start_tls(self, trace: Trace) -> None:
        self._command("STARTTLS", trace)
        reply = await self._reply(trace, self._timeouts.command)
        if not reply.is_positive:  # which says nothing about the recipient
            raise ConversationFailed("tls_failure", f"{self.hop.host} refused STARTTLS: {reply}")
        if self._has_spoken:
            # Anything said before the handshake could come from somebody in between (RFC 3207, 6).
            raise ConversationFailed("protocol_error", "The server spoke between STARTTLS and the handshake.")
        try:
            async with asyncio.timeout(self._timeouts.handshake):
                await self._writer.start_tls(_opportunistic_tls(), server_hostname=self.hop.host)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            text = str(error) or ("no answer" if isinstance(error, TimeoutError) else "the connection was closed")
            trace.note(f"TLS failed: {text}")
            raise ConversationFailed("tls_failure", f"TLS with {self.hop.host} failed: {text}") from None
        wire = self._writer.get_extra_info("ssl_object")
        self.tls = Tls(version=wire.version(), cipher=wire.cipher()[0])
        trace.note(f"{self.tls['version']} {self.tls['cipher']}")

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
                mail_reply = await self._reply(trace, self._timeouts.mail, "mail")
                if mail_reply.code == 421:  # RFC 5321, 3.8: it closes the connection, and no other reply follows
                    raise Rejected(mail_reply, "mail")
            with trace.phase("rcpt"):
                rcpt_reply = await self._reply(trace, self._timeouts.rcpt)
            self._expect(mail_reply, "mail")
            self._expect(rcpt_reply, "rcpt")
            return
        for name, line, timeout_s in (("mail", mail, self._timeouts.mail), ("rcpt", rcpt, self._timeouts.rcpt)):
            with trace.phase(name):
                self._command(line, trace)
                self._expect(await self._reply(trace, timeout_s, name), name)

    async def _content(self, message: bytes, trace: Trace) -> Reply:
        stuffed = message.replace(b"\r\n.", b"\r\n..")  # RFC 5321, 4.5.2
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        trace.client(f"({len(stuffed)} octets)")
        await self._all_but_the_last_block(stuffed, trace)
        trace.client(".")
        try:
            # With the dot in one write: a small last segment would wait for an ACK.
            await self._write(stuffed[_last_block(stuffed) :] + b".\r\n", trace)
            reply = await self._reply(trace, self._timeouts.final)
            return self._expect(reply, "final")
        except ConversationFailed as failed:
            # RFC 5321, 4.5.3.2.6 and 6.1: the receiver may or may not have taken it.
            raise ConversationFailed("outcome_unknown", f"After the final dot: {failed.text}", in_doubt=True) from None

    async def _all_but_the_last_block(self, stuffed: bytes, trace: Trace) -> None:
        """Raises without doubt: the final dot is yet to come. An exchanger may give up before it has heard all (RFC 5321,
        3.8), and what it says then is the reason, even when it has closed the connection since."""
        lost: ConversationFailed | None = None
        try:
            for at in range(0, _last_block(stuffed), BLOCK_OCTETS):
                if self._has_spoken:
                    break
                await self._write(stuffed[at : at + BLOCK_OCTETS], trace)
        except ConversationFailed as failed:
            lost = failed
        if self._has_spoken:
            if lost:
                self._keep_what_was_said()
            trace.note("the exchanger spoke before the message's end")
            reply = await self._reply(trace, self._timeouts.command)
            self.abort()
            if reply.code >= 400:
                raise Rejected(reply, "data")
            raise ConversationFailed("protocol_error", f"{self.hop.host} answered out of turn: {reply}")
        if lost:
            raise lost

    @property
    def _has_spoken(self) -> bool:
        """Something has come, or the end, that was not waited for."""
        return bool(self._reader._buffer) or self._reader.at_eof()  # type: ignore[attr-defined]

    def _keep_what_was_said(self) -> None:
        """Before the connection was lost: the reader would only tell of the loss."""
        heard = asyncio.StreamReader(limit=LONGEST_LINE)
        heard.feed_data(bytes(self._reader._buffer))  # type: ignore[attr-defined]
        heard.feed_eof()
        self._reader = heard

    def _expect(self, reply: Reply, phase: str, first_digit: int = 2) -> Reply:
        """RFC 5321, 4.2.1: 2 is yes, 3 is yes so far, 4 and 5 are no. After a yes that is not the one due, nobody knows
        which reply belongs to which command."""
        if reply.code >= 400:
            raise Rejected(reply, phase)
        if reply.code // 100 != first_digit:
            raise ConversationFailed("protocol_error", f"{self.hop.host} answered out of turn: {reply}", phase=phase)
        return reply

    def _command(self, text: str, trace: Trace) -> None:
        """Commands are short: the reply that follows is what is waited for."""
        if self._writer.is_closing():  # uvloop's transports raise RuntimeError
            raise ConversationFailed("connection_lost", f"{self.hop.host} closed the connection.")
        for line in text.split("\r\n"):
            trace.client(line)
        self._writer.write(text.encode() + b"\r\n")

    async def _write(self, octets: bytes, trace: Trace) -> None:
        try:
            async with asyncio.timeout(self._timeouts.block):
                self._writer.write(octets)
                await self._writer.drain()
        except (OSError, TimeoutError, ssl.SSLError) as error:
            text = "took no more of the message" if isinstance(error, TimeoutError) else str(error)
            trace.note(text)
            raise ConversationFailed("connection_lost", f"{self.hop.host}: {text}") from None

    async def _reply(self, trace: Trace, timeout_s: float, phase: str = "") -> Reply:
        try:
            return make_reply(*await self._lines(trace, timeout_s))
        except ConversationFailed as failed:
            failed.phase = phase
            raise

    async def _lines(self, trace: Trace, timeout_s: float) -> tuple[int, list[str]]:
        """A reply's code and the texts of its lines (RFC 5321, 4.2.1). The time-out is for all of it."""
        texts: list[str] = []
        octets_left = MOST_OCTETS
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    octets = (await self._reader.readuntil(b"\n")).rstrip(b"\r\n")
                    line = octets.replace(b"\0", b"?").decode("utf-8", "replace")  # PostgreSQL's text holds no NUL
                    trace.server(line)
                    if not _LINE.match(line):
                        raise ConversationFailed("protocol_error", f"{self.hop.host} said: {line[:200]}")
                    texts.append(line[4:])
                    octets_left -= len(octets)
                    if line[3:4] != "-":
                        return int(line[:3]), texts
                    if len(texts) >= MOST_LINES or octets_left < 0:
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


def _last_block(stuffed: bytes) -> int:
    """Where the last block begins."""
    return max(0, len(stuffed) - 1) // BLOCK_OCTETS * BLOCK_OCTETS


_tls: ssl.SSLContext | None = None


def _opportunistic_tls() -> ssl.SSLContext:
    """Encryption without authentication, as RFC 7435 has it: any certificate is better than none."""
    global _tls
    if _tls is None:
        _tls = ssl.create_default_context()
        _tls.check_hostname = False
        _tls.verify_mode = ssl.CERT_NONE
    return _tls
