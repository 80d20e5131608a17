"""The SMTP door: aiosmtpd's session with a buffered DATA reader and our own decisions (RFC 5321, 6409, 4954, 3207).

`SubmissionSession` is the protocol: what may be said when. `SubmissionHandler` decides about senders, recipients and
messages, by way of the desk.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

from relay.models import Door
from relay.submission.accept import (
    NULL_SENDER,
    Credential,
    Submission,
    check_domain_fact,
    check_recipients,
    sender_domain,
)
from relay.submission.catalogue import Refused
from relay.submission.desk import Desk

logger = logging.getLogger(__name__)

IDLE_TIMEOUT_S = 300  # RFC 5321, 4.5.3.2.7
END_OF_DATA = b"\r\n.\r\n"
COMMANDS_PER_SESSION = {"NOOP": 100, "RSET": 10_000, "VRFY": 100, "HELP": 20, "AUTH": 5, "*": 200_000}


class SubmissionSession(SMTP):
    """One client's session."""

    session: Session  # there is one as soon as there is a connection
    envelope: Envelope

    def __init__(self, desk: Desk, *, hostname: str, tls: ssl.SSLContext, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            SubmissionHandler(desk),
            data_size_limit=desk.limits.message_octets,
            enable_SMTPUTF8=True,
            hostname=hostname,
            ident="ESMTP PlugSend",
            tls_context=tls,
            timeout=IDLE_TIMEOUT_S,
            auth_required=True,
            auth_require_tls=True,
            command_call_limit=COMMANDS_PER_SESSION,
            authenticator=_keep_for_later,
            loop=loop,
        )
        self._desk = desk
        self._size_limit = desk.limits.message_octets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = transport.get_extra_info("socket")
        if raw is not None:  # several small replies in a row must not wait for an ACK each
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    async def check_auth_needed(self, caller_method: str) -> bool:
        if self.session.authenticated:
            return False
        # RFC 4954, 6: 530 5.7.0 to commands that need authentication. HELP does not.
        if caller_method != "HELP":
            await self.push(Refused("authentication_required").smtp_reply())
            return True
        return False

    @syntax("AUTH <mechanism>")
    async def smtp_AUTH(self, arg: str | None) -> None:
        if self._tls_protocol is None and self.session.extended_smtp:
            await self.push(Refused("encryption_required").smtp_reply())
            return
        mechanism, _, initial = (arg or "").partition(" ")
        # RFC 4954, 4: mechanism names are not case-sensitive; aiosmtpd's are.
        await super().smtp_AUTH(" ".join(part for part in (mechanism.upper(), initial) if part))

    async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._check(await super().auth_PLAIN(server, args))

    async def auth_LOGIN(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._check(await super().auth_LOGIN(server, args))

    async def _check(self, result: AuthResult) -> AuthResult:
        """`result` holds what the client said; here it is held against the directory."""
        if not result.success:
            return result
        said = cast(LoginPassword, result.auth_data)
        try:
            credential = await self._desk.smtp_credential(_text(said.login), _text(said.password))
            if credential is None:
                raise Refused("invalid_credentials")
            credential.check_may_send()
        except Refused as refused:
            return AuthResult(success=False, handled=False, message=refused.smtp_reply())
        return AuthResult(success=True, auth_data=Signed(said.login, credential))

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Give at least one valid recipient first")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        content = await self._read_data()
        if content is None:
            status = Refused("message_too_large", limit=self._size_limit).smtp_reply()
        else:
            self.envelope.content = content
            status = await self._call_handler_hook("DATA")
        self._set_post_data_state()
        await self.push(status)

    async def _read_data(self) -> bytes | None:
        """The content with its transparency dots taken out (RFC 5321, 4.5.2), or None when it was larger than the limit.

        The stream reader looks for the end of data in its whole buffer, where aiosmtpd asks it for line after line.
        """
        reader: Any = self._reader
        usual_limit, reader._limit = reader._limit, self._size_limit + len(END_OF_DATA)
        try:
            head = await reader.readexactly(3)
            if head == b".\r\n":
                return b""
            reader._buffer[:0] = head  # the first line may be the last one
            data: bytes | None = None
            too_large = False
            while data is None:
                try:
                    data = await reader.readuntil(END_OF_DATA)
                except asyncio.LimitOverrunError as overrun:
                    too_large = True
                    await reader.readexactly(overrun.consumed)
            if too_large or len(data) > self._size_limit + len(END_OF_DATA):
                return None
        finally:
            reader._limit = usual_limit
        data = data[:-3].replace(b"\r\n.", b"\r\n")
        return data[1:] if data.startswith(b".") else data


class Signed(LoginPassword):
    """aiosmtpd keeps this in the session; the password has gone, the credential come."""

    credential: Credential

    def __new__(cls, login: bytes, credential: Credential) -> Signed:
        self = super().__new__(cls, login, b"")
        self.credential = credential
        return self


class SubmissionHandler:
    """Decides about each command's contents. One for each session."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        credential = _credential(session)
        if address != "<>":
            if not address.isascii() and not envelope.smtp_utf8:
                return "553 5.6.7 The address needs the SMTPUTF8 parameter (RFC 6531, 3.4)"
            try:
                credential.check_may_send()
                domain = sender_domain(credential, address)
                check_domain_fact(domain, await self._desk.sending_domain(credential, domain))
            except Refused as refused:
                return refused.smtp_reply()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 The address needs the SMTPUTF8 parameter (RFC 6531, 3.4)"
        try:
            if len(envelope.rcpt_tos) >= self._desk.limits.recipients:
                raise Refused("too_many_recipients", limit=self._desk.limits.recipients)
            check_recipients((address,), self._desk.limits)
        except Refused as refused:
            return refused.smtp_reply()
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        submission = Submission(
            credential=_credential(session),
            door=Door.SMTP.value,
            protocol="UTF8SMTPSA" if envelope.smtp_utf8 else "ESMTPSA",  # RFC 3848, RFC 6531 (4.3)
            envelope_sender=NULL_SENDER if envelope.mail_from == "<>" else str(envelope.mail_from),
            recipients=tuple(str(address) for address in envelope.rcpt_tos),
            content=envelope.content,
            client=session.peer[0] if isinstance(session.peer, tuple) else "",
        )
        try:
            receipt = await self._desk.submit(submission)
        except Refused as refused:
            return refused.smtp_reply()
        return f"250 2.0.0 Ok: queued as {receipt.message_id}"

    async def handle_exception(self, error: Exception) -> str:
        logger.error("A session failed", exc_info=error)
        return Refused("internal_error").smtp_reply()


async def serve_submission(
    desk: Desk, *, host: str, port: int, hostname: str, tls: ssl.SSLContext
) -> asyncio.AbstractServer:
    """Listens on `host:port`; other processes may share the port."""
    loop = asyncio.get_running_loop()
    factory: Callable[[], SubmissionSession] = lambda: SubmissionSession(desk, hostname=hostname, tls=tls, loop=loop)  # noqa: E731
    return await loop.create_server(factory, host, port, backlog=1024, reuse_port=True)


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 and up (RFC 8996 took away the older ones)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _keep_for_later(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
) -> AuthResult:
    """aiosmtpd asks its authenticator synchronously; `SubmissionSession._check` does the asking, asynchronously."""
    return AuthResult(success=True, auth_data=data)


def _credential(session: Session) -> Credential:
    return cast(Signed, session.auth_data).credential


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
