"""What the forker imports for all: no thread, no connection, nothing that `prepare` has yet to make."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
LOOK = """
import os, plugsend.preload
from django.contrib.staticfiles.storage import staticfiles_storage
from django.db import connection
from django.utils.functional import empty
links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
print("threads", len(os.listdir("/proc/self/task")))
print("sockets", [os.readlink(link) for link in links if os.path.exists(link) and "socket" in os.readlink(link)])
print("database", connection.connection)
print("static files", staticfiles_storage._wrapped is not empty)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_is_imported_beforehand_holds_nothing_that_a_fork_would_share(tmp_path: Path) -> None:
    env = {**os.environ, "PLUGSEND_VAR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=REPO, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["threads 1", "sockets []", "database None", "static files False"], done.stderr
