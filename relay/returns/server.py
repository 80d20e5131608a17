"""The return-path server: real SMTP for bounces, complaints and whatever else comes to our return paths (RFC 5321).

It takes mail for authentic addresses only and answers 550 to RCPT for all else; it never sends anything, so nobody gets a
bounce from it. 250 to the final dot means that what the mail tells is committed, or that nothing follows. aiosmtpd's session
serves: returns are few beside what is submitted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from relay.models import ReturnOutcome
from relay.returns.mailboxes import Mailbox, mailbox_of
from relay.returns.parts import READ_MOST
from relay.returns.record import Arrival, Busy, count, record
from relay.submission.smtp_tls import Certificate

logger = logging.getLogger(__name__)

BUFFER_OCTETS = 64 * 1024
END_OF_DATA = b"\r\n.\r\n"
MOST_RECIPIENTS = 100  # RFC 5321, 4.5.3.1.8
REFUSED_MOST = 20  # recipients in one connection: who guesses must come again
COMMANDS_MOST = 2000  # of each kind in one connection
TRANSFER_S = 900  # for one mail
SESSION_S = 3600  # for one connection, however busy
THREADS = 4
# A bounce may come before its message's outcome is settled: word of that is waited for here, then the sender comes again.
BUSY_TRIES, BUSY_PAUSE_S = 20, 0.25
COUNTS_WRITTEN_EVERY_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReturnsLimits:
    connections: int = 200
    connections_per_address: int = 20
    idle_s: float = 300
    size: int = 50 * 1024 * 1024  # octets, RFC 1870

    @classmethod
    def from_settings(cls) -> ReturnsLimits:
        return cls(
            settings.RETURNS_CONNECTIONS, settings.RETURNS_CONNECTIONS_PER_ADDRESS, settings.RETURNS_IDLE_SECONDS,
            settings.RETURNS_SIZE_LIMIT,
        )  # fmt: skip


class ReturnsServer:
    """A running server."""

    def __init__(self, *, hostname: str, certificate: Certificate, limits: ReturnsLimits) -> None:
        self.hostname, self.certificate, self.limits = hostname, certificate, limits
        self.open: Counter[str] = Counter()  # connections by address
        self._threads = ThreadPoolExecutor(THREADS, "returns")
        self._refused = 0
        self._server: asyncio.Server | None = None
        self._writer: asyncio.Task[None] | None = None
        self.sessions: set[ReturnsSession] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def listen(self, host: str, port: int) -> None:
        """Port 0: any free one. Other processes may share it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ReturnsSession(self), host, port, reuse_port=True)
        self._writer = loop.create_task(self._write_counts())

    async def close(self, drain_s: float = 1.0) -> None:
        """Mail in hand is taken to its end for so long."""
        if self._server:
            self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                for session in list(self.sessions):
                    await session.is_idle.wait()
        for session in list(self.sessions):
            session.hang_up()
        if self._writer:
            self._writer.cancel()
        await self._flush_counts()
        all_of_them = threading.Barrier(THREADS, timeout=drain_s + 1)
        await asyncio.gather(*(self.in_thread(_end_thread, all_of_them) for _ in range(THREADS)))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def note_refused(self) -> None:
        self._refused += 1

    async def take(self, arrivals: list[Arrival]) -> str:
        """The answer to the final dot."""
        outcomes: list[ReturnOutcome] = []
        try:
            for arrival in arrivals:
                outcomes.append(await self._take(arrival))
        except Busy:
            return "451 4.3.0 The message that this is about is being delivered: come again"
        except (DatabaseError, InterfaceError, OSError) as error:
            logger.warning("A returned mail cannot be recorded now: %s", error)
            return "451 4.3.0 Cannot record this now: come again"
        return f"250 2.6.0 Taken: {', '.join(outcomes)}"

    async def _take(self, arrival: Arrival) -> ReturnOutcome:
        for _ in range(BUSY_TRIES):
            with contextlib.suppress(Busy):
                return await self.in_thread(_record, arrival)
            await asyncio.sleep(BUSY_PAUSE_S)
        raise Busy

    async def _write_counts(self) -> None:
        while True:
            await asyncio.sleep(COUNTS_WRITTEN_EVERY_S)
            await self._flush_counts()

    async def _flush_counts(self) -> None:
        number, self._refused = self._refused, 0
        if not number:
            return
        try:
            await self.in_thread(_count_refused, number)
        except (DatabaseError, InterfaceError, OSError):
            self._refused += number


def _record(arrival: Arrival) -> ReturnOutcome:
    close_old_connections()
    return record(arrival)


def _end_thread(all_of_them: threading.Barrier) -> None:
    """Each thread has a connection of its own."""
    with contextlib.suppress(threading.BrokenBarrierError):
        all_of_them.wait()
    connections.close_all()


