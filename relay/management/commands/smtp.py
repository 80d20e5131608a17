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
from relay.submission.login_guard import GuardLimits, LoginGuard
from relay.submission.smtp import Listening, serve_submission
from relay.submission.smtp_limits import SessionLimits
from relay.submission.smtp_reception import Reception
from relay.submission.smtp_tls import Certificate
from relay.submission.spool import spool_directory

logger = logging.getLogger("relay.smtp")


class Command(BaseCommand):
    help = "Serves SMTP submission (RFC 6409): STARTTLS or TLS from the start, AUTH, then mail."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.SMTP_HOST)
        parser.add_argument("--port", type=int, default=settings.SMTP_PORT, help="STARTTLS")
        parser.add_argument("--alternative-port", type=int, default=settings.SMTP_ALT_PORT, help="STARTTLS; 0: none")
        parser.add_argument("--tls-port", type=int, default=settings.SMTPS_PORT, help="TLS from the start; 0: none")

    def handle(self, *args: Any, host: str, port: int, alternative_port: int, tls_port: int, **options: Any) -> None:
        with contextlib.suppress(ImportError):  # uvloop is faster; asyncio's own loop does the same
            import uvloop

            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        ports = [Listening(port)]
        if alternative_port:
            ports.append(Listening(alternative_port))
        if tls_port:
            ports.append(Listening(tls_port, is_encrypted=True))
        asyncio.run(serve(host, ports))


async def serve(host: str, ports: list[Listening]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    certificate = Certificate(*certificate_files())
    desk = Desk(database_url())
    await desk.open()
    reception = Reception(
        desk,
        hostname=settings.HOSTNAME,
        certificate=certificate,
        limits=SessionLimits.from_settings(),
        guard=LoginGuard(settings.REDIS_URL, GuardLimits.from_settings()),
        spool=spool_directory(),
    )
    reception.open()
    servers = await serve_submission(reception, host, ports)
    for listening in ports:
        logger.info(
            "Submission on %s port %d, %s", host, listening.port, "TLS" if listening.is_encrypted else "STARTTLS"
        )
    await stopping.wait()
    for server in servers:
        server.close()
    await reception.close(settings.SMTP_DRAIN_SECONDS)
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
