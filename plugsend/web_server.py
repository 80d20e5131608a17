"""The web process's HTTP server: uvicorn on one event loop, with bounds to what a client may send before it is heard.

On one loop with the door, an email costs a fifth less than where a server's own threads hand over: no thread is woken for it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WITHIN_S = 30.0
HEAD_OCTETS = 64 * 1024  # of a request line and all fields, trailers too (RFC 9110, 5.4 leaves it to us)
KEPT_S = 75  # a connection on which nothing happens; longer than clients keep theirs
DRAIN_S = 1  # for requests in hand when the process ends


class Protocol(HttpToolsProtocol):
    """uvicorn itself waits forever for the end of a head, and keeps one of any size."""

    _head_octets = 0
    _unheard_octets = 0  # since the parser last made anything of them
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unheard_octets += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as declined:
            self._stay_with_http(data[declined.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._unheard_octets > HEAD_OCTETS and not self.transport.is_closing():
            self.send_400_response("A header field is too long.")

    def on_message_begin(self) -> None:
        self._head_octets = self._unheard_octets = 0
        if self._head_timer is None:
            self._await_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unheard_octets = 0
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unheard_octets = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unheard_octets = 0
        if self.parser.should_upgrade() and self._framing():
            return  # the parser leaves the body to the new protocol; `_stay_with_http` reads it
        super().on_message_complete()

    def _stay_with_http(self, rest: bytes) -> None:
        """We change to no other protocol, h2c for example, and the request is served as if it had not asked (RFC 9110, 7.8)."""
        framing, self.parser = self._framing(), httptools.HttpRequestParser(_Following(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        if framing:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s: %s\r\n\r\n" % framing)
        if rest:
            self.data_received(rest)

    def _framing(self) -> tuple[bytes, bytes] | None:
        """The field that tells how long the body is; none where there is no body."""
        fields = (field for field in self.headers if field[0] in {b"content-length", b"transfer-encoding"})
        return next((field for field in fields if field[1] != b"0"), None)

    def _count(self, octets: int) -> None:
        self._unheard_octets = 0
        self._head_octets += octets
        if self._head_octets > HEAD_OCTETS:
            raise ValueError("The head is too large.")  # uvicorn answers 400

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self.timeout_keep_alive_handler)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Following:
    """Hears the parser that goes on after an upgrade was declined: the head that it is told first was heard already, if any."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._is_new = protocol._framing() is None
        self.on_body, self.on_message_complete = protocol.on_body, protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_new:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_new:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_new:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_new:
            self._protocol.on_headers_complete()
        self._is_new = True


def server(application: Any, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # Django's own settings say whom to believe
        server_header=False,
        backlog=1024,
        timeout_keep_alive=KEPT_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return uvicorn.Server(config)
