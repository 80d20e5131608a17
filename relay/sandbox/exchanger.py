"""The sandbox's mail exchanger: takes mail by real SMTP, checks its DKIM signature, keeps it for the inbox page.

The recipients' local parts script its answers (`relay.sandbox.script`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.exception
import psycopg
from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from domains.dns.resolver import async_resolver_over
from relay.sandbox.database import Database
from relay.sandbox.dkim_verdict import check_dkim
from relay.sandbox.inbox import Arrival, Inbox, read_header
from relay.sandbox.internet import EXCHANGER
from relay.sandbox.returns import Sender
from relay.sandbox.script import Greylist, Script, script_for

logger = logging.getLogger(__name__)

SIZE_LIMIT = 50 * 1024 * 1024  # octets, RFC 1870
MOST_RECIPIENTS = 1000
BUFFER_OCTETS = 256 * 1024
END_OF_DATA = b"\r\n.\r\n"
NO_REPLY = ""


class Exchanger:
    """A running exchanger."""

    def __init__(self, server: asyncio.Server, database: Database, sender: Sender) -> None:
        self._server, self._database, self._sender = server, database, sender
        self.port: int = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self._sender.close()
        await self._database.close()


async def serve_exchanger(
    host: str, port: int, *, database_url: str, nameserver: str, certificate: tuple[Path, Path]
) -> Exchanger:
    """Serves until closed; returns once the port (0: any free one) is bound.

    `nameserver`: `address:port`, asked for DKIM keys. `certificate`: as from relay.certificates.self_signed.
    """
    database = Database(database_url)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    resolver = async_resolver_over((nameserver,))
    sender = Sender(resolver)
    handler = Handler(Inbox(database), resolver, sender)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ExchangerSession(handler, tls, loop), host, port)
    return Exchanger(server, database, sender)


class ExchangerSession(SMTP):
    """aiosmtpd's session, with DATA read in large pieces: line by line it costs seven times as much at 100 kB."""

    line_length_limit = BUFFER_OCTETS  # the stream reader's; commands have their own limit

    def __init__(self, handler: Handler, tls: ssl.SSLContext, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler,
            hostname=EXCHANGER,
            ident="ESMTP PlugSend sandbox",
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
            tls_context=tls,
            loop=loop,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = transport.get_extra_info("socket")
        if raw is not None:  # small replies in a row must not wait for an ACK each
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        assert self.envelope is not None
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 RCPT comes first")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        content = await self._read_content()
        if content is None:
            status = "552 5.3.4 The message is larger than the limit"
        else:
            self.envelope.content = content
            status = await self._call_handler_hook("DATA")
        self._set_post_data_state()
        if status == NO_REPLY:
            self._hang_up()
        else:
            await self.push(status)

    def _hang_up(self) -> None:
        assert self.transport is not None
        assert self._handler_coroutine is not None
        self.transport.close()
        self._handler_coroutine.cancel()

    async def _read_content(self) -> bytes | None:
        """All up to the final dot, without transparency dots (RFC 5321, 4.5.2); None when it is over the size limit."""
        content, too_large = bytearray(), False
        # A dot at a line's end is taken for the final one until the line is seen to hold more than that.
        while content != b".\r\n" and not content.endswith(END_OF_DATA):
            try:
                content += await self._reader.readuntil(b".\r\n")
            except asyncio.LimitOverrunError as full:
                content += await self._reader.readexactly(full.consumed)
            if len(content) > SIZE_LIMIT + len(END_OF_DATA):
                too_large = True
                del content[: -len(END_OF_DATA)]
        if too_large:
            return None
        del content[-len(b".\r\n") :]
        if content.startswith(b"."):
            del content[0]
        return bytes(content).replace(b"\r\n.", b"\r\n")


class Handler:
    """Decides, by aiosmtpd's hooks."""

    def __init__(self, inbox: Inbox, resolver: dns.asyncresolver.Resolver, sender: Sender) -> None:
        self._inbox, self._resolver, self._sender = inbox, resolver, sender
        self._greylist = Greylist()

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        offered = [line for line in responses[:-1] if not line.startswith("250-AUTH")]
        # aiosmtpd takes commands one by one out of its buffer (RFC 2920) and empties it at STARTTLS (RFC 3207, 4).
        lines = [*offered, "250-PIPELINING", "250 ENHANCEDSTATUSCODES"]
        return ["\r\n".join(lines)]  # one write

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        script = script_for(address)
        if script.refusal and not (script.once and self._greylist.passes(envelope.mail_from or "", address)):
            return script.refusal
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        scripts = [script_for(address) for address in envelope.rcpt_tos]
        if any(script.drops for script in scripts):
            return NO_REPLY
        try:
            arrival = await self._read(session, envelope)
            await self._inbox.keep(arrival)
        except (psycopg.Error, OSError) as error:
            logger.warning("cannot keep a mail: %s", error)
            return "451 4.3.0 The mailbox is not available now"
        await asyncio.sleep(_delay_s(scripts))
        for address, script in zip(envelope.rcpt_tos, scripts, strict=True):
            if script.sends_back:
                self._sender.send_back(script.sends_back, arrival.envelope_sender, address, arrival.raw)
        return f"250 2.0.0 Ok: queued as {arrival.id}"

    async def _read(self, session: Session, envelope: Envelope) -> Arrival:
        raw = envelope.content
        assert isinstance(raw, bytes)
        verdict = await check_dkim(raw, self._fetch_txt)
        subject, header_from = read_header(raw, "Subject", "From")
        return Arrival(
            envelope_sender=(envelope.mail_from or "").removeprefix("<>"),  # aiosmtpd's spelling of the null path
            recipients=list(envelope.rcpt_tos),
            raw=raw,
            subject=subject,
            header_from=header_from,
            dkim=verdict.result,
            dkim_domain=verdict.domain,
            dkim_signatures=[str(signature) for signature in verdict.signatures],
            tls=_tls_facts(session.ssl),
            helo=session.host_name or "",
        )

    async def _fetch_txt(self, name: str) -> bytes | None:
        try:
            answer = await self._resolver.resolve(name, "TXT", search=False)
        except dns.exception.DNSException:
            return None
        return b"".join(answer[0].strings)

    async def handle_exception(self, error: Exception) -> str:
        logger.error("an SMTP session failed", exc_info=error)
        return "451 4.3.0 Something went wrong here"


def _delay_s(scripts: list[Script]) -> float:
    return max((script.delay_s for script in scripts), default=0)


def _tls_facts(facts: dict[str, Any] | None) -> str:
    """Version and cipher, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`; empty without TLS."""
    if not facts:
        return ""
    cipher, version, _bits = facts["cipher"]
    return f"{facts['ssl_object'].version() or version} {cipher}"
