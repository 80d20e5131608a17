"""A return-path server in this process, on the test run's own engines, and mails that come back."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from relay.certificates import self_signed
from relay.returns.server import ReturnsLimits, ReturnsServer
from relay.submission.smtp_tls import Certificate


@contextmanager
def running_returns(limits: ReturnsLimits | None = None) -> Iterator[ReturnsServer]:
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        place = stack.enter_context(TemporaryDirectory())
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        certificate = Certificate(*map(str, self_signed(Path(place), "mail.here.test")))
        server = ReturnsServer(hostname="mail.here.test", certificate=certificate, limits=limits or ReturnsLimits())
        asyncio.run_coroutine_threadsafe(server.listen("127.0.0.1", 0), loop).result(20)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(20)


def client_of(server: ReturnsServer) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, local_hostname="mx.far.test", timeout=30)


def bring(server: ReturnsServer, to: str, mail: bytes, sender: str = "") -> tuple[int, bytes]:
    """One mail; the answer to its final dot, or the refusal before it."""
    with client_of(server) as client:
        client.ehlo()
        client.mail(f"{sender}")
        code, said = client.rcpt(to)
        return client.data(mail) if code == 250 else (code, said)


def bounce(
    address: str, diagnostic: str = "smtp; 550 5.1.1 User unknown", *, action: str = "failed", status: str = "5.1.1"
) -> bytes:
    """RFC 3464."""
    return (
        f"From: MAILER-DAEMON@mx.far.test\r\nTo: x@psrp.acme.test\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n\r\n'
        f"--B\r\n\r\nYour message could not be delivered.\r\n"
        f"--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.far.test\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nAction: {action}\r\nStatus: {status}\r\nDiagnostic-Code: {diagnostic}\r\n"
        f"--B\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Your receipt\r\n--B--\r\n"
    ).encode()


def complaint(return_path: str, recipient: str = "", kind: str = "abuse") -> bytes:
    """RFC 5965; without `recipient` as most providers send it."""
    named = f"Original-Rcpt-To: <{recipient}>\r\n" if recipient else ""
    return (
        f"From: <fbl@provider.test>\r\nTo: <fbl@returns.plugsend.test>\r\nSubject: Email Feedback Report\r\n"
        f"MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=feedback-report; boundary="B"\r\n\r\n'
        f"--B\r\nContent-Type: text/plain\r\n\r\nThis is an email abuse report.\r\n"
        f"--B\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\n"
        f"User-Agent: Provider-FBL/1.0\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{return_path}>\r\n{named}"
        f"--B\r\nContent-Type: message/rfc822\r\n\r\nFrom: ada@acme.test\r\nTo: redacted@provider.test\r\n"
        f"Subject: x\r\n\r\nHi\r\n--B--\r\n"
    ).encode()


AUTO_REPLY = (
    b"From: bob@inbox.test\r\nTo: x@psrp.acme.test\r\nSubject: Automatic reply: Your receipt\r\n"
    b"Auto-Submitted: auto-replied\r\n\r\n"
    b"I am on holiday until Monday.\r\n"
)
