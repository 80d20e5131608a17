"""What a client may send before it is heard: bounded in time and size, so that nobody holds connections or memory."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from plugsend import web_server
from plugsend.web_server import HEAD_OCTETS, server
from tests.platform import wait_for


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of octets in the body."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    octets, is_more = 0, True
    while is_more:
        message = await receive()
        octets += len(message.get("body", b""))
        is_more = message.get("more_body", False)
    body = str(octets).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(web_server, "HEAD_WITHIN_S", 0.3)
    running = server(echo, "127.0.0.1", 0)
    thread = threading.Thread(target=lambda: asyncio.run(running._serve()))  # signals are the main thread's
    thread.start()
    wait_for(lambda: running.started, "it listens")
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join(10)


def answer(port: int, *parts: bytes) -> bytes:
    """All that comes until the connection ends."""
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.settimeout(10)
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
            while part := connection.recv(65536):
                received += part
        except (BrokenPipeError, ConnectionResetError):  # it did not want to hear more
            pass
        return received


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
LAST_CHUNK = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"


def test_what_is_usual_is_heard(port: int) -> None:
    long = b"X-Long: %s\r\n" % (b"a" * (HEAD_OCTETS // 2))
    body = b"b" * 1_000_000
    whole = answer(port, HEAD, long, b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert whole.startswith(b"HTTP/1.1 200")
    assert whole.endswith(b"\r\n1000000")
    assert b"\r\nserver:" not in whole.lower()
    assert answer(port, LAST_CHUNK, b"X-Trailer: a\r\n\r\n").endswith(b"\r\n5")


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /" + b"a" * HEAD_OCTETS + b" HTTP/1.1\r\nHost: a\r\n\r\n"],
        [b"GET /", *[b"a" * 10_000] * 20],
        [HEAD, *[b"X-Many: abc\r\n" * 500] * 20],
        [HEAD, b"X-Endless: ", *[b"a" * 10_000] * 40],
        [HEAD, b"X-Name", *[b"a" * 10_000] * 40],
        [b"this is not HTTP\r\n\r\n"],
    ],
)
def test_what_is_too_much_is_refused(port: int, parts: list[bytes]) -> None:
    assert answer(port, *parts)[:12] in {
        b"HTTP/1.1 400",
        b"",
    }  # the refusal, or the end of the connection before it is read


@pytest.mark.parametrize("trailer", [b"X-Many: abc\r\n" * 40_000, b"X-Endless: " + b"a" * 1_000_000])
def test_a_body_has_no_endless_end(port: int, trailer: bytes) -> None:
    assert b"200 OK" not in answer(
        port, LAST_CHUNK, *[trailer[at : at + 10_000] for at in range(0, len(trailer), 10_000)]
    )


@pytest.mark.parametrize("part", [b"", b"GET / HT", HEAD])
def test_who_does_not_come_to_the_end_of_a_head_is_sent_away(port: int, part: bytes) -> None:
    assert answer(port, part) == b""


def test_a_slow_body_is_waited_for(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.settimeout(10)
        connection.sendall(HEAD + b"Content-Length: 5\r\n\r\n")
        wait_for(lambda: answer(port, HEAD) == b"", "more time than a head has")
        connection.sendall(b"hello")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
