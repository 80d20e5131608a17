"""What all of xdist's workers copy is made by the first that wants it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def made_once(what: str) -> Iterator[Path | None]:
    """The first of the workers gets a place that is not there yet, in which to make what all of them copy; the others wait for
    it, and get None."""
    place = Path(os.environ["PLUGSEND_TEST_SHARED"]) / what
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield None if place.exists() else place
