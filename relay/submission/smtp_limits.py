"""The limits of the SMTP door, each a setting, and what is shared out among its sessions: connections and memory."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from django.conf import settings

from accounts.catalogue import Refused


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Octets, counts and seconds. Connections are counted in each process."""

    command_octets: int = 1065  # RFC 5321 4.5.3.1.4: 512, SIZE 26, BODY 17, SMTPUTF8 10, AUTH= 500 more
    auth_octets: int = 12_288  # RFC 4954, 4
    messages_per_connection: int = 1000
    connections_per_address: int = 100
    connections_per_user: int = 50
    bad_commands: int = 10
    idle_s: float = 300  # RFC 5321, 4.5.3.2.7
    login_s: float = 300
    transfer_s: float = 900
    memory_octets: int = 64 * 1024 * 1024

    @classmethod
    def from_settings(cls) -> SessionLimits:
        return cls(
            command_octets=settings.SMTP_COMMAND_OCTETS,
            auth_octets=settings.SMTP_AUTH_OCTETS,
            messages_per_connection=settings.SMTP_MESSAGES_PER_CONNECTION,
            connections_per_address=settings.SMTP_CONNECTIONS_PER_ADDRESS,
            connections_per_user=settings.SMTP_CONNECTIONS_PER_USER,
            bad_commands=settings.SMTP_BAD_COMMANDS,
            idle_s=settings.SMTP_IDLE_SECONDS,
            login_s=settings.SMTP_LOGIN_SECONDS,
            transfer_s=settings.SMTP_TRANSFER_SECONDS,
            memory_octets=settings.SMTP_MEMORY_OCTETS,
        )


class Places:
    """So many at a time for each name."""

    def __init__(self, most: int, whose: str) -> None:
        self._most, self._whose = most, whose
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one_for(self, name: str) -> Iterator[None]:
        """Raises `Refused` when all are taken."""
        if self._taken[name] >= self._most:
            raise Refused("too_many_connections", limit=self._most, whose=self._whose)
        self._taken[name] += 1
        try:
            yield
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]  # addresses come and go


class Room:
    """Memory for contents on their way into the database, shared out in order of arrival.

    While a message waits here it lies on disk (`relay.submission.smtp_content`), so that no number of clients can fill
    the memory. One larger than the whole room goes in alone.
    """

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, octets: int) -> AsyncIterator[None]:
        octets = min(octets, self._octets)
        if self._waiting or self._taken + octets > self._octets:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((octets, turn))
            try:
                await turn  # whoever wakes us has taken our share
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back(octets)
                raise
        else:
            self._taken += octets
        try:
            yield
        finally:
            self._give_back(octets)

    def _give_back(self, octets: int) -> None:
        self._taken -= octets
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif self._taken + wanted <= self._octets:
                self._waiting.popleft()
                self._taken += wanted
                turn.set_result(None)
            else:
                return
