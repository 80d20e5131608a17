"""A pytest plugin (`-p tests.engines`): PostgreSQL and Valkey of the test run's own, gone when it ends.

As a plugin it is loaded before pytest-django reads the settings. The controlling process starts the engines; xdist's
workers inherit their addresses. Each gets a database of its own from pytest-django, and here one of Valkey's: a test that
empties the cache does not take from another's what it counts there.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from plugsend.engines import scratch

_engines = ExitStack()

if "PLUGSEND_TEST_ENGINES" not in os.environ:
    os.environ["PLUGSEND_TEST_ENGINES"] = "running"
    os.environ["PLUGSEND_VAR"] = _engines.enter_context(tempfile.TemporaryDirectory(prefix="plugsend-test-var-"))
    _shared = Path(_engines.enter_context(tempfile.TemporaryDirectory(prefix="plugsend-test-shared-")))
    _shared.chmod(0o711)  # as root the engines' account must be able to pass
    os.environ["PLUGSEND_TEST_SHARED"] = str(_shared)
    for name in ("css", "static"):  # where `manage.py prepare` puts what it builds; tests of pages need no build
        (Path(os.environ["PLUGSEND_VAR"]) / name).mkdir()
    _running = _engines.enter_context(scratch())
    os.environ["OIDC_ISSUER"], os.environ["OIDC_CLIENT_ID"] = (
        "https://id.plugsend.test",
        "plugsend",
    )  # tests/oidc_provider.py
    os.environ["API_ADDRESS_RATE"] = "0"  # all tests of a worker are one address
    os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = _running.database_url, _running.redis_url
elif worker := os.environ.get("PYTEST_XDIST_WORKER"):
    address, _, _ = os.environ["REDIS_URL"].partition("?db=")
    os.environ["REDIS_URL"] = f"{address}?db={int(worker.removeprefix('gw')) + 1}"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    _engines.close()
