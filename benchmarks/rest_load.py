"""The load for the REST door: `POST /api/v1/emails` over kept connections on one uvloop, as light as it can be made.

    python -m benchmarks.rest_load --port 8000 --authorization "Bearer ps_live_…" --connections 16 --total 2000

Requests are made whole before the first is sent. As a burst each connection sends one after the other as fast as it is
answered; with `--rate` they are begun at fixed times, whatever became of those before (open loop).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import resource
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from benchmarks.load import Report
from benchmarks.mail import MARK

MOST_REQUESTS = 50_000
LOST_MOST = 50


@dataclass(frozen=True, slots=True)
class RestLoad:
    port: int
    authorization: str
    run: str = "run"  # begins each message's mark
    sender: str = "admin@demo.test"
    connections: int = 16
    total: int = 2000
    size: int = 2048  # of text and HTML together
    rate: float = 0.0  # requests a second; 0: a burst
    deadline_s: float = 120.0


def requests_of(load: RestLoad) -> list[tuple[str, bytes]]:
    """Marks, and requests as they go over the wire."""
    chance = random.Random(load.size)
    head = (
        f"POST /api/v1/emails HTTP/1.1\r\nHost: localhost:{load.port}\r\nAuthorization: {load.authorization}\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\n"
    )
    made = []
    for number in range(min(load.total, MOST_REQUESTS)):
        mark = f"{load.run}-{number:06}"
        body = json.dumps(
            {
                "from": load.sender,
                "to": [f"user{number}@d0.bench.test"],
                "subject": f"Order {number} is on its way",
                "text": _words(chance, load.size // 2),
                "html": f"<p>{_words(chance, load.size // 2)}</p>",
                "headers": {MARK.decode().rstrip(": "): mark},
                "tags": [{"name": "kind", "value": "order"}],
            }
        )
        made.append((mark, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()))
    return made


def _words(chance: random.Random, size: int) -> str:
    text = base64.b64encode(chance.randbytes(size)).decode()
    return "\n".join(text[at : at + 74] for at in range(0, size, 75))


class Connection(asyncio.Protocol):
    """HTTP/1.1, kept; one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiting: asyncio.Future[int] | None = None
        self._transport: Any = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        _, self = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return self

    async def ask(self, request: bytes) -> int:
        """The status of the answer, once its body is whole. Raises OSError."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.lower().find(b"\r\ncontent-length:", 0, end)
        length = int(self._buffer[at + 17 : self._buffer.index(b"\r\n", at + 17)]) if at >= 0 else 0
        if len(self._buffer) >= end + 4 + length and self._waiting:
            status, self._buffer = int(self._buffer[9:12]), b""
            self._waiting.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed by the server"))


class Run:
    def __init__(self, load: RestLoad) -> None:
        self._load = load
        self._requests = deque(requests_of(load))
        self._refused: Counter[str] = Counter()
        self.report = Report()

    async def run(self) -> Report:
        load, usage = self._load, resource.getrusage(resource.RUSAGE_SELF)
        connections = [await Connection.open(load.port) for _ in range(load.connections)]
        self.report.started = time.monotonic()
        try:
            async with asyncio.timeout(load.deadline_s):
                await (self._steadily(connections) if load.rate else self._burst(connections))
        except TimeoutError:
            self._refused[f"not done after {load.deadline_s:g} s"] += 1
        self.report.ended = time.monotonic()
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.report.cpu_s = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        self.report.refused = dict(self._refused)
        for connection in connections:
            connection.close()
        return self.report

    async def _burst(self, connections: list[Connection]) -> None:
        await asyncio.gather(*(self._one_after_the_other(connection) for connection in connections))

    async def _one_after_the_other(self, connection: Connection) -> None:
        while self._requests:
            await self._send(connection, *self._requests.popleft(), time.monotonic())

    async def _steadily(self, connections: list[Connection]) -> None:
        idle: asyncio.Queue[Connection] = asyncio.Queue()
        for connection in connections:
            idle.put_nowait(connection)
        start, tasks = self.report.started, []
        for number in range(len(self._requests)):
            due = start + number / self._load.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._on_idle(idle, *self._requests.popleft(), due)))
        await asyncio.gather(*tasks)

    async def _on_idle(self, idle: asyncio.Queue[Connection], mark: str, request: bytes, due: float) -> None:
        connection = await idle.get()
        await self._send(connection, mark, request, due)
        idle.put_nowait(connection)

    async def _send(self, connection: Connection, mark: str, request: bytes, begun: float) -> None:
        status = await connection.ask(request)
        if status == 202:
            self.report.sent[mark] = (begun, begun, time.monotonic())
        else:
            self._refused[str(status)] += 1
            if self._refused.total() > LOST_MOST:
                raise SystemExit(f"too many refusals: {dict(self._refused)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.rest_load", description="Posts emails to a server on this machine."
    )
    for name, field_ in RestLoad.__dataclass_fields__.items():
        required = name in {"port", "authorization"}
        kind = {"int": int, "float": float, "str": str}[str(field_.type)]
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, required=required, default=None if required else field_.default
        )
    parser.add_argument("--json", action="store_true", help="print times of each request instead of a summary")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    report = uvloop.run(Run(RestLoad(**arguments)).run())
    if as_json:
        json.dump(asdict(report), sys.stdout)
        return
    waits = sorted(answered - begun for begun, _, answered in report.sent.values())
    elapsed = report.ended - report.started
    print(f"{len(waits)} emails in {elapsed:.2f} s: {len(waits) / elapsed:.0f}/s, refused: {report.refused or 'none'}")
    if waits:
        p50, p99 = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
        own = report.cpu_s / len(waits) * 1000
        print(f"answer: p50 {p50:.1f} ms, p99 {p99:.1f} ms; the load's own CPU: {own:.2f} ms an email")


if __name__ == "__main__":
    main()
