"""`manage.py returns`: the return-path server."""

import asyncio
import contextlib
import logging
import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from relay.certificates import self_signed
from relay.returns.server import ReturnsLimits, ReturnsServer
from relay.submission.smtp_tls import Certificate

logger = logging.getLogger("relay.returns")


class Command(BaseCommand):
    help = "Receives what comes back by mail: bounces, complaints, automatic replies."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.RETURNS_HOST)
        parser.add_argument("--port", type=int, default=settings.RETURNS_PORT)

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        with contextlib.suppress(ImportError):  # uvloop is faster; asyncio's own loop does the same
            import uvloop

            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        asyncio.run(serve(host, port))


async def serve(host: str, port: int) -> None:
    """Runs until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = ReturnsServer(
        hostname=settings.HOSTNAME, certificate=Certificate(*certificate_files()), limits=ReturnsLimits.from_settings()
    )
    await server.listen(host, port)
    logger.info("Bounces and complaints on %s port %d, STARTTLS", host, server.port)
    await stopping.wait()
    await server.close()


def certificate_files() -> tuple[str, str]:
    """The one of submission, else a self-signed pair: encryption between mail servers is opportunistic (RFC 7435)."""
    if settings.SMTP_TLS_CERT and settings.SMTP_TLS_KEY:
        return settings.SMTP_TLS_CERT, settings.SMTP_TLS_KEY
    certificate, key = self_signed(settings.VAR / "tls", settings.HOSTNAME)
    return str(certificate), str(key)
