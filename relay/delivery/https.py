"""A text file over verified HTTPS, from public addresses only: how policy files are fetched."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import dns.asyncresolver

from domains.guarded_fetch import Allowance, FetchFailed, GuardedClient, TooLarge, Url

__all__ = ["FetchFailed", "Https"]


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
        client = GuardedClient(self.resolver, self.context, self.timeout_s)
        url = Url("https", host, self.port, path)
        try:
            answer = await client.request(url, Allowance(self.most_octets), header=[("Accept", "text/plain")])
        except TooLarge:
            raise FetchFailed(f"the file is larger than {self.most_octets} octets") from None
        if answer.status != 200:
            raise FetchFailed(f"the answer was “{answer.status} {answer.reason}”")
        if answer.media_type != "text/plain":
            raise FetchFailed(f"the content type is “{answer.media_type[:100]}”, not text/plain")
        try:
            return answer.body.decode()
        except UnicodeDecodeError as error:
            raise FetchFailed(f"{host}: {error}") from None
