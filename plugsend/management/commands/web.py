"""`manage.py web`: the web server, pages and REST."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from plugsend.web_server import server


class Command(BaseCommand):
    help = "Serves pages and the REST API over HTTP/1.1; TLS is a proxy's in front."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        from plugsend.asgi import application  # reads the static files

        server(application, host, port).run()
