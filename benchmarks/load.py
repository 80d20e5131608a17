"""The load: SMTP submission clients with STARTTLS and AUTH PLAIN on one uvloop, as light as they can be made.

    python -m benchmarks.load --port 2587 --user admin@demo.test --password … --connections 20 --messages 100

As a burst each connection sends its messages one after the other as fast as it is answered. With `--rate` messages are
begun at fixed times, whatever became of those before (open loop), each on a connection that is idle then.
Like smtplib, nodemailer and PHPMailer a client waits for each reply before it goes on, unless `--pipelining`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import resource
import ssl
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

from benchmarks.mail import Writer

MOST_MESSAGES = 200_000
SESSIONS_LOST_MOST = 50


@dataclass(frozen=True, slots=True)
class Load:
    port: int
    user: str
    password: str
    run: str = "run"  # begins each message's mark
    sender: str = ""  # empty: the user
    connections: int = 20  # at once
    messages: int = 100  # a connection
    total: int = 0  # messages; 0: one set of connections
    size: int = 2048
    rate: float = 0.0  # messages a second; 0: a burst
    domains: int = 1  # recipient domains, used in turn
    pipelining: bool = False  # MAIL, RCPT and DATA in one write (RFC 2920)
    deadline_s: float = 120.0

    @property
    def count(self) -> int:
        return min(self.total or self.connections * self.messages, MOST_MESSAGES)


@dataclass(slots=True)
class Report:
    """Times are of CLOCK_MONOTONIC, in seconds, the same for all processes of a machine."""

    started: float = 0.0
    ended: float = 0.0
    cpu_s: float = 0.0  # of the load itself
    sent: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # mark: begun, content sent, answered 250
    refused: dict[str, int] = field(default_factory=dict)  # reply: how often
    lost_sessions: int = 0


class Refused(Exception):
    """A reply that was not the one hoped for."""


class Session(asyncio.Protocol):
    """One connection to the server."""

    def __init__(self) -> None:
        self._buffer = b""
        self._replies: deque[bytes] = deque()
        self._waiting: asyncio.Future[bytes] | None = None
        self._transport: Any = None
        self._lost: Exception | None = None

    @classmethod
    async def open(cls, load: Load, tls: ssl.SSLContext) -> Session:
        """Past greeting, STARTTLS and AUTH. Raises Refused, OSError."""
        _, self = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", load.port)
        try:
            await self._introduce(load, tls)
        except BaseException:
            self._transport.close()
            raise
        return self

    async def _introduce(self, load: Load, tls: ssl.SSLContext) -> None:
        await self._expect(b"220")
        await self.say(b"EHLO load.bench.test\r\n", b"250")
        await self.say(b"STARTTLS\r\n", b"220")
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, tls, server_hostname="localhost")
        await self.say(b"EHLO load.bench.test\r\n", b"250")
        secret = base64.b64encode(f"\0{load.user}\0{load.password}".encode())
        await self.say(b"AUTH PLAIN " + secret + b"\r\n", b"235")

    async def say(self, octets: bytes, expected: bytes) -> bytes:
        self._transport.write(octets)
        return await self._expect(expected)

    async def submit(self, sender: bytes, recipient: bytes, content: bytes, *, pipelining: bool) -> float:
        """Returns when the content was sent, after the 250."""
        mail, rcpt = b"MAIL FROM:<" + sender + b">\r\n", b"RCPT TO:<" + recipient + b">\r\n"
        if pipelining:
            self._transport.write(mail + rcpt + b"DATA\r\n")
            for code in (b"250", b"250", b"354"):
                await self._expect(code)
        else:
            await self.say(mail, b"250")
            await self.say(rcpt, b"250")
            await self.say(b"DATA\r\n", b"354")
        sent = time.monotonic()
        await self.say(content, b"250")
        return sent

    async def close(self) -> None:
        try:
            await self.say(b"QUIT\r\n", b"221")
        except (Refused, OSError):
            pass
        finally:
            self._transport.close()

    async def _expect(self, code: bytes) -> bytes:
        if self._replies:
            reply = self._replies.popleft()
        elif self._lost:
            raise self._lost
        else:
            self._waiting = asyncio.get_running_loop().create_future()
            reply = await self._waiting
        if not reply.startswith(code):
            raise Refused(reply.decode("utf-8", "replace"))
        return reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
            if line[3:4] == b"-":
                continue
            if self._waiting and not self._waiting.done():
                self._waiting.set_result(line.rstrip())
            else:
                self._replies.append(line.rstrip())

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionResetError("closed by the server")
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(self._lost)


class Run:
    """One run of a load."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.report = Report()
        self._refused: Counter[str] = Counter()
        self._writer = Writer(load.size, load.sender or load.user)
        self._numbers = iter(range(load.count))
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def run(self) -> Report:
        cpu = _cpu_s()
        self.report.started = time.monotonic()
        try:
            async with asyncio.timeout(self.load.deadline_s):
                await (self._steadily() if self.load.rate else self._burst())
        except (Refused, OSError):
            pass  # too many: the report tells
        except TimeoutError:
            self._refused[f"not done after {self.load.deadline_s:g} s"] += 1
        self.report.ended = time.monotonic()
        self.report.cpu_s = _cpu_s() - cpu
        self.report.refused = dict(self._refused)
        return self.report

    async def _burst(self) -> None:
        await asyncio.gather(*(self._sessions() for _ in range(self.load.connections)))

    async def _sessions(self) -> None:
        """One session after the other until there is nothing left to send."""
        while (number := next(self._numbers, None)) is not None:
            session = await self._open()
            left = self.load.messages
            while number is not None and await self._submit(session, number, time.monotonic()):
                left -= 1
                number = next(self._numbers, None) if left else None
            await session.close()

    async def _steadily(self) -> None:
        idle: asyncio.Queue[Session] = asyncio.Queue()
        for session in await asyncio.gather(*(self._open() for _ in range(self.load.connections))):
            idle.put_nowait(session)
        await asyncio.sleep(0.2)
        self.report.started = start = time.monotonic()
        tasks = []
        for number in self._numbers:
            due = start + number / self.load.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._on_idle(idle, number, due)))
        await asyncio.gather(*tasks)
        while not idle.empty():
            await idle.get_nowait().close()

    async def _on_idle(self, idle: asyncio.Queue[Session], number: int, due: float) -> None:
        session = await idle.get()
        if not await self._submit(session, number, due):
            session = await self._open()
        idle.put_nowait(session)

    async def _open(self) -> Session:
        while True:
            try:
                return await Session.open(self.load, self._tls)
            except (Refused, OSError) as error:
                self._count_loss(error)
                await asyncio.sleep(0.1)

    async def _submit(self, session: Session, number: int, begun: float) -> bool:
        """Whether the session is fit for another."""
        mark = f"{self.load.run}-{number:06}"
        recipient = f"user{number}@{_domain(number, self.load.domains)}"
        content = self._writer.write(mark, number, recipient)
        sender = (self.load.sender or self.load.user).encode()
        try:
            sent = await session.submit(sender, recipient.encode(), content, pipelining=self.load.pipelining)
        except (Refused, OSError) as error:
            self._count_loss(error)
            await session.close()
            return False
        self.report.sent[mark] = (begun, sent, time.monotonic())
        return True

    def _count_loss(self, error: Exception) -> None:
        self._refused[str(error)[:120]] += 1
        self.report.lost_sessions += 1
        if self.report.lost_sessions > SESSIONS_LOST_MOST:
            raise error


