"""All that our processes import, for the forker to have imported before. Nothing here may start a thread or connect."""

import contextlib
import importlib
import os
import ssl

import django
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings

# What the programs that we run import only when they run, or at first use.
_MODULES = [
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.contrib.django.task",
    "celery.events",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "cryptography.hazmat.backends.openssl",
    "dbm.dumb",
    "plugsend.cache",
    "django.core.management.commands.migrate",
    "dns.rdtypes.IN.A",
    "kombu.transport.redis",
    "plugsend.management.commands.prepare",
    "plugsend.management.commands.send_demo",
    "plugsend.management.commands.web",
    "uvicorn.lifespan.on",
    "a2wsgi",
    "relay.rest.door",
    "django.core.handlers.wsgi",
    "plugsend.urls",
    "relay.delivery.worker",
    "relay.management.commands.returns",
    "relay.management.commands.smtp",
    "relay.sandbox.management.commands.sandbox",
    *("relay.tasks", "relay.statistics.tasks", "domains.tasks", "plugsend.tasks"),
    "plugsend.status.watch",
]


def preload() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plugsend.settings")
    django.setup()
    with contextlib.suppress(ImportError):  # optional
        import uvloop  # noqa: F401
    # The middleware's modules, not the application itself: it reads the static files, which may not be built yet.
    for name in (*_MODULES, *(path.rpartition(".")[0] for path in settings.MIDDLEWARE)):
        importlib.import_module(name)
    _make_ready()


def _make_ready() -> None:
    """Both OpenSSLs, Celery and the documentation build tables of several MiB at first use: once here is once for all."""
    from plugsend.celery import app
    from plugsend.documentation.pages import pages

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ec.generate_private_key(ec.SECP256R1()).sign(b"", ec.ECDSA(SHA256()))
    app.finalize()
    pages()
    app.loader.import_default_modules()


preload()
