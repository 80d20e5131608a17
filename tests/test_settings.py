"""Configuration comes from the environment, and `.env.example` tells all of it."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command

from plugsend.settings import celery_broker, django_database

REPO = Path(__file__).resolve().parent.parent


def test_every_setting_is_listed_in_the_example() -> None:
    read = set()
    for path in (REPO / "plugsend").rglob("*.py"):
        source = path.read_text()
        read |= set(re.findall(r'\benv\.(?:text|number|words|flag|secret)\(\s*["\'](\w+)["\']', source))
        read |= set(re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', source))
    listed = set(re.findall(r"^#(\w+)=", (REPO / ".env.example").read_text(), re.M))
    of_the_system = {"XDG_RUNTIME_DIR", "DJANGO_SETTINGS_MODULE", "PATH"}
    assert read - of_the_system <= listed
    assert listed - read <= {
        "WEB_HOST",
        "SMTP_PROCESSES",
        "WORKER_PROCESSES",
        "PLUGSEND_POSTGRES_BIN",
        "PLUGSEND_VALKEY_BIN",
    }


def test_a_database_uri_keeps_its_socket_and_options() -> None:
    database = django_database("postgresql://me:p%40ss@/plugsend?host=/run/x&sslmode=disable")
    assert (database["HOST"], database["NAME"], database["USER"], database["PASSWORD"]) == (
        "/run/x",
        "plugsend",
        "me",
        "p@ss",
    )
    assert database["OPTIONS"] == {"sslmode": "disable"}


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://host:6379/1", "redis://host:6379/1"),
        ("unix://:secret@/run/x/valkey.sock?db=0", "redis+socket://:secret@/run/x/valkey.sock?virtual_host=0"),
    ],
)
def test_the_broker_is_the_same_server(redis: str, broker: str) -> None:
    assert celery_broker(redis) == broker


@pytest.mark.django_db
def test_migrations_fit_the_models() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
