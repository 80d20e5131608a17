"""Gives memory back to the machine: glibc keeps what was freed between blocks in use, for a process that may never need it."""

import ctypes
import sys

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # glibc's; musl has none


def give_back() -> None:
    """Takes some milliseconds after a burst, next to nothing otherwise: for moments in which nobody waits."""
    if _trim is not None:
        _trim(0)
