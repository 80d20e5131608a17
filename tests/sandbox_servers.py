"""The sandbox's servers on free loopback ports, for tests: their event loop runs in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from relay.certificates import self_signed
from relay.database import database_url
from relay.sandbox.dns_server import DnsServer, serve_dns
from relay.sandbox.exchanger import Exchanger, serve_exchanger
from relay.sandbox.internet import EXCHANGER, Lookup
from tests.lookers import wait_for_lookers

HOST = "127.0.0.1"


class Closable(Protocol):
    def close(self) -> Awaitable[None]: ...


S = TypeVar("S", bound=Closable)


@contextmanager
def running(starting: Awaitable[S]) -> Iterator[S]:
    """A server from its `serve_…` coroutine, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> S:
        return await starting

    async def stop(server: S) -> None:
        await server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.01)

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def dns_over_database() -> Iterator[DnsServer]:
    """A DNS server over the test database: wants pytest-django's `transactional_db`, so that it sees the rows."""
    with running(serve_dns(HOST, 0, database_url=database_url())) as server:
        try:
            yield server
        finally:
            wait_for_lookers()  # without an answer they would wait for seconds


@contextmanager
def dns_over(lookup: Lookup) -> Iterator[DnsServer]:
    with running(serve_dns(HOST, 0, lookup=lookup)) as server:
        yield server


@contextmanager
def exchanger(directory: Path, dns_port: int) -> Iterator[Exchanger]:
    """A mail exchanger over the test database."""
    starting = serve_exchanger(
        HOST,
        0,
        database_url=database_url(),
        nameserver=f"{HOST}:{dns_port}",
        certificate=self_signed(directory, EXCHANGER),
    )
    with running(starting) as server:
        yield server


def silent_port() -> socket.socket:
    """A UDP socket that takes questions and never answers: a dead name server."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((HOST, 0))
    return silent
