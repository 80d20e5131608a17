"""One SMTP connection to an exchanger, client side (RFC 5321, 3207, 2920), with its transcript and timings."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field

from events.log import Tls
from relay.delivery.replies import Reply, make_reply
from relay.delivery.routing import Hop
from relay.delivery.trace import Trace

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
BLOCK_OCTETS = 256 * 1024


class ConversationFailed(Exception):
    """The conversation broke without a usable reply. `phase`: what had been said last."""

    def __init__(
        self, reason: str, text: str, *, phase: str = "", in_doubt: bool = False, permanent: bool = False
    ) -> None:
        super().__init__(text)
        self.reason, self.text, self.phase, self.in_doubt, self.permanent = reason, text, phase, in_doubt, permanent


class Rejected(Exception):
    """The exchanger said no."""

    def __init__(self, reply: Reply, phase: str) -> None:
        super().__init__(str(reply))
        self.reply, self.phase = reply, phase


@dataclass(slots=True)
class Transaction:
    """One message for some recipients at one exchanger. `results` is filled in as the replies come.

    A `Reply` says that the recipient's mail was taken, a `Rejected` that it was not; None is left where the conversation
    broke before there was an answer.
    """

    sender: str
    recipients: list[str]
    message: bytes
    smtputf8: bool
    results: list[Reply | Rejected | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results = [None] * len(self.recipients)

    def refuse(self, rejected: Rejected) -> None:
        """All that have no answer yet."""
        self.results = [rejected if result is None else result for result in self.results]


class Conversation:
    """An open connection, past EHLO and (where offered) STARTTLS, ready for a message."""

    def __init__(self, hop: Hop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hop = hop
        self.tls: Tls | None = None
        self._reader, self._writer = reader, writer
        self._extensions: dict[str, str] = {}
        self._sent = 0
        self._needs_reset = False
        self._is_dismissed = False
        self._is_in_doubt = False

    @classmethod
    async def open(cls, hop: Hop, *, hostname: str, trace: Trace) -> Conversation:
        """Raises `ConversationFailed` or `Rejected`."""
        trace.note(f"connecting to {hop.host} ({hop.address}, port {hop.port})")
        with trace.phase("connect"):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    streams = await asyncio.open_connection(hop.address, hop.port, limit=LONGEST_LINE)
            except (OSError, TimeoutError) as error:
                text = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
                trace.note(f"no connection: {text}")
                raise ConversationFailed("unreachable", f"{hop.host} ({hop.address}): {text}") from None
        self = cls(hop, *streams)
        try:
            with trace.phase("greeting"):
                self._expect(await self._reply(trace, GREETING_TIMEOUT), "greeting")
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
        if self._sent:
            trace.note(f"on the connection kept to {self.hop.host} ({self.hop.address}, port {self.hop.port})")
        self._sent += 1
        if transaction.smtputf8 and "SMTPUTF8" not in self._extensions:
            reply = Reply(553, "5.6.7", "The exchanger does not offer SMTPUTF8 (RFC 6531)")
            transaction.refuse(Rejected(reply, "mail"))
            return
        if "PIPELINING" in self._extensions:
            is_ready = await self._envelope_at_once(transaction, trace)
        else:
            is_ready = await self._envelope_step_by_step(transaction, trace)
        if is_ready:
            with trace.phase("data"):
                await self._content(transaction, trace)

    @property
    def is_usable(self) -> bool:
        """Whether the exchanger lets us go on with this connection."""
        return not self._is_dismissed

    @property
    def is_in_doubt(self) -> bool:
        """Whether a final dot is on its way and its reply is not here."""
        return self._is_in_doubt

    @property
    def sent(self) -> int:
        """Transactions so far."""
        return self._sent

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

    async def _ehlo(self, hostname: str, trace: Trace) -> None:
        self._command(f"EHLO {hostname}", trace)
        code, lines = await self._lines(trace, COMMAND_TIMEOUT)
        if 500 <= code < 600:  # RFC 5321, 3.2: a server of the old kind
            self._command(f"HELO {hostname}", trace)
            self._expect(await self._reply(trace, COMMAND_TIMEOUT), "greeting")
            self._extensions = {}
            return
        self._expect(make_reply(code, lines), "greeting")
        words = [line.upper().partition(" ") for line in lines[1:]]
        self._extensions = {keyword: value for keyword, _, value in words}

    async def _start_tls(self, trace: Trace) -> None:
        self._command("STARTTLS", trace)
        self._expect(await self._reply(trace, COMMAND_TIMEOUT), "tls")
        if self._reader._buffer:  # type: ignore[attr-defined]
            # Anything said before the handshake could come from somebody in between (RFC 3207, 6).
            raise ConversationFailed("protocol_error", "The server spoke between STARTTLS and the handshake.")
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._writer.start_tls(_opportunistic_tls(), server_hostname=self.hop.host)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            trace.note(f"TLS failed: {error}")
            raise ConversationFailed("tls_failure", f"TLS with {self.hop.host} failed: {error}") from None
        wire = self._writer.get_extra_info("ssl_object")
        self.tls = Tls(version=wire.version(), cipher=wire.cipher()[0])
        trace.note(f"{self.tls['version']} {self.tls['cipher']}")

    async def _envelope_at_once(self, transaction: Transaction, trace: Trace) -> bool:
        """RFC 2920, 3.1: up to DATA in one packet. Returns whether the content is waited for."""
        resets, self._needs_reset = self._needs_reset, True
        commands = ["RSET"] if resets else []
        commands += [self._mail(transaction), *(f"RCPT TO:<{one}>" for one in transaction.recipients), "DATA"]
        abouts = [*([""] if resets else []), "", *transaction.recipients, ""]
        self._commands(list(zip(commands, abouts, strict=True)), trace)
        with trace.phase("mail"):
            if resets:
                await self._reply(trace, COMMAND_TIMEOUT, "mail")
            mail = await self._reply(trace, COMMAND_TIMEOUT, "mail")
        if not mail.is_positive:
            transaction.refuse(self._rejected(mail, "mail"))
        with trace.phase("rcpt"):
            for number, recipient in enumerate(transaction.recipients):
                if self._is_dismissed:
                    return False
                self._note_rcpt(transaction, number, await self._reply(trace, COMMAND_TIMEOUT, "rcpt", recipient))
        if self._is_dismissed:
            return False
        with trace.phase("data"):
            data = await self._reply(trace, DATA_TIMEOUT, "data")
        if data.code == 354 and None not in transaction.results:
            # It waits for a content that nobody is to get.
            trace.client(".")
            await self._write(b".\r\n", BLOCK_TIMEOUT)
            await self._reply(trace, FINAL_TIMEOUT)
            return False
        return self._heed_data(transaction, data)

    async def _envelope_step_by_step(self, transaction: Transaction, trace: Trace) -> bool:
        resets, self._needs_reset = self._needs_reset, True
        if resets:
            self._commands([("RSET", "")], trace)
            await self._reply(trace, COMMAND_TIMEOUT, "mail")
        with trace.phase("mail"):
            self._commands([(self._mail(transaction), "")], trace)
            mail = await self._reply(trace, COMMAND_TIMEOUT, "mail")
        if not mail.is_positive:
            transaction.refuse(self._rejected(mail, "mail"))
            return False
        with trace.phase("rcpt"):
            for number, recipient in enumerate(transaction.recipients):
                self._commands([(f"RCPT TO:<{recipient}>", recipient)], trace)
                reply = await self._reply(trace, COMMAND_TIMEOUT, "rcpt", recipient)
                self._note_rcpt(transaction, number, reply)
                if self._is_dismissed:
                    return False
        if None not in transaction.results:
            return False
        with trace.phase("data"):
            self._commands([("DATA", "")], trace)
            return self._heed_data(transaction, await self._reply(trace, DATA_TIMEOUT, "data"))

    def _mail(self, transaction: Transaction) -> str:
        parameters = ""
        if "SIZE" in self._extensions:
            parameters += f" SIZE={len(transaction.message)}"
        if "8BITMIME" in self._extensions and not transaction.message.isascii():
            parameters += " BODY=8BITMIME"
        if transaction.smtputf8:
            parameters += " SMTPUTF8"
        return f"MAIL FROM:<{transaction.sender}>{parameters}"

    def _note_rcpt(self, transaction: Transaction, number: int, reply: Reply) -> None:
        if reply.is_positive or transaction.results[number] is not None:
            return
        transaction.results[number] = rejected = self._rejected(reply, "rcpt")
        if self._is_dismissed:
            transaction.refuse(rejected)

    def _heed_data(self, transaction: Transaction, reply: Reply) -> bool:
        if reply.code != 354:
            transaction.refuse(self._rejected(reply, "data"))
        return None in transaction.results

    async def _content(self, transaction: Transaction, trace: Trace) -> None:
        stuffed = transaction.message.replace(b"\r\n.", b"\r\n..")  # RFC 5321, 4.5.2
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        ending = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        trace.client(f"({len(stuffed)} octets)")
        trace.client(".")
        try:
            if len(stuffed) <= BLOCK_OCTETS:
                # In one write: a small last segment would wait for an ACK.
                await self._write(stuffed + ending, BLOCK_TIMEOUT)
            else:
                await self._write_blocks(stuffed, ending)
            self._is_in_doubt = True
            reply = await self._reply(trace, FINAL_TIMEOUT)
        except ConversationFailed as failed:
            if not self._is_in_doubt:
                raise
            # RFC 5321, 4.5.3.2.6 and 6.1: the receiver may or may not have taken it.
            raise ConversationFailed("outcome_unknown", f"After the final dot: {failed.text}", in_doubt=True) from None
        self._is_in_doubt = self._needs_reset = False
        answer = reply if reply.is_positive else self._rejected(reply, "final")
        transaction.results = [answer if result is None else result for result in transaction.results]

    async def _write_blocks(self, octets: bytes, ending: bytes) -> None:
        """RFC 5321, 4.5.3.2.5: each block has a time of its own."""
        view = memoryview(octets)
        for start in range(0, len(view), BLOCK_OCTETS):
            block: bytes | memoryview = view[start : start + BLOCK_OCTETS]
            if start + BLOCK_OCTETS >= len(view):
                block = bytes(block) + ending
                self._is_in_doubt = True  # from here on the final dot may have been read
            await self._write(block, BLOCK_TIMEOUT)

    def _rejected(self, reply: Reply, phase: str) -> Rejected:
        if reply.code == 421:  # RFC 5321, 3.8: it closes the connection
            self._is_dismissed = True
        return Rejected(reply, phase)

    def _expect(self, reply: Reply, phase: str) -> Reply:
        if not reply.is_positive:
            raise Rejected(reply, phase)
        return reply

    def _command(self, text: str, trace: Trace) -> None:
        self._commands([(text, "")], trace)

    def _commands(self, commands: list[tuple[str, str]], trace: Trace) -> None:
        """Each with the recipient that it concerns. Commands are short: the replies that follow are what is waited for."""
        for text, about in commands:
            trace.client(text, about)
        self._writer.write("".join(f"{text}\r\n" for text, _ in commands).encode())

    async def _write(self, octets: bytes | memoryview, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(octets)
                await self._writer.drain()
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise ConversationFailed("connection_lost", f"{self.hop.host}: {error or 'time-out'}") from None

    async def _reply(self, trace: Trace, timeout_s: float, phase: str = "", about: str = "") -> Reply:
        try:
            return make_reply(*await self._lines(trace, timeout_s, about))
        except ConversationFailed as failed:
            failed.phase = phase
            raise

    async def _lines(self, trace: Trace, timeout_s: float, about: str = "") -> tuple[int, list[str]]:
        """A reply's code and the texts of its lines (RFC 5321, 4.2.1)."""
        texts: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    octets = (await self._reader.readuntil(b"\n")).rstrip(b"\r\n")
                    line = octets.replace(b"\0", b"?").decode("utf-8", "replace")  # PostgreSQL's text holds no NUL
                    trace.server(line, about)
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


_tls: ssl.SSLContext | None = None


def _opportunistic_tls() -> ssl.SSLContext:
    """Encryption without authentication, as RFC 7435 has it: any certificate is better than none."""
    global _tls
    if _tls is None:
        _tls = ssl.create_default_context()
        _tls.check_hostname = False
        _tls.verify_mode = ssl.CERT_NONE
    return _tls
