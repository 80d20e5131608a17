"""A GET over verified HTTPS, to public addresses only: what fetching a policy file needs of RFC 9112, and no more."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception

from relay.delivery.networks import is_allowed, source_for

HEAD_OCTETS = 16 * 1024
CONNECT_TIMEOUT = 10
MOST_ADDRESSES = 4


class FetchFailed(Exception):
    """The text was not to be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Https:
    """What the requests of one kind have in common."""

    resolver: dns.asyncresolver.Resolver
    context: ssl.SSLContext
    port: int = 443
    timeout_s: float = 30.0  # for all of it
    most_octets: int = 64 * 1024

    async def text(self, host: str, path: str) -> str:
        """A text/plain file. Redirects are not followed. Raises `FetchFailed`."""
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await self._connect(host)
                try:
                    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
                    writer.write(request.encode("ascii"))
                    return (await self._read(reader)).decode()
                finally:
                    writer.close()
        except TimeoutError:
            raise FetchFailed(f"{host} took more than {self.timeout_s:g} seconds.") from None
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise FetchFailed(f"{host}: {error}") from None

    async def _connect(self, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure = FetchFailed(f"{host} has no address.")
        for address in (await self._addresses(host))[:MOST_ADDRESSES]:
            if not is_allowed(address):
                failure = FetchFailed(f"{host} is at {address}, not a public address.")
            elif not source_for(address):
                failure = FetchFailed(f"{host}: there is no route from here to {address}.")
            else:
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        return await asyncio.open_connection(
                            address, self.port, ssl=self.context, server_hostname=host, limit=HEAD_OCTETS
                        )
                except TimeoutError:
                    failure = FetchFailed(f"{host} ({address}) did not answer.")
                except (OSError, ssl.SSLError) as error:
                    failure = FetchFailed(f"{host} ({address}): {error}")
        raise failure

    async def _addresses(self, host: str) -> list[str]:
        async def look_up(kind: str) -> list[str]:
            try:
                return [record.address for record in await self.resolver.resolve(host, kind)]
            except dns.exception.DNSException:
                return []

        by_turns = itertools.zip_longest(*await asyncio.gather(look_up("AAAA"), look_up("A")))
        return [address for pair in by_turns for address in pair if address]

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if status.split(" ")[1:2] != ["200"] or not status.startswith("HTTP/1."):
            raise FetchFailed(f"The answer was “{status[:100]}”.")
        header = _header(fields)
        media_type = header.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "text/plain":
            raise FetchFailed(f"The content type is “{media_type[:100]}”, not text/plain.")
        if header.get("transfer-encoding", "").lower() == "chunked":
            return await self._read_chunks(reader)
        if (length := header.get("content-length", "")).isdecimal():
            return await reader.readexactly(self._bounded(int(length)))
        body = bytearray()
        while octets := await reader.read(HEAD_OCTETS):
            body += octets
            self._bounded(len(body))
        return bytes(body)

    async def _read_chunks(self, reader: asyncio.StreamReader) -> bytes:
        """RFC 9112, 7.1. Trailers are left unread."""
        body = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            if size < 0:
                raise ValueError("a chunk of negative size")
            self._bounded(len(body) + size)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        return bytes(body)

    def _bounded(self, octets: int) -> int:
        if octets > self.most_octets:
            raise FetchFailed(f"The file is larger than {self.most_octets} octets.")
        return octets


def _header(fields: Iterable[str]) -> dict[str, str]:
    header: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        header.setdefault(name.strip().lower(), value.strip())
    return header
