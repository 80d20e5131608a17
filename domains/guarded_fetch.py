"""HTTP requests to addresses that others chose: customers' files and webhooks, foreign policies.

What is asked for can never be our own network: names are looked up by ourselves, only public addresses are connected to
(`domains.networks`), and the address that was checked is the one connected to. No redirect is followed; size and time
have limits. Of RFC 9112 there is what a client without kept connections needs, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

import dns.asyncresolver
import dns.exception
import idna
from django.conf import settings

from domains.dns.resolver import async_resolver
from domains.networks import is_allowed, source_for

HEAD_OCTETS = 16 * 1024
CONNECT_TIMEOUT = 10
EXCERPT_S = 1.0
MOST_ADDRESSES = 4
LONGEST_URL = 2048
FILES_AT_ONCE = 6
_PORTS = {"https": 443, "http": 80}
_SAFE_IN_URL = "%/?:@!$&'()*+,;=~-._"
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.I)


class FetchFailed(Exception):
    """There was no usable answer; the message says why."""


class TooLarge(FetchFailed):
    """More octets than may be taken."""


@dataclass(frozen=True, slots=True)
class Url:
    scheme: str
    host: str  # A-label, or an IP address without brackets
    port: int
    target: str  # path and query (RFC 9112, 3.2.1), ASCII

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def filename(self) -> str:
        """What the last segment of the path calls the file; may be empty."""
        return unquote(self.target.partition("?")[0].rpartition("/")[2])


@dataclass(slots=True)
class Allowance:
    """Octets that the answers to several requests may have together."""

    octets: int

    def take(self, octets: int) -> None:
        """Raises `TooLarge`."""
        if octets > self.octets:
            raise TooLarge(f"there are more than the {self.octets} octets that there is room for")
        self.octets -= octets


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    header: Mapping[str, str]  # names in lower case; of several fields the first
    body: bytes

    @property
    def media_type(self) -> str:
        return self.header.get("content-type", "").partition(";")[0].strip().lower()


def read_url(text: str) -> Url:
    """An http or https address as people write it. Raises `FetchFailed`."""
    if not text.isprintable() or any(character in text for character in ' \\<>"') or len(text) > LONGEST_URL:
        raise FetchFailed(
            f"the address holds a character that no address has, or is longer than {LONGEST_URL} characters"
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise FetchFailed(f"the address cannot be read: {error}") from None
    allowed = ("https", "http") if settings.SANDBOX else ("https",)
    if parts.scheme not in allowed:
        raise FetchFailed(f"the address must begin with {' or '.join(f'{scheme}://' for scheme in allowed)}")
    if "@" in parts.netloc:
        raise FetchFailed("the address must not hold a user name or password")
    port = _PORTS[parts.scheme] if port is None else port
    if not settings.SANDBOX and port not in _PORTS.values() and port < 1024:
        raise FetchFailed(f"port {port} is not one for files")
    target = quote(parts.path or "/", safe=_SAFE_IN_URL) + (
        f"?{quote(parts.query, safe=_SAFE_IN_URL)}" if parts.query else ""
    )
    return Url(parts.scheme, _host(host), port, target)


def _host(host: str) -> str:
    if _is_address(host):
        return host
    try:
        host = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        host = ""
    if not _HOST.fullmatch(host):
        raise FetchFailed("the address names no host")
    return host


@dataclass(frozen=True, slots=True)
class GuardedClient:
    """What the requests of one kind have in common."""

    resolver: dns.asyncresolver.Resolver
    context: ssl.SSLContext
    timeout_s: float = 30.0  # for all of a request

    async def request(
        self,
        url: Url,
        allowance: Allowance,
        *,
        method: str = "GET",
        header: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        excerpt: bool = False,
    ) -> Answer:
        """Whatever the status is. Raises `FetchFailed`.

        `excerpt`: the status is what is asked for; of the body there is what comes at once and has room in the allowance.
        """
        head = [
            f"{method} {url.target} HTTP/1.1",
            f"Host: {url.authority}",
            "Connection: close",
            "Accept-Encoding: identity",
        ]
        head += [f"{name}: {value}" for name, value in header]
        if body or method != "GET":
            head.append(f"Content-Length: {len(body)}")
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await self._connect(url)
                try:
                    writer.write("\r\n".join([*head, "", ""]).encode("ascii") + body)
                    return await _read_answer(reader, allowance, excerpt=excerpt)
                finally:
                    writer.transport.abort()  # nothing is left to say
        except TimeoutError:
            raise FetchFailed(f"{url.host} took more than {self.timeout_s:g} seconds") from None
        except (OSError, ssl.SSLError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise FetchFailed(f"{url.host}: {error}") from None

    async def _connect(self, url: Url) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure = FetchFailed(f"{url.host} has no address")
        is_encrypted = url.scheme == "https"
        for address in (await self._addresses(url.host))[:MOST_ADDRESSES]:
            if not is_allowed(address):
                failure = FetchFailed(f"{url.host} is at {address}, not a public address")
            elif not source_for(address):
                failure = FetchFailed(f"there is no route from here to {url.host} at {address}")
            else:
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        return await asyncio.open_connection(
                            address,
                            url.port,
                            ssl=self.context if is_encrypted else None,
                            server_hostname=url.host.rstrip(".") if is_encrypted else None,
                            limit=HEAD_OCTETS,
                        )
                except TimeoutError:
                    failure = FetchFailed(f"{url.host} ({address}) did not answer")
                except (OSError, ssl.SSLError) as error:
                    failure = FetchFailed(f"{url.host} ({address}): {error}")
        raise failure

    async def _addresses(self, host: str) -> list[str]:
        async def look_up(kind: str) -> list[str]:
            try:
                return [record.address for record in await self.resolver.resolve(host, kind)]
            except dns.exception.DNSException:
                return []

        if _is_address(host):
            return [host]
        if host.rstrip(".").lower().rpartition(".")[2] == "localhost":  # RFC 6761, 6.3: never asked for
            return ["127.0.0.1", "::1"]
        by_turns = itertools.zip_longest(*await asyncio.gather(look_up("AAAA"), look_up("A")))
        return [address for pair in by_turns for address in pair if address]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# ---- Answers ---------------------------------------------------------------------------------------------------------


async def _read_answer(reader: asyncio.StreamReader, allowance: Allowance, *, excerpt: bool) -> Answer:
    status = 100
    while status in range(100, 200):  # RFC 9110, 15.2: interim answers
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, rest = line.partition(" ")
        if not version.startswith("HTTP/1.") or not re.match(r"[1-5][0-9]{2}\b", rest):
            raise FetchFailed(f"the answer was “{line[:100]}”")
        status = int(rest[:3])
    header = _header(fields)
    if excerpt:
        return Answer(status, rest[4:100], header, await _read_excerpt(reader, header, allowance.octets))
    body = b"" if status in {204, 304} else await _read_body(reader, header, allowance)
    if header.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed(f"the content is encoded as {header['content-encoding'][:40]}, which was not asked for")
    return Answer(status, rest[4:100], header, body)


def _header(fields: Iterable[str]) -> dict[str, str]:
    header: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        header.setdefault(name.strip().lower(), value.strip())
    return header


async def _read_excerpt(reader: asyncio.StreamReader, header: Mapping[str, str], most: int) -> bytes:
    """Nothing of a content that is encoded. What breaks off or is no HTTP ends it."""
    body = bytearray()

    async def read(octets: int) -> bool:
        """So many, but no more than there is room for. Returns whether they are all there, and there may be more."""
        while octets > 0 and len(body) < most:
            piece = await reader.read(min(octets, most - len(body)))
            if not piece:
                return False
            body.extend(piece)
            octets -= len(piece)
        return octets == 0

    if header.get("content-encoding", "identity").lower() != "identity":
        return b""
    with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
        async with asyncio.timeout(EXCERPT_S):
            if header.get("transfer-encoding", "").lower() == "chunked":
                while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                    if not await read(size):
                        break
                    await reader.readexactly(2)
            else:
                await read(int(header.get("content-length", most)))
    return bytes(body)


async def _read_body(reader: asyncio.StreamReader, header: Mapping[str, str], allowance: Allowance) -> bytes:
    """RFC 9112, 6.3."""
    if header.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader, allowance)
    if "content-length" in header:
        length = header["content-length"]
        if not (length.isascii() and length.isdecimal()):
            raise ValueError("a content length that is no number")
        allowance.take(int(length))
        return await reader.readexactly(int(length))
    body = bytearray()
    while octets := await reader.read(HEAD_OCTETS):
        allowance.take(len(octets))
        body += octets
    return bytes(body)


async def _read_chunks(reader: asyncio.StreamReader, allowance: Allowance) -> bytes:
    """RFC 9112, 7.1. Trailers are left unread."""
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if size < 0:
            raise ValueError("a chunk of negative size")
        allowance.take(size)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)


# ---- Files -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def tls_context(ca_file: str) -> ssl.SSLContext:
    """Certificates are verified, with the host's name; `ca_file` (PEM) stands in for the system's authorities."""
    return ssl.create_default_context(cafile=ca_file or None)


def fetch_files(urls: Sequence[str], *, most_octets: int, within_s: float) -> list[Answer | FetchFailed]:
    """All of them side by side, for threads: together at most so large, and done in that time, DNS included."""
    return asyncio.run(_fetch_files(urls, Allowance(most_octets), within_s))


async def _fetch_files(urls: Sequence[str], allowance: Allowance, within_s: float) -> list[Answer | FetchFailed]:
    client = GuardedClient(async_resolver(), tls_context(settings.TLS_CA_FILE), within_s)
    places = asyncio.Semaphore(FILES_AT_ONCE)

    async def fetch(text: str) -> Answer | FetchFailed:
        try:
            url = read_url(text)
            async with places:
                answer = await client.request(url, allowance, header=[("Accept", "*/*"), ("User-Agent", "PlugSend")])
            return answer if answer.status == 200 else FetchFailed(_not_a_file(answer))
        except FetchFailed as failure:
            return failure

    async def fetch_in_time(text: str) -> Answer | FetchFailed:
        try:
            async with asyncio.timeout_at(deadline):
                return await fetch(text)
        except TimeoutError:
            return FetchFailed(f"it took more than {within_s:g} seconds")

    deadline = asyncio.get_running_loop().time() + within_s
    return await asyncio.gather(*map(fetch_in_time, urls))


def _not_a_file(answer: Answer) -> str:
    if answer.status // 100 == 3:
        return f"it redirects ({answer.status}), which is not followed; give the final address"
    return f"the answer was “{answer.status} {answer.reason}”"
