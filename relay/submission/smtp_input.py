"""What a client has sent and nobody has read yet: lines, counted octets, content up to the end of data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from relay.submission.smtp_content import DOT_LINE, Arriving

END_OF_DATA = b"\r\n.\r\n"  # RFC 5321, 4.1.1.4: this and nothing else
HIGH_WATER = 256 * 1024  # octets; with more the client is made to wait
PIECE = 128 * 1024  # octets of a content that are gathered before they are handed on


class Gone(Exception):
    """The client has closed the connection."""


class Input:
    """`before_waiting` is awaited before we wait for the client: replies that it waits for must be on their way."""

    def __init__(self, before_waiting: Callable[[], Awaitable[None]]) -> None:
        self._before_waiting = before_waiting
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._stop: Exception | None = None
        self._is_paused = False

    def comes_from(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._is_paused = False

    def feed(self, octets: bytes) -> None:
        self._buffer += octets
        if len(self._buffer) > HIGH_WATER and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def stop(self, reason: Exception) -> None:
        """Whoever waits for the client, now or later, gets `reason`. What has come in whole can still be read."""
        if self._stop is None:
            self._stop = reason
        self._wake()

    def throw_away(self) -> None:
        self._buffer.clear()

    async def line(self, most: int) -> bytes | None:
        """The next line with its end. None: it was longer than `most` octets; it has been read and thrown away."""
        searched, too_long = 0, False
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > most:
                too_long, searched = True, 0
                self._buffer.clear()
            await self._more()
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return None if too_long or len(line) > most else line

    async def content(self, arriving: Arriving, on_progress: Callable[[], None]) -> None:
        """Everything up to the end of data, transparency dots still in it (`arriving.has_dots`)."""
        # The CRLF of the DATA command counts as the first half of the end of data: an empty message is `.` CRLF.
        while len(self._buffer) < 3:
            await self._more()
        if self._buffer.startswith(b".\r\n"):
            del self._buffer[:3]
            return
        arriving.has_dots = self._buffer.startswith(b".")
        searched = 0
        while (end := self._end_of_data(searched, arriving)) < 0:
            # The last four octets may be the beginning of the end of data.
            whole = len(self._buffer) - len(END_OF_DATA) + 1
            if whole > PIECE:
                self._hand_on(whole, arriving)
                whole = 0
            searched = max(0, whole)
            await self._more()
            on_progress()
        self._hand_on(end + 2, arriving)
        del self._buffer[: len(END_OF_DATA) - 2]

    def _end_of_data(self, start: int, arriving: Arriving) -> int:
        """Where it begins; -1: it has not come yet. Notes whether lines before it may begin with a dot."""
        # One search for both, mostly. CPython searches backwards nearly twice as fast as forwards.
        last = self._buffer.rfind(DOT_LINE, start)
        if last < 0:
            return -1
        is_only_one = self._buffer.rfind(DOT_LINE, start, last) < 0
        if is_only_one and self._buffer.startswith(END_OF_DATA, last):
            return last
        arriving.has_dots = True
        return self._buffer.find(END_OF_DATA, start)

    def _hand_on(self, count: int, arriving: Arriving) -> None:
        with memoryview(self._buffer) as view, view[:count] as part:
            arriving.add(part)
        del self._buffer[:count]

    async def octets(self, count: int, arriving: Arriving | None, on_progress: Callable[[], None]) -> None:
        """Exactly `count` octets; without `arriving` they are thrown away."""
        while count:
            if not self._buffer:
                await self._more()
                on_progress()
            part = min(count, len(self._buffer))
            if arriving is not None:
                self._hand_on(part, arriving)
            else:
                del self._buffer[:part]
            count -= part

    async def _more(self) -> None:
        """Waits for more octets. Raises what `stop` was given."""
        before = len(self._buffer)
        await self._before_waiting()
        if len(self._buffer) > before:
            return
        if self._stop is not None:
            raise self._stop
        if self._is_paused and self._transport:
            self._is_paused = False
            self._transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._stop is not None:
            raise self._stop

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
