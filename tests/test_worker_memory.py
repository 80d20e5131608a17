"""A worker that grew too large is replaced, and nobody's mail suffers from it."""

import pytest

from plugsend.worker_memory import resident_mib
from tests.platform import running_platform, wait_for

pytestmark = pytest.mark.skipif(resident_mib() is None, reason="needs /proc")


def test_a_worker_over_its_limit_ends_in_good_order_and_mail_is_delivered() -> None:
    with running_platform(WORKER_MEMORY_MIB="1") as small:
        first = small.children["worker"]
        wait_for(lambda: "more than WORKER_MEMORY_MIB=1: it ends" in small.log, "the worker says why it ends")
        # slow@ answers after 5 s: this one is in hand when the next worker reaches its limit.
        message_id = small.send("slow@grown.test")
        small.wait_restarted("worker", first)
        assert "worker stopped with exit code 0" in small.log
        assert small.wait_event(message_id, "delivered", 60)[-1] == "delivered"
