"""The threads in which looks at DNS are made (`domains.looking`)."""

import threading


def wait_for_lookers() -> None:
    """Until those that are at work have ended."""
    for thread in threading.enumerate():
        if thread.name == "looker":
            thread.join(20)
            assert not thread.is_alive()
