"""Octets of a conversation with an exchanger: commands out, replies in (RFC 5321, 4.2), each with its time-out."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass

from relay.delivery.replies import Reply, make_reply
from relay.delivery.trace import Trace

LONGEST_LINE = 4096  # octets; RFC 5321 (4.5.3.1.5) allows 512, servers send more
MOST_LINES = 100
MOST_OCTETS = 16 * 1024  # of one reply, all lines together: it is kept with its event, for each attempt
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
    """The conversation broke without a usable reply. `phase`: what had been said last. `is_ours`: the exchanger was not even
    asked, for a fault on this machine."""

    def __init__(
        self,
        reason: str,
        text: str,
        *,
        phase: str = "",
        in_doubt: bool = False,
        permanent: bool = False,
        is_ours: bool = False,
    ) -> None:
        super().__init__(text)
        self.reason, self.text, self.phase, self.in_doubt, self.permanent = reason, text, phase, in_doubt, permanent
        self.is_ours = is_ours


class Rejected(Exception):
    """The exchanger said no."""

    def __init__(self, reply: Reply, phase: str) -> None:
        super().__init__(str(reply))
        self.reply, self.phase = reply, phase


class Wire:
    """A connection's streams. `host`: the exchanger's name, for texts."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.reader, self.writer = reader, writer

    def command(self, text: str, trace: Trace) -> None:
        self.commands([(text, "")], trace)

    def commands(self, commands: list[tuple[str, str]], trace: Trace) -> None:
        """In one packet, each with the recipient that it concerns. The replies that follow are what is waited for."""
        if self.writer.is_closing():  # uvloop's transports raise RuntimeError
            raise ConversationFailed("connection_lost", f"{self.host} closed the connection.")
        for text, about in commands:
            trace.client(text, about)
        self.writer.write("".join(f"{text}\r\n" for text, _ in commands).encode())

    async def write(self, octets: bytes | memoryview, timeout_s: float, trace: Trace) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                self.writer.write(octets)
                await self.writer.drain()
        except (OSError, TimeoutError, ssl.SSLError) as error:
            text = "took no more of the message" if isinstance(error, TimeoutError) else str(error)
            trace.note(text)
            raise ConversationFailed("connection_lost", f"{self.host}: {text}", phase="content") from None

    async def reply(self, trace: Trace, timeout_s: float, phase: str = "", about: str = "") -> Reply:
        try:
            return make_reply(*await self.lines(trace, timeout_s, about))
        except ConversationFailed as failed:
            failed.phase = phase
            raise

    async def lines(self, trace: Trace, timeout_s: float, about: str = "") -> tuple[int, list[str]]:
        """A reply's code and the texts of its lines (RFC 5321, 4.2.1). The time-out is for all of it."""
        texts: list[str] = []
        octets_left = MOST_OCTETS
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    octets = (await self.reader.readuntil(b"\n")).rstrip(b"\r\n")
                    line = octets.replace(b"\0", b"?").decode("utf-8", "replace")  # PostgreSQL's text holds no NUL
                    trace.server(line, about)
                    if not _LINE.match(line):
                        raise ConversationFailed("protocol_error", f"{self.host} said: {line[:200]}")
                    texts.append(line[4:])
                    octets_left -= len(octets)
                    if line[3:4] != "-":
                        return int(line[:3]), texts
                    if len(texts) >= MOST_LINES or octets_left < 0:
                        raise ConversationFailed("protocol_error", f"{self.host} sent an endless reply.")
        except asyncio.IncompleteReadError:
            trace.note("connection closed by the server")
            raise ConversationFailed("connection_lost", f"{self.host} closed the connection.") from None
        except asyncio.LimitOverrunError:
            raise ConversationFailed("protocol_error", f"{self.host} sent an endless line.") from None
        except TimeoutError:
            trace.note(f"no answer within {timeout_s:g} s")
            raise ConversationFailed("connection_lost", f"{self.host} did not answer.") from None
        except (OSError, ssl.SSLError) as error:
            trace.note(f"connection lost: {error}")
            raise ConversationFailed("connection_lost", f"{self.host}: {error}") from None

    @property
    def has_spoken(self) -> bool:
        """Something has come, or the end, that was not waited for."""
        return bool(self.reader._buffer) or self.reader.at_eof()  # type: ignore[attr-defined]

    def keep_what_was_said(self) -> None:
        """Before the connection was lost: the reader would only tell of the loss."""
        heard = asyncio.StreamReader(limit=LONGEST_LINE)
        heard.feed_data(bytes(self.reader._buffer))  # type: ignore[attr-defined]
        heard.feed_eof()
        self.reader = heard

    def expect(self, reply: Reply, phase: str, first_digit: int = 2) -> Reply:
        """RFC 5321, 4.2.1: 2 is yes, 3 is yes so far, 4 and 5 are no. After a yes that is not the one due, nobody knows
        which reply belongs to which command."""
        if reply.code >= 400:
            raise Rejected(reply, phase)
        if reply.code // 100 != first_digit:
            raise ConversationFailed("protocol_error", f"{self.host} answered out of turn: {reply}", phase=phase)
        return reply

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        """Ends it at once: what still waits to be sent is not sent after all, nor is a silent peer waited for."""
        self.writer.transport.abort()
