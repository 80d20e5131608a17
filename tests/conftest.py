"""Fixtures that several test files share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from tests.platform import Platform, running_platform

LONGEST_FIRST = ("crash under load", "worker ends", "platform")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups of tests that start processes begin first, or the run would end with one worker at them and the others idle."""

    def turn(item: pytest.Item) -> int:
        mark = item.get_closest_marker("xdist_group")
        if mark is None:
            return len(LONGEST_FIRST) + 1
        [group] = mark.args
        return LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=turn)


@pytest.fixture(autouse=True)
def connection_of_async_queries() -> Iterator[None]:
    """Django runs `aexists` and the like in a thread of asgiref's, whose connection would outlive the test, and be found dead
    by a later one when a test in between has ended all connections of the database."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One running PlugSend for all tests that only use it; those that hurt it start their own.

    Such tests are marked `xdist_group("platform")`, so one worker runs them all and one platform serves them.
    """
    with tempfile.TemporaryDirectory(prefix="plugsend-platform-") as place:
        Path(place).chmod(0o711)  # as root the engines' account must be able to pass
        with running_platform(Path(place) / "var") as running:
            yield running