def _domain(number: int, domains: int) -> str:
    return f"d{number % domains}.bench.test"


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.load", description="Submits mail to a server on this machine.")
    for name, field_ in Load.__dataclass_fields__.items():
        kind = {"int": int, "float": float, "str": str}.get(str(field_.type))
        option = f"--{name.replace('_', '-')}"
        if kind is None:
            parser.add_argument(option, action="store_true")
        else:
            required = name in {"port", "user", "password"}
            parser.add_argument(option, type=kind, required=required, default=None if required else field_.default)
    parser.add_argument("--json", action="store_true", help="print times of each message instead of a summary")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    report = uvloop.run(Run(Load(**arguments)).run())
    if as_json:
        json.dump(asdict(report), sys.stdout)
        return
    finals = sorted(answered - sent for _, sent, answered in report.sent.values())
    elapsed = report.ended - report.started
    print(
        f"{len(finals)} messages in {elapsed:.2f} s: {len(finals) / elapsed:.0f}/s, refused: {report.refused or 'none'}"
    )
    if finals:
        p50, p99 = (finals[int(len(finals) * share)] * 1000 for share in (0.5, 0.99))
        own = report.cpu_s / len(finals) * 1000
        print(f"final 250: p50 {p50:.1f} ms, p99 {p99:.1f} ms; the load's own CPU: {own:.2f} ms a message")


if __name__ == "__main__":
    main()