def _count_refused(number: int) -> None:
    close_old_connections()
    count("", ReturnOutcome.REFUSED, number)


class ReturnsSession(SMTP):
    """One connection. Of a mail's content only the beginning is held, in bounded memory, however large the mail."""

    line_length_limit = BUFFER_OCTETS  # the stream reader's; commands have their own limit

    def __init__(self, server: ReturnsServer) -> None:
        super().__init__(
            _Handler(server),
            hostname=server.hostname,
            ident="ESMTP PlugSend, for bounces and complaints",
            data_size_limit=server.limits.size,
            enable_SMTPUTF8=True,
            tls_context=server.certificate.newest(),
            timeout=server.limits.idle_s,
            command_call_limit=COMMANDS_MOST,
            loop=asyncio.get_running_loop(),
        )
        self._returns = server
        self._address = ""
        self._end: asyncio.TimerHandle | None = None
        self.is_idle = asyncio.Event()  # no mail is in hand
        self.is_idle.set()
        self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self in self._returns.sessions:  # once more, over TLS
            super().connection_made(transport)
            return
        raw = transport.get_extra_info("socket")
        if raw is not None:  # small replies in a row must not wait for an ACK each
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = (transport.get_extra_info("peername") or ("",))[0]
        limits, is_open = self._returns.limits, self._returns.open
        if is_open.total() >= limits.connections or is_open[address] >= limits.connections_per_address:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"421 4.3.2 Too many connections: come again later\r\n")
            transport.close()
            return
        self._address = address
        is_open[address] += 1
        self._returns.sessions.add(self)
        self._end = asyncio.get_running_loop().call_later(SESSION_S, self.hang_up)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self not in self._returns.sessions:
            return
        self._returns.sessions.discard(self)
        if self._end:
            self._end.cancel()
        self._returns.open[self._address] -= 1
        if self._returns.open[self._address] <= 0:
            del self._returns.open[self._address]
        super().connection_lost(error)

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        assert self.envelope is not None
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 RCPT comes first")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self.is_idle.clear()
        try:
            async with asyncio.timeout(TRANSFER_S):
                content, size = await self._read_content()
            self._timeout_duration, before = TRANSFER_S, self._timeout_duration
            self._reset_timeout()
            if size > self._returns.limits.size:
                status = "552 5.3.4 The message is larger than the limit"
            else:
                sender = self.envelope.mail_from or ""
                boxes: list[Mailbox] = [box for address in self.envelope.rcpt_tos if (box := mailbox_of(address))]
                status = await self._returns.take([Arrival(box, content, size, sender) for box in dict.fromkeys(boxes)])
            self._timeout_duration = before
            self._set_post_data_state()
            await self.push(status)
        except TimeoutError:
            await self.push("421 4.4.2 That took too long")
            self.hang_up()
        finally:
            self.is_idle.set()

    async def _read_content(self) -> tuple[bytes, int]:
        """The beginning of what stands before the final dot, without transparency dots (RFC 5321, 4.5.2), and how many octets
        it was in all."""
        kept, tail, size = bytearray(), b"\r\n", 0
        while not tail.endswith(END_OF_DATA):
            try:
                piece = await self._reader.readuntil(b".\r\n")
            except asyncio.LimitOverrunError as full:
                piece = await self._reader.readexactly(full.consumed)
            self._reset_timeout()
            kept += piece[: max(0, READ_MOST - len(kept))]
            size += len(piece)
            tail = (tail + piece)[-len(END_OF_DATA) :]
        size -= len(b".\r\n")
        content = bytes(kept[:size])
        return content.removeprefix(b".").replace(b"\r\n.", b"\r\n"), size


class _Handler:
    """Decides, by aiosmtpd's hooks."""

    def __init__(self, server: ReturnsServer) -> None:
        self._server = server

    async def handle_EHLO(
        self, server: ReturnsSession, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        offered = [line for line in responses[:-1] if not line.startswith("250-AUTH")]
        # aiosmtpd takes commands one by one out of its buffer (RFC 2920) and empties it at STARTTLS (RFC 3207, 4).
        return ["\r\n".join([*offered, "250-PIPELINING", "250 ENHANCEDSTATUSCODES"])]

    async def handle_MAIL(
        self, server: ReturnsSession, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: ReturnsSession, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if mailbox_of(address) is None:
            self._server.note_refused()
            server.refused += 1
            if server.refused >= REFUSED_MOST:
                asyncio.get_running_loop().call_soon(server.hang_up)
                return "421 4.7.0 Too many addresses that are not ours"
            return "550 5.1.1 No such address: only return paths of mail that was sent from here are served"
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_exception(self, error: Exception) -> str:
        logger.error("a session of the return-path server failed", exc_info=error)
        return "451 4.3.0 Something went wrong here"
