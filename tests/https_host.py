"""An HTTPS (or HTTP) host for tests: it sends the octets that the test says."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field


def answer(body: str, *, content_type: str = "text/plain", status: str = "200 OK") -> bytes:
    octets = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(octets)}\r\n\r\n"
    return head.encode() + octets


@dataclass
class HttpsHost:
    context: ssl.SSLContext | None  # None: plain HTTP
    sends: bytes = b""
    is_silent: bool = False
    requests: list[str] = field(default_factory=list)

    async def __aenter__(self) -> HttpsHost:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode())
            if self.is_silent:
                await reader.read()
            await self.respond(head, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def respond(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self.sends)
