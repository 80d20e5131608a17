"""The web process's HTTP server: uvicorn on one event loop, with bounds to what a client may send before it is heard.

On one loop with the door, an email costs a fifth less than where a server's own threads hand over: no thread is woken for it.
"""

from __future__ import annotations

import asyncio
from typing import Any

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
        super().data_received(data)
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
        super().on_message_complete()

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
