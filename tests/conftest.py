"""Fixtures that several test files share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import Platform, running_platform


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One running PlugSend for all tests that only use it; those that hurt it start their own.

    Such tests are marked `xdist_group("platform")`, so one worker runs them all and one platform serves them.
    """
    with tempfile.TemporaryDirectory(prefix="plugsend-platform-") as place:
        Path(place).chmod(0o711)  # as root the engines' account must be able to pass
        with running_platform(Path(place) / "var") as running:
            yield running
