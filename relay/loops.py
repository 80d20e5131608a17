"""Event loops for threads of ours."""

import asyncio
import contextlib


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed; asyncio's own does the same, slower."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
