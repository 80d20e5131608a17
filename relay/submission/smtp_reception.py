"""What all SMTP sessions of a process share: desk, limits, places, certificate, the clock and the end."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

from django.conf import settings

from accounts.catalogue import Refused
from relay.memory import give_back
from relay.submission.desk import Desk
from relay.submission.login_guard import LoginGuard
from relay.submission.smtp_limits import Places, Room, SessionLimits
from relay.submission.smtp_tls import Certificate

LOOK_EVERY_S = 1.0
GIVE_BACK_EVERY_S = 60.0  # where there are always guests


class Guest(Protocol):
    """A session as its host sees it."""

    deadline: float  # on the loop's clock
    is_in_hand: bool  # a message is being received or stored

    def send_away(self, reason: Refused) -> None: ...


class Reception:
    """Open, use and close it on one event loop."""

    def __init__(
        self,
        desk: Desk,
        *,
        hostname: str,
        certificate: Certificate,
        limits: SessionLimits,
        guard: LoginGuard,
        spool: Path,
    ) -> None:
        self.desk, self.hostname, self.certificate = desk, hostname, certificate
        self.limits, self.guard, self.spool = limits, guard, spool
        self.by_address = Places(limits.connections_per_address, "your address")
        self.by_user = Places(limits.connections_per_user, "this SMTP user")
        self.room = Room(limits.memory_octets)
        self.postmaster_domain, self.help_url = settings.SYSTEM_DOMAIN, f"{settings.WEB_URL}/errors/"
        self.is_closing = False
        self._guests: set[Guest] = set()
        self._had_guests = False  # since memory was given back last
        self._empty = asyncio.Event()
        self._empty.set()
        self._clock: asyncio.Task[None] | None = None
        common = ["PIPELINING", f"SIZE {desk.limits.message_octets}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
                  "CHUNKING"]  # fmt: skip
        # RFC 3207, 4.2: STARTTLS is not offered under TLS; RFC 4954, 4: nor AUTH before it.
        self.hello_in_clear = self._hello([*common, "STARTTLS", "HELP"])
        self.hello_encrypted = self._hello([*common, "AUTH LOGIN PLAIN", "HELP"])

    def _hello(self, extensions: list[str]) -> str:
        """RFC 5321, 4.1.1.1: the reply to EHLO. It carries no enhanced code (RFC 2034, 3)."""
        lines = [self.hostname, *extensions]
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def open(self) -> None:
        self.guard.start()
        self._clock = asyncio.create_task(self._watch())

    def enters(self, guest: Guest) -> None:
        self._guests.add(guest)
        self._had_guests = True
        self._empty.clear()

    def leaves(self, guest: Guest) -> None:
        self._guests.discard(guest)
        if not self._guests:
            self._empty.set()

    async def close(self, within_s: float) -> None:
        """Lets messages in hand be finished, sends everybody else away at once and the slow ones in the end."""
        self.is_closing = True
        for guest in list(self._guests):
            if not guest.is_in_hand:
                guest.send_away(Refused("shutting_down"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        for guest in list(self._guests):
            guest.send_away(Refused("shutting_down"))
        if self._clock:
            self._clock.cancel()
        await self.guard.stop()

    async def _watch(self) -> None:
        """One look over all sessions each second is cheaper than a timer for each command."""
        loop = asyncio.get_running_loop()
        gave_back_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = loop.time()
            # 800 connections with TLS, one after the other, leave 15 MiB behind.
            if self._had_guests and (not self._guests or now - gave_back_at > GIVE_BACK_EVERY_S):
                give_back()
                gave_back_at, self._had_guests = now, bool(self._guests)
            for guest in [guest for guest in self._guests if guest.deadline < now]:
                guest.send_away(Refused("timed_out"))
