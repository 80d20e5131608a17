"""The broker is full, hangs or is gone: both doors, the pages and delivery go on, and no process dies of it."""

import os
import re
import signal
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
import redis
import requests

from tests.platform import Platform, running_platform

pytestmark = [pytest.mark.xdist_group("broker faults"), pytest.mark.usefixtures("timelines_agree")]

PROMPT_S = 10.0  # for an answer of a door or a page, whatever the broker does
DELIVERED_WITHIN_S = 30.0  # without wake-ups the engine's own look at the queue must do
T = TypeVar("T")
OURS = ("smtp", "web", "worker", "beat")
LETTER = {"from": "Ada <ada@demo.test>", "subject": "Hi", "text": "Hello"}


@pytest.fixture(scope="module")
def brokered() -> Iterator[Platform]:
    with running_platform() as running:
        yield running


@contextmanager
def full(platform: Platform) -> Iterator[None]:
    """Every write is refused: OOM command not allowed when used memory > 'maxmemory'."""
    with redis.Redis.from_url(platform.redis_url) as broker:
        broker.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            broker.set("anything", "at all")
        try:
            yield
        finally:
            broker.config_set("maxmemory", 0)


@contextmanager
def hanging(platform: Platform) -> Iterator[None]:
    """Connections are accepted by the kernel, and nobody answers."""
    pid = platform.children["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def gone(platform: Platform) -> Iterator[None]:
    """Nothing listens any more where it was, and what was connected gets no answer."""
    socket = Path(platform.redis_url.partition("@")[2].partition("?")[0])
    aside = socket.with_suffix(".aside")
    with hanging(platform):
        socket.rename(aside)
        try:
            yield
        finally:
            aside.rename(socket)


Fault = Callable[[Platform], AbstractContextManager[None]]


@pytest.mark.parametrize("fault", [full, hanging, gone])
def test_mail_and_pages_go_on_while_the_broker_is(brokered: Platform, fault: Fault) -> None:
    before = {name: brokered.children[name] for name in OURS}
    name = fault.__name__
    with fault(brokered):
        sent = [promptly(partial(brokered.send, f"smtp@{name}{number}.test")) for number in range(3)]
        sent.append(promptly(lambda: send_by_rest(brokered, f"rest@{name}-rest.test")))
        with brokered.smtp() as kept:  # a door that counts guesses in Valkey still refuses them
            assert kept.noop()[0] == 250
            with pytest.raises(smtplib.SMTPAuthenticationError):
                promptly(lambda: brokered.smtp(password="ps_live_wrong"))
        promptly(lambda: sign_in(brokered))
        for message_id in sent:
            assert brokered.wait_event(message_id, "delivered", DELIVERED_WITHIN_S) == ["submitted", "delivered"]
        assert {name: brokered.children[name] for name in OURS} == before
    # Afterwards the wake-ups work again: delivery does not wait for the engine's look at the queue.
    message_id = brokered.send(f"after@{name}-after.test")
    brokered.wait_event(message_id, "delivered")
    assert {name: brokered.children[name] for name in OURS} == before


def promptly(act: Callable[[], T]) -> T:
    started = time.monotonic()
    done = act()
    assert time.monotonic() - started < PROMPT_S
    return done


def send_by_rest(platform: Platform, recipient: str) -> UUID:
    headers = {"Authorization": f"Bearer {platform.demo['API_KEY']}"}
    url = platform.demo["API_URL"] + "/emails"
    answer = requests.post(url, json={**LETTER, "to": [recipient]}, headers=headers, timeout=20)
    assert answer.status_code in {200, 202}, answer.text
    return UUID(answer.json()["id"])


def sign_in(platform: Platform) -> None:
    """Signing in is counted against guessing, in the cache."""
    with requests.Session() as browser:
        page = browser.get(f"{platform.web_url}/accounts/login/", timeout=20)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, page.text
        form = {
            "csrfmiddlewaretoken": token[1],
            "login": platform.demo["LOGIN_EMAIL"],
            "password": platform.demo["LOGIN_PASSWORD"],
        }
        answer = browser.post(page.url, data=form, headers={"Referer": page.url}, timeout=20)
        assert answer.status_code == 200, answer.text
        assert answer.url.endswith("/overview/")
