"""`manage.py smtp`: the submission server."""

import asyncio
import contextlib
import logging
import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from relay.certificates import self_signed
from relay.database import database_url
from relay.submission.desk import Desk
from relay.submission.smtp import serve_submission, tls_context

logger = logging.getLogger("relay.smtp")


class Command(BaseCommand):
    help = "Serves SMTP submission (RFC 6409): STARTTLS, AUTH, then mail."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.SMTP_HOST)
        parser.add_argument("--port", type=int, default=settings.SMTP_PORT)

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        with contextlib.suppress(ImportError):  # uvloop is faster; asyncio's own loop does the same
            import uvloop

            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        asyncio.run(serve(host, port))


async def serve(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    desk = Desk(database_url())
    await desk.open()
    server = await serve_submission(
        desk, host=host, port=port, hostname=settings.HOSTNAME, tls=tls_context(*certificate_files())
    )
    logger.info("Submission on %s port %d, STARTTLS", host, port)
    await stopping.wait()
    server.close()
    await desk.close()  # what was received is committed and answered
    await asyncio.sleep(0.05)


def certificate_files() -> tuple[str, str]:
    """The configured certificate and key; in sandbox mode a self-signed pair is made when there is none."""
    if settings.SMTP_TLS_CERT and settings.SMTP_TLS_KEY:
        return settings.SMTP_TLS_CERT, settings.SMTP_TLS_KEY
    if not settings.SANDBOX:
        raise CommandError("Set SMTP_TLS_CERT and SMTP_TLS_KEY: submission needs a certificate for STARTTLS.")
    certificate, key = self_signed(settings.VAR / "tls", settings.HOSTNAME)
    return str(certificate), str(key)
