"""The status page of a running platform, whose SMTP door is taken away."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.platform import Platform, running_platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")


@pytest.fixture
def watched() -> Iterator[Platform]:
    with running_platform(STATUS_CHECK_SECONDS="1") as platform:
        yield platform


def status_of(platform: Platform, code: str) -> Callable[[], str]:
    def ask() -> str:
        with urllib.request.urlopen(f"{platform.web_url}/status.json", timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
        return next(one["status"] for one in told["components"] if one["code"] == code)

    return ask


def test_a_door_that_is_gone_is_told_within_a_minute_and_so_is_its_return(watched: Platform) -> None:
    smtp, broker, delivery = (status_of(watched, code) for code in ("smtp", "broker", "delivery"))
    wait_for(lambda: smtp() == delivery() == "works", "the doors are looked at", 30)

    def is_down() -> bool:
        with suppress(KeyError, ProcessLookupError):  # killed already, and not yet started again
            watched.kill("smtp")
        return smtp() == "down"

    wait_for(is_down, "the page tells that SMTP is away", 60)
    wait_for(lambda: smtp() == "works", "the page tells that SMTP is back", 60)

    valkey = watched.children["valkey"]
    os.kill(valkey, signal.SIGSTOP)
    try:
        wait_for(lambda: broker() == "down", "the page tells that the broker hangs", 60)
        assert smtp() == "works"
    finally:
        os.kill(valkey, signal.SIGCONT)
    wait_for(lambda: broker() == "works", "the page tells that the broker is back", 60)
