"""Fixtures that several test files share."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from functools import cache, partial
from itertools import cycle

import hypothesis
import lucide
import psycopg
import pytest
from _pytest.nodeid import coerce_node_id
from asgiref.sync import SyncToAsync
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from django.conf import settings
from django.db import connection, connections
from django.test import TransactionTestCase
from pytest_django.plugin import DjangoDbBlocker

from domains.dkim import keys as dkim_keys
from relay.audit import disagreements
from relay.database import database_url
from tests.lookers import wait_for_lookers
from tests.made_once import made_once
from tests.platform import RUNNING, Platform, running_platform

hypothesis.settings.register_profile("plugsend", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("plugsend")

TEMPLATE = "test_template"
KEPT_TABLES = ["django_migrations", "django_content_type", "auth_permission", "django_site"]  # migrations fill them
KEYS_MADE = 20  # RSA keys of a run; they are real, and making them is not what its tests are about


@pytest.fixture(autouse=True, scope="session")
def what_costs_much_costs_less() -> Iterator[None]:
    """A third of the run went into hashes of passwords, RSA keys, icons, and emptying tables that were empty."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    made = (generate_private_key(65537, dkim_keys.KEY_BITS) for _ in range(KEYS_MADE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dkim_keys, "make_rsa_key", partial(next, cycle(made)))
        patch.setattr(lucide, "_render_icon", cache(lucide._render_icon))
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_what_has_rows)
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: DjangoDbBlocker
) -> None:
    """The database is migrated once, and each of xdist's workers has a copy."""
    asked = connection.settings_dict["TEST"]
    if "PYTEST_XDIST_WORKER" in os.environ:
        with made_once("database") as missing, django_db_blocker.unblock():
            if missing:
                own, asked["NAME"] = asked["NAME"], TEMPLATE
                before = connection.settings_dict["NAME"]
                connection.creation.create_test_db(verbosity=0, serialize=False)
                connection.close()
                settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = before
                asked["NAME"] = own
                missing.touch()
        asked["TEMPLATE"] = TEMPLATE


def empty_what_has_rows(_: TransactionTestCase | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE relkind = 'r' AND pg_relation_size(oid) > 0"
            " AND relnamespace = current_schema()::regnamespace AND NOT relname = ANY(%s)",
            [KEPT_TABLES],
        )
        if names := cursor.fetchone()[0]:
            cursor.execute(f"TRUNCATE {names} CASCADE")


# Groups, or files that are groups by themselves. Who begins such a one last would work alone at the end.
IN_A_BROWSER = "platform in a browser"
LONGEST_FIRST = (
    "platform", IN_A_BROWSER, "crash under load", "worker ends", "test_api_contract", "test_accessible",
    "test_crossed_tenants", "faults",
    "smtp-faults", "smtp-limits", "full-disk", "broker faults", "test_status_running", "test_rest_never_twice",
    "test_door_http", "test_browser_policy", "test_worker_memory", "test_supervisor", "test_engines",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs a whole group (`xdist_group`) or file, so that what it starts or makes for them is made once."""
    groups = {item: _group_of(item) for item in items}
    order = {group: number for number, group in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(groups[item], len(order)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        for item in items:  # pytest-xdist 3.8 writes it where pytest 9.2 does not read it
            item._id = coerce_node_id(f"{item.nodeid}@{groups[item]}")


def _group_of(item: pytest.Item) -> str:
    mark = item.get_closest_marker("xdist_group")
    if mark is None or (mark.args[0] == "platform" and "platform" not in getattr(item, "fixturenames", ())):
        return item.path.stem  # also those of a file of the platform's that start their own
    if mark.args[0] == "platform" and item.get_closest_marker("browser"):
        return IN_A_BROWSER  # on a second platform: together they would be the longest group by far
    return str(mark.args[0])


@pytest.fixture(autouse=True, scope="session")
def dns_that_fails_at_once() -> Iterator[None]:
    """For tests that are not about DNS, so that looks that open pages set off do not wait for a silent one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        settings.DNS_NAMESERVERS, settings.DNS_AUTHORITY_PORT = [f"127.0.0.1:{port}"], port
        threading.Thread(target=_fail, args=(server,), daemon=True).start()
        yield


def _fail(server: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed
        while True:
            query, sender = server.recvfrom(4096)
            server.sendto(query[:2] + bytes([0x80 | query[2] & 0x01, 0x82]) + query[4:], sender)  # SERVFAIL


@pytest.fixture(autouse=True)
def connection_of_async_queries() -> Iterator[None]:
    """Django runs `aexists` and the like in a thread of asgiref's, whose connection would outlive the test, and be found dead
    by a later one when a test in between has ended all connections of the database."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def looks_that_pages_set_off() -> Iterator[None]:
    """They would find another test's rows, or none."""
    yield
    wait_for_lookers()


@pytest.fixture
def timelines_agree(request: pytest.FixtureRequest) -> Iterator[None]:
    """For tests of faults: whatever was done to the platforms that run, or within the test's database, states and events agree
    (`manage.py audit_timelines`)."""
    has_database = request.node.get_closest_marker("django_db") is not None
    if has_database:
        request.getfixturevalue("transactional_db")
    yield
    for platform in RUNNING:
        platform.audit()
    if has_database:
        with psycopg.connect(database_url(), autocommit=True) as database:
            assert disagreements(database) == []


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One running PlugSend for all tests that only use it; those that hurt it start their own.

    Such tests are marked `xdist_group("platform")`, so one worker runs them all and one platform serves them.
    """
    with running_platform() as running:
        yield running
