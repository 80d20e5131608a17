"""A mail exchanger that does what the test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

MOST_OCTETS = 8 * 1024 * 1024  # of a message


class Peer:
    """`behave(verb, connection)` may answer in place of the usual reply, `answer_line` likewise by the line; b"" hangs up.

    `context`: STARTTLS is offered. `delay_s`: before the reply to the final dot. `is_silent`: takes connections and says
    nothing.
    """

    def __init__(
        self,
        behave: Callable[[bytes, int], bytes | None] = lambda verb, connection: None,
        *,
        answer_line: Callable[[bytes], bytes | None] = lambda line: None,
        delay_s: float = 0.0,
        is_silent: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._behave, self._answer_line = behave, answer_line
        self.context = context
        self._delay_s, self._is_silent = delay_s, is_silent
        self._patience_s = 3600.0
        self._may_end = asyncio.Event()
        self.connections = 0
        self.messages: list[bytes] = []
        self.carriers: list[int] = []  # the connection of each message
        self.sources: dict[int, str] = {}  # by connection
        self.said: dict[int, list[str]] = {}

    async def __aenter__(self) -> Peer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000, limit=MOST_OCTETS)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._may_end.set()

    def hang_up_after(self, seconds: float) -> None:
        """Those that are kept waiting in silence, from now on."""
        self._patience_s = seconds
        self._may_end.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.sources[self.connections] = writer.get_extra_info("peername")[0]
        try:
            if self._is_silent:
                await self._may_end.wait()
                await asyncio.sleep(self._patience_s if self._patience_s < 3600 else 0)
            else:
                await self._converse(reader, writer, self.connections)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        writer.write(b"220 peer.test\r\n")
        taken = is_encrypted = False
        said = self.said.setdefault(connection, [])
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            said.append(line.decode().rstrip())
            reply = self._answer_line(line) or self._behave(verb, connection)
            if reply == b"":
                return
            if reply is not None:
                writer.write(reply)
            elif verb == b"EHLO":
                offer = b"250-STARTTLS\r\n" if self.context and not is_encrypted else b""
                writer.write(b"250-peer.test\r\n" + offer + b"250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"STAR" and self.context:
                writer.write(b"220 go on\r\n")
                await writer.start_tls(self.context)
                is_encrypted = True
            elif verb == b"DATA" and not taken:
                writer.write(b"503 5.5.1 no recipients\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                message = await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self._delay_s)
                self.messages.append(message)
                self.carriers.append(connection)
                answer = self._behave(b".", connection)
                if answer == b"":
                    return
                writer.write(answer or b"250 2.0.0 taken\r\n")
            else:
                taken = (taken or verb == b"RCPT") and verb not in {b"MAIL", b"RSET"}
                writer.write(b"250 ok\r\n")
