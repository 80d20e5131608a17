"""Signing in over SMTP (RFC 4954, 4616), and staying signed in only as long as the key is good."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from typing import Any

from aiosmtpd.smtp import syntax

from accounts.api_keys import digest_of
from accounts.catalogue import Refused
from accounts.credentials import Credential
from relay.submission.smtp_arguments import Malformed
from relay.submission.smtp_connection import Connection

USER_NAME, PASSWORD = "Username:", "Password:"  # what every client knows; LOGIN never became an RFC


class Authentication(Connection):
    """The part of a session that knows who is there."""

    places: contextlib.ExitStack
    sender: str | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.has_greeted = self.is_extended = False
        self.credential: Credential | None = None
        self._user_name = ""
        self._digest = b""

    @syntax("AUTH PLAIN|LOGIN [initial-response]")
    async def smtp_AUTH(self, arg: str) -> None:
        if not (self.has_greeted and self.is_extended):
            raise Malformed("503 5.5.1 Say EHLO first")
        if not self.is_encrypted:
            raise Refused("encryption_required")
        if self.credential is not None or self.sender is not None:
            raise Malformed("503 5.5.1 You are signed in already")  # RFC 4954, 4
        mechanism, _, initial = arg.partition(" ")
        if not mechanism or " " in initial:
            raise Malformed("501 5.5.4 Syntax: AUTH mechanism [initial-response]")
        # RFC 4954, 4: mechanism names are not case-sensitive.
        if mechanism.upper() == "PLAIN":
            user_name, secret = await self._plain(initial)
        elif mechanism.upper() == "LOGIN":
            user_name, secret = await self._login(initial)
        else:
            raise Malformed("504 5.5.4 The mechanisms are PLAIN and LOGIN")
        await self._sign_in(user_name, secret)
        self.reply("235 2.7.0 Authentication successful")

    async def _plain(self, initial: str) -> tuple[str, str]:
        """RFC 4616, 2: authorization identity, user name and password, NUL between them."""
        parts = (_decoded(initial) if initial else await self._ask("")).split(b"\0")
        if len(parts) != 3:
            raise Malformed("501 5.5.2 PLAIN is [identity] NUL user name NUL password, in base64")
        identity, user_name, secret = (_text(part) for part in parts)
        # Nobody acts for somebody else here; the two may be the same.
        return (user_name, secret) if identity in {"", user_name} else (identity, "")

    async def _login(self, initial: str) -> tuple[str, str]:
        user_name = _decoded(initial) if initial else await self._ask(USER_NAME)
        return _text(user_name), _text(await self._ask(PASSWORD))

    async def _ask(self, challenge: str) -> bytes:
        self.reply(f"334 {base64.b64encode(challenge.encode()).decode()}")
        line = await self._input.line(self.reception.limits.auth_octets)
        if line is None:
            raise Malformed("500 5.5.6 Authentication exchange line is too long")  # RFC 4954, 6
        answer = line.rstrip(b"\r\n").decode("ascii", "replace")
        if answer == "*":
            raise Malformed("501 5.7.0 Authentication cancelled")  # RFC 4954, 4
        return _decoded(answer)

    async def _sign_in(self, user_name: str, secret: str) -> None:
        """A name that nobody has and a wrong key are answered with the same words after the same time."""
        started, guard = self.loop.time(), self.reception.guard
        guard.check(self.peer, user_name.lower())
        digest = digest_of(secret)
        credential = await self._look_up(user_name, digest)
        if credential is None:
            delay = await guard.failed(self.peer, user_name.lower())
            await asyncio.sleep(max(0.0, started + delay - self.loop.time()))
            raise Refused("invalid_credentials")
        credential.check_may_enter(self.peer)
        credential.check_may_send()
        self.places.enter_context(self.reception.by_user.one_for(user_name.lower()))
        guard.succeeded(self.peer, user_name.lower())
        self.credential, self._user_name, self._digest = credential, user_name, digest
        self.reception.desk.note_use(credential, self.peer)

    async def _look_up(self, user_name: str, digest: bytes) -> Credential | None:
        try:
            return await self.reception.desk.smtp_credential(user_name, digest)
        except Refused as refused:
            # RFC 4954, 6: tells the client that nothing is wrong with the password.
            raise Refused("authentication_unavailable") from refused

    async def credential_again(self) -> Credential:
        """The credential as it is now: a key that was revoked must not send on in sessions that it opened."""
        credential = await self.reception.desk.smtp_credential(self._user_name, self._digest)
        try:
            if credential is None:
                raise Refused("invalid_credentials")
            credential.check_may_enter(self.peer)
        except Refused:
            self.credential = None
            self.places.close()  # another one may sign in
            raise
        self.credential = credential
        self.reception.desk.note_use(credential, self.peer)
        return credential


def _decoded(text: str) -> bytes:
    if text == "=":
        return b""  # RFC 4954, 4: an initial response that is there and empty
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("501 5.5.2 That is not base64") from None


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
