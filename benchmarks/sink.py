"""The sink: takes all mail and throws it away, noting when each marked message arrived. As light as it can be made.

    python -m benchmarks.sink --port 2600 [--starttls] [--delay-ms 500] [--keep 3]

It prints how much arrived, once a second, until Ctrl-C. With `--controlled` it obeys JSON lines on standard input instead
(`Sink` in this module is the other end): {"begin": {…}} starts a new account, {"expect": N, "within_s": S} answers when that
many different messages are there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.mail import mark_of

END = b"\r\n.\r\n"
HIGH_WATER = 1 << 20


@dataclass(slots=True)
class Account:
    """What arrived since `begin`."""

    starttls: bool = False
    delay_ms: float = 0.0  # between the final dot and its reply
    keep: int = 0  # samples to keep
    prefix: str = ""  # of the marks that count
    arrived: dict[str, float] = field(default_factory=dict)  # mark: when first (CLOCK_MONOTONIC)
    again: int = 0  # marks that arrived more than once
    stray: int = 0  # without a mark that counts
    connections: int = 0
    over_tls: int = 0  # messages
    octets: int = 0
    samples: list[str] = field(default_factory=list)  # latin-1


class Server:
    """All connections and the account they write to."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self.account = Account()
        self.open: set[Connection] = set()
        self.changed = asyncio.Event()

    def begin(self, **options: Any) -> None:
        self.account = Account(**options)
        for connection in list(self.open):  # what was said at EHLO may no longer hold
            connection.drop()

    def take(self, content: bytearray, *, over_tls: bool) -> None:
        account, mark = self.account, mark_of(content)
        account.octets += len(content)
        account.over_tls += over_tls
        if not mark or not mark.startswith(account.prefix):
            account.stray += 1
        elif mark in account.arrived:
            account.again += 1
        else:
            account.arrived[mark] = time.monotonic()
            if len(account.samples) < account.keep:
                account.samples.append(content.decode("latin-1"))
        self.changed.set()


class Connection(asyncio.Protocol):
    """Command lines and contents as they come; several commands in one packet get their replies in one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: Any = None
        self._buffer = bytearray()
        self._in_content = False
        self._searched = 0
        self._over_tls = False
        self._held = False  # nothing is read: a handshake or a delayed reply is under way
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.open.add(self)
        self._server.account.connections += 1
        self._transport.write(b"220 sink.bench.test ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self)

    def drop(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._held:
            self._work()

    def _work(self) -> None:
        replies: list[bytes] = []
        while not self._held and (self._content(replies) if self._in_content else self._command(replies)):
            pass
        if replies:
            self._transport.write(b"".join(replies))

    def _content(self, replies: list[bytes]) -> bool:
        """Whether there may be more to do."""
        end = self._buffer.find(END, max(0, self._searched - len(END)))
        if end < 0:
            self._searched = len(self._buffer)
            return False
        content = self._buffer[: end + 2]
        del self._buffer[: end + len(END)]
        self._in_content, self._searched = False, 0
        if self._server.account.delay_ms:
            self._held = True
            self._later(self._answer_late(content, self._server.account.delay_ms / 1000))
            return False
        self._server.take(content, over_tls=self._over_tls)
        replies.append(b"250 2.0.0 taken\r\n")
        return True

    def _command(self, replies: list[bytes]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        verb = bytes(self._buffer[:8]).upper().rstrip(b"\r\n")
        del self._buffer[: end + 1]
        if verb.startswith((b"MAIL", b"RCPT", b"RSET", b"NOOP")):
            replies.append(b"250 2.0.0 ok\r\n")
        elif verb.startswith(b"DATA"):
            replies.append(b"354 go on\r\n")
            self._in_content = True
        elif verb.startswith((b"EHLO", b"HELO")):
            offer = self._server.account.starttls and self._server.tls and not self._over_tls
            lines = [b"sink.bench.test", b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"SIZE 52428800"]
            lines += [b"STARTTLS"] if offer else []
            replies.append(b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n")
        elif verb.startswith(b"STARTTLS"):
            self._held = True
            self._buffer.clear()  # RFC 3207, 6
            self._transport.pause_reading()
            replies.append(b"220 2.0.0 go ahead\r\n")
            self._later(self._start_tls())
        elif verb.startswith(b"QUIT"):
            self._transport.write(b"".join(replies) + b"221 2.0.0 bye\r\n")
            replies.clear()
            self._transport.close()
            return False
        else:
            replies.append(b"502 5.5.1 no such command\r\n")
        return True

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_tls(self) -> None:
        assert self._server.tls
        plain, loop = self._transport, asyncio.get_running_loop()
        try:
            self._transport = await loop.start_tls(plain, self, self._server.tls, server_side=True)
        except (OSError, ssl.SSLError):
            plain.close()
            return
        self._over_tls, self._held = True, False
        self._work()

    async def _answer_late(self, content: bytearray, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._server.take(content, over_tls=self._over_tls)
        self._transport.write(b"250 2.0.0 taken\r\n")
        self._held = False
        self._work()


class Sink:
    """A sink in a process of its own, for who controls it."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self.port = port
        command = (sys.executable, "-m", "benchmarks.sink", "--controlled", "--port", str(port))
        files = ("--certificate", str(certificate), "--key", str(key))
        self._process = subprocess.Popen([*command, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def begin(self, **options: Any) -> None:
        """New account; the options are the fields of `Account`."""
        self._ask({"begin": options})

    def expect(self, count: int, within_s: float) -> Account:
        """When so many different messages are there, or the time is over."""
        return Account(**self._ask({"expect": count, "within_s": within_s}))

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "null")
        if answer is None:
            raise RuntimeError("The sink has ended.")
        return answer


async def obey(server: Server) -> None:
    """Orders come one a line and are answered one a line, until standard input ends."""
    loop = asyncio.get_running_loop()
    print("{}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        answer: dict[str, Any] = {}
        if "begin" in order:
            server.begin(**order["begin"])
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(order["within_s"]):
                    while len(server.account.arrived) < order["expect"]:
                        server.changed.clear()
                        await server.changed.wait()
            answer = asdict(server.account)
        print(json.dumps(answer), flush=True)


async def report(server: Server) -> None:
    before = 0
    while True:
        await asyncio.sleep(1)
        account = server.account
        count = len(account.arrived) + account.stray
        if count != before:
            print(
                f"{count} messages ({count - before}/s), {account.again} of them twice, {account.connections} connections"
            )
        before = count


async def serve(options: argparse.Namespace) -> None:
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate, options.key)
    server = Server(tls)
    server.begin(starttls=options.starttls, delay_ms=options.delay_ms, keep=options.keep)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", options.port, backlog=1024)
    async with listener:
        await (obey(server) if options.controlled else report(server))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sink", description="Takes mail and throws it away.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--starttls", action="store_true", help="needs --certificate and --key")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="between the final dot and its reply")
    parser.add_argument("--keep", type=int, default=0)
    parser.add_argument("--controlled", action="store_true")
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
