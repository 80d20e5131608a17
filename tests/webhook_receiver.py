"""A receiver of webhooks, over real HTTP, that keeps what it gets and answers as its address says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SMALL = b"HTTP/1.1 %s\r\n%sContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float


def plain(status: str, *fields: str) -> bytes:
    return SMALL % (status.encode(), "".join(f"{one}\r\n" for one in fields).encode())


# What the receiver says, by path; None: nothing, until the other side goes.
ANSWERS: dict[str, bytes | None] = {
    "/ok": plain("200 OK"),
    "/no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/huge": b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 100_000,
    "/breaks-off": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf",
    "/chunked": b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
    "/zipped": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00",
    "/binary": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\x00\xff\x1b[1m",
    "/error": plain("500 Internal Server Error"),
    "/forbidden": plain("403 Forbidden"),
    "/moved": plain("307 Temporary Redirect", "Location: http://127.0.0.1:1/"),
    "/gone": plain("410 Gone"),
    "/busy": plain("429 Too Many Requests", "Retry-After: 120"),
    "/away": plain("503 Service Unavailable", "Retry-After: nonsense"),
    "/garbage": b"I am no HTTP server\r\n\r\n",
    "/cut": b"HTTP/1.1 2",
    "/endless-head": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000,
    "/nothing": b"",
    "/silent": None,
}


@dataclass
class Receiver:
    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, bytes | None] = field(default_factory=lambda: dict(ANSWERS))
    decide: Callable[[Received], bytes | None] | None = None

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def of(self, path: str) -> list[Received]:
        return [one for one in self.received if one.path == path]

    def wait_for(self, number: int, within_s: float = 30) -> None:
        deadline = time.monotonic() + within_s
        while len(self.received) < number:
            assert time.monotonic() < deadline, f"{len(self.received)} of {number} came"
            time.sleep(0.02)


@contextmanager
def receiver() -> Iterator[Receiver]:
    here = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            one = Received(
                self.path, {name.lower(): value for name, value in self.headers.items()}, body, time.monotonic()
            )
            here.received.append(one)
            sends = here.decide(one) if here.decide else here.answers[self.path]
            self.close_connection = True
            if sends is None:
                self.connection.recv(1)
            else:
                self.connection.sendall(sends)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # the other side goes as it likes

    server = Server(("127.0.0.1", 0), Handler)
    here.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
