"""Hosts with files, for what fetches them in a thread: a name server and an HTTP host on a loop in the background."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pytest_django.fixtures import Settings

from tests.dns_zone import Zone
from tests.https_host import HttpsHost
from tests.pki import authority, leaf

HOST = "files.example.test"
ROOT = authority()


@dataclass
class FileHost(HttpsHost):
    """`files`: whole answers by path. With `together`, nobody is answered before so many have asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    together: int = 0

    async def respond(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        while self.together > len(self.requests):
            await asyncio.sleep(0.005)
        path = head.split(b" ")[1].decode()
        if path == "/drip":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.write(self.files.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


def file(content: bytes, *fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *fields, f"Content-Length: {len(content)}", "", ""]).encode() + content


@contextmanager
def running_hosts(
    tmp_path: Path, settings: Settings, files: dict[str, bytes], *, is_encrypted: bool = True
) -> Iterator[tuple[Zone, FileHost]]:
    zone = Zone({f"{HOST} A": ["127.0.0.1"], "other.example.test A": ["127.0.0.1"]}, ttl_s=0)
    context = leaf(ROOT, HOST).server_context(tmp_path) if is_encrypted else None
    host = FileHost(context, files=files)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(ROOT.pem)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> None:
        await zone.__aenter__()
        await host.__aenter__()

    async def stop() -> None:
        await host.__aexit__()
        await zone.__aexit__()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    settings.DNS_NAMESERVERS = [f"127.0.0.1:{zone.port}"]
    settings.TLS_CA_FILE = str(roots)
    try:
        yield zone, host
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
