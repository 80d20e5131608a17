"""An exchanger for tests of encryption: real sockets and handshakes, in threads, whatever loop the client runs on."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class TlsPeer:
    """`spoil`: what happens in place of the handshake (given the bare connection); `said`: commands, per connection."""

    context: ssl.SSLContext | None = None
    name: str = "mx.peer.test"
    greeting: str = ""
    starttls_reply: bytes = b"220 go on\r\n"
    spoil: Callable[[socket.socket], None] | None = None
    said: list[list[str]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    port: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[TlsPeer]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self._start(self._accept, listener)
            try:
                yield self
            finally:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                for thread in list(self._threads):  # all that was said has been heard by then
                    thread.join(10)

    def _start(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=(connection,), daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, source = listener.accept()
                self.sources.append(source[0])
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        said: list[str] = []
        self.said.append(said)
        connection.settimeout(10)
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            connection.sendall(f"220 {self.greeting or self.name} ready\r\n".encode())
            wire, is_encrypted = connection, False
            while True:
                line = _line(wire)
                if not line:
                    return
                said.append(line)
                if line.startswith("EHLO"):
                    offer = "250-STARTTLS\r\n" if self.context and not is_encrypted else ""
                    wire.sendall(f"250-{self.name}\r\n{offer}250 8BITMIME\r\n".encode())
                elif line == "STARTTLS":
                    wire.sendall(self.starttls_reply)
                    if not self.starttls_reply.startswith(b"2"):
                        continue
                    if self.spoil:
                        self.spoil(connection)
                        return
                    assert self.context is not None
                    wire, is_encrypted = self.context.wrap_socket(connection, server_side=True), True
                    said.append(f"(encrypted for {self._names[-1] if self._names else 'nobody'})")
                else:
                    wire.sendall(b"250 ok\r\n")

    def heed_sni(self) -> TlsPeer:
        assert self.context is not None
        self.context.sni_callback = lambda wire, name, context: self._names.append(name or "")
        return self


def _line(wire: socket.socket) -> str:
    octets = b""
    while not octets.endswith(b"\r\n"):
        octet = wire.recv(1)
        if not octet:
            return ""
        octets += octet
    return octets.decode().strip()
