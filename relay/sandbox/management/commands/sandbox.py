"""`manage.py sandbox`: the loopback internet, DNS server and mail exchangers, the harsh ones too, in one process."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from relay.certificates import self_signed
from relay.database import database_url
from relay.sandbox.dns_server import serve_dns
from relay.sandbox.exchanger import serve_exchanger
from relay.sandbox.harsh import HarshExchanger, serve_harsh
from relay.sandbox.internet import EXCHANGER
from relay.sandbox.misbehaviours import HARSH_DOMAIN

logger = logging.getLogger("sandbox")

HOST = "127.0.0.1"


class Command(BaseCommand):
    help = "Runs the sandbox's DNS server and mail exchanger on loopback."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SANDBOX:
            raise CommandError(
                "PLUGSEND_MODE is not sandbox: a live installation uses the real DNS and real exchangers."
            )
        try:
            import uvloop
        except ImportError:
            asyncio.run(serve())
        else:
            uvloop.run(serve())


async def serve() -> None:
    """Runs the servers until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = database_url()
    certificate = self_signed(settings.VAR / "tls", EXCHANGER)
    dns_server = await serve_dns(HOST, settings.SANDBOX_DNS_PORT, database_url=url)
    logger.info("DNS server ready on %s:%s (UDP and TCP)", HOST, dns_server.port)
    exchanger = await serve_exchanger(
        HOST,
        settings.SANDBOX_MX_PORT,
        database_url=url,
        nameserver=f"{HOST}:{dns_server.port}",
        certificate=certificate,
    )
    logger.info("mail exchanger ready on %s:%s", HOST, exchanger.port)
    harsh = await _serve_harsh_if_possible(exchanger.port, certificate)
    await stop.wait()
    if harsh:
        await harsh.close()
    await exchanger.close()
    await dns_server.close()


async def _serve_harsh_if_possible(port: int, certificate: tuple[Path, Path]) -> HarshExchanger | None:
    try:
        return await serve_harsh(port, certificate=certificate)
    except OSError as error:
        logger.warning(
            "The harsh exchangers (*.%s) are not served: %s. They need 127.0.1.0/24, which Linux has by itself.",
            HARSH_DOMAIN,
            error.strerror or error,
        )
        return None
