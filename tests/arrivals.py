"""A mail exchanger that notes who got mail, and takes its time: so that what dies dies in the middle of conversations."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """`delay_s`: the longest pause before the reply to the final dot; drawn anew for each message."""

    def __init__(self, delay_s: float, chance: random.Random) -> None:
        self.delay_s = delay_s
        self.of = Counter[str]()  # by recipient: how often a message arrived whole, whether or not we could say so
        self.in_hand = 0  # transactions that are at DATA and not answered yet
        self.before_content_s = 0.0  # pause before the content may come
        self._chance = chance

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        writer.write(b"220 arrivals.test\r\n")
        try:
            while line := await reader.readline():
                verb = line[:4].upper().strip()
                if verb == b"EHLO":
                    writer.write(b"250-arrivals.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                elif verb == b"DATA":
                    await self._take(reader, writer, recipients)
                    recipients = []
                else:
                    if verb == b"RCPT":
                        recipients.append(line.decode().partition("<")[2].partition(">")[0])
                    writer.write(b"250 ok\r\n")
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):  # the last: the test is over
            pass
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipients: list[str]) -> None:
        self.in_hand += 1
        try:
            await asyncio.sleep(self.before_content_s)
            writer.write(b"354 go on\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            self.of.update(recipients)
            await asyncio.sleep(self.delay_s * self._chance.random())
        finally:
            self.in_hand -= 1
        writer.write(b"250 2.0.0 taken\r\n")


@contextmanager
def serving(arrivals: Arrivals) -> Iterator[int]:
    """In a thread of its own; gives the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> int:
        server = await asyncio.start_server(arrivals.serve, "127.0.0.1", 0, limit=1 << 20, backlog=1000)
        return int(server.sockets[0].getsockname()[1])

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
