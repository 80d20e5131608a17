"""What the sandbox's mailboxes mail back after they have taken a mail: bounces, complaints, automatic replies, by real SMTP to
where DNS says that the return path's or the feedback address's mail goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import smtplib
from datetime import UTC, datetime
from email.utils import format_datetime

import dns.asyncresolver
import dns.exception
from django.conf import settings

from relay.sandbox.internet import EXCHANGER
from relay.sandbox.script import SentBack

logger = logging.getLogger(__name__)

AFTER_S = 2.0
RETRIES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
AT_ONCE = 8
WAITING_MOST = 1000  # what would wait beyond is not sent: the sandbox is no place for loads of it
HEAD_OCTETS = 16 * 1024  # of the copy of the mail
TIMEOUT_S = 30


class Sender:
    """Sends in the background, at most AT_ONCE at a time."""

    def __init__(self, resolver: dns.asyncresolver.Resolver) -> None:
        self._resolver = resolver
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def send_back(self, what: SentBack, return_path: str, recipient: str, raw: bytes) -> None:
        """Nothing where there is no return path (RFC 3834, 2)."""
        to = settings.FEEDBACK_ADDRESSES[0] if what == "complaint" and settings.FEEDBACK_ADDRESSES else return_path
        if not return_path or len(self._tasks) >= WAITING_MOST:
            return
        mail = written(what, return_path, to, recipient, raw)
        task = asyncio.get_running_loop().create_task(self._send(to, mail))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _send(self, to: str, mail: bytes) -> None:
        for pause_s in (AFTER_S, *RETRIES_S):
            await asyncio.sleep(pause_s)
            async with self._places:
                try:
                    host, port = await self._exchanger_of(to.rpartition("@")[2])
                    await asyncio.to_thread(_deliver, host, port, to, mail)
                except smtplib.SMTPRecipientsRefused as refused:
                    logger.info("%s was refused: %s", to, refused)
                    return
                except (dns.exception.DNSException, OSError, smtplib.SMTPException) as error:
                    logger.info("nothing could be sent back to %s yet: %s", to, error)
                else:
                    return

    async def _exchanger_of(self, domain: str) -> tuple[str, int]:
        """Address and port. The platform's own name is where its return-path server listens."""
        answer = await self._resolver.resolve(domain, "MX", search=False)
        host = min(answer, key=lambda record: record.preference).exchange.to_text(omit_final_dot=True).lower()
        addresses = await self._resolver.resolve(host, "A", search=False)
        port = settings.RETURNS_PORT if host == settings.HOSTNAME.lower() else settings.SANDBOX_MX_PORT
        return addresses[0].address, port


def _deliver(host: str, port: int, to: str, mail: bytes) -> None:
    with smtplib.SMTP(host, port, local_hostname=EXCHANGER, timeout=TIMEOUT_S) as client:
        client.ehlo()
        with contextlib.suppress(smtplib.SMTPNotSupportedError):
            client.starttls()
            client.ehlo()
        client.sendmail("", [to], mail)


# ---- The mails -------------------------------------------------------------------------------------------------------


def written(what: SentBack, return_path: str, to: str, recipient: str, raw: bytes) -> bytes:
    """`to`: the address that gets it."""
    head = raw[:HEAD_OCTETS].partition(b"\r\n\r\n")[0].decode("utf-8", "replace").rstrip("\r\n")
    text = _WRITERS[what].format(
        to=to, recipient=recipient, return_path=return_path, host=EXCHANGER, head=head, domain=recipient.rpartition("@")[2],
        date=format_datetime(datetime.now(UTC)),
    )  # fmt: skip
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8", "replace")


# RFC 3464.
_REPORT = """\
From: MAILER-DAEMON@{host} (Mail Delivery System)
To: {to}
Subject: %(subject)s
Date: {date}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_report"

--=_report
Content-Type: text/plain; charset=us-ascii

This is the mail system at host {host}.

%(text)s

<{recipient}>: %(said)s

--=_report
Content-Type: message/delivery-status

Reporting-MTA: dns; {host}
Arrival-Date: {date}

Final-Recipient: rfc822; {recipient}
Action: %(action)s
Status: %(status)s
Diagnostic-Code: smtp; %(said)s

--=_report
Content-Type: text/rfc822-headers

Return-Path: <{return_path}>
{head}

--=_report--
"""
_GIVEN_UP = {
    "subject": "Undelivered Mail Returned to Sender",
    "text": "I'm sorry to have to inform you that your message could not be delivered.",
    "action": "failed",
}
_WRITERS: dict[SentBack, str] = {
    "bounce": _REPORT % (_GIVEN_UP | {"status": "5.1.1", "said": "550 5.1.1 User unknown in the mailbox table"}),
    "full": _REPORT % (_GIVEN_UP | {"status": "5.2.2", "said": "552 5.2.2 Mailbox full"}),
    "delay": _REPORT
    % {
        "subject": "Delayed Mail (still being retried)",
        "text": "This is a warning only. You do not need to resend your message.",
        "action": "delayed",
        "status": "4.4.1",
        "said": "connect to mailbox.{domain}: Connection timed out",
    },
    # As qmail writes them (QSBMF), which is no report of RFC 3464.
    "odd_bounce": """\
From: MAILER-DAEMON@{host}
To: {to}
Subject: failure notice
Date: {date}

Hi. This is the qmail-send program at {host}.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{recipient}>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <{return_path}>
{head}
""",
    # RFC 5965.
    "complaint": """\
From: Feedback loop <feedback@{host}>
To: {to}
Subject: Email Feedback Report
Date: {date}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="=_report"

--=_report
Content-Type: text/plain; charset=us-ascii

This is a report of a mail that its recipient marked as spam.

--=_report
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Sandbox-Feedback-Loop/1.0
Version: 1
Original-Mail-From: <{return_path}>
Original-Rcpt-To: <{recipient}>
Reporting-MTA: dns; {host}

--=_report
Content-Type: text/rfc822-headers

Return-Path: <{return_path}>

--=_report--
""",
    # RFC 3834.
    "vacation": """\
From: {recipient}
To: {to}
Subject: Automatic reply: out of office
Date: {date}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

I am on holiday until Monday and read no mail until then.
""",
}
