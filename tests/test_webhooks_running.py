"""Webhooks of a platform that runs: through Resend's SDK, to the receivers of docs/webhooks.md, and from a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import resend

from tests.foreign_clients import NODE_MODULES, need, need_npm
from tests.free_port import free_port
from tests.platform import REPO, Platform, wait_for
from tests.webhook_receiver import Receiver, receiver

pytestmark = pytest.mark.xdist_group("platform")

PAGE = (REPO / "docs" / "webhooks.md").read_text()
[IN_PYTHON], [IN_NODE] = (re.findall(rf"^```{name}\n(.*?)^```$", PAGE, re.M | re.S) for name in ("python", "js"))


@pytest.fixture
def sdk(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "api_url", platform.demo["API_URL"])
    monkeypatch.setattr(resend, "api_key", platform.demo["API_KEY"])


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def send(subject: str) -> str:
    letter = {"from": "admin@demo.test", "to": "ada@example.test", "subject": subject, "text": "Hi"}
    return str(resend.Emails.send(letter)["id"])  # type: ignore[arg-type]


def await_requests(hooks: Receiver, email: str, number: int) -> None:
    """Until so many tell of this email: the platform is shared, and mail of earlier tests may still be under way."""
    wait_for(lambda: sum(email.encode() in one.body for one in list(hooks.received)) >= number, f"{number} requests")


@pytest.mark.usefixtures("sdk")
def test_resends_sdk_manages_webhooks_and_verifies_what_they_bring(hooks: Receiver) -> None:
    asked = {"endpoint": hooks.url("/ok"), "events": ["email.sent", "email.delivered"]}
    made = resend.Webhooks.create(asked)  # type: ignore[arg-type]
    key, secret = made["id"], made["signing_secret"]
    email = send("One")
    await_requests(hooks, email, 2)
    one = hooks.received[0]
    headers = {name: one.headers[f"svix-{name}"] for name in ("id", "timestamp", "signature")}
    verified = {"payload": one.body.decode(), "headers": headers, "webhook_secret": secret}
    resend.Webhooks.verify(verified)  # type: ignore[arg-type]

    def listed() -> list[Any]:
        found: list[Any] = [
            resend.Webhooks.get_event(key, one["id"]) for one in resend.Webhooks.list_events(key)["data"]
        ]
        return [one for one in found if one["payload"]["data"]["email_id"] == email]

    wait_for(lambda: [one["status"] for one in listed()] == ["success"] * 2, "two deliveries that succeeded")
    event = listed()[0]
    assert event["payload"]["type"] == "email.delivered"
    assert resend.Webhooks.list_event_attempts(key, event["id"])["data"][0]["http_status_code"] == 200
    resend.Webhooks.replay_event(key, event["id"])
    await_requests(hooks, email, 3)
    assert resend.Webhooks.rotate_signing_secret(key)["signing_secret"] != secret
    resend.Webhooks.update({"webhook_id": key, "status": "disabled"})
    assert resend.Webhooks.get(key)["status"] == "disabled"
    assert resend.Webhooks.remove(key)["deleted"]
    assert key not in {hook["id"] for hook in resend.Webhooks.list()["data"]}


@pytest.mark.usefixtures("sdk")
@pytest.mark.parametrize("language", ["python", "node"])
def test_the_receivers_of_the_docs(platform: Platform, language: str) -> None:
    command = [sys.executable, "-c", IN_PYTHON]
    if language == "node":
        need_npm("standardwebhooks")
        command = [need_node(), "-e", IN_NODE]
    port = free_port()
    made = resend.Webhooks.create({"endpoint": f"http://127.0.0.1:{port}/", "events": ["email.delivered"]})
    environment = {
        "PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES), "PORT": str(port), "WEBHOOK_SECRET": made["signing_secret"],
    }  # fmt: skip
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        try:
            wait_for_port(port)
            assert requests.post(f"http://127.0.0.1:{port}/", json={}, timeout=5).status_code == 400
            send("Two")
            assert running.stdout is not None
            # Another test's mail may be delivered while this one listens.
            line = next(line for line in running.stdout if "ada@example.test" in line)
        finally:
            running.kill()
            resend.Webhooks.remove(made["id"])
    assert line.startswith("email.delivered")


def need_node() -> str:
    node = shutil.which("node")
    need(node, "node")
    return str(node)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            requests.get(f"http://127.0.0.1:{port}/", timeout=5)
        except requests.ConnectionError as error:
            if "refused" not in str(error):
                return
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.usefixtures("sdk")
def test_events_are_listened_to_and_forwarded(platform: Platform, hooks: Receiver) -> None:
    key = send("Three")
    since = "2026-01-01T00:00:00Z"
    ran = subprocess.run(
        [
            sys.executable, "manage.py", "listen_events", "--api-url", platform.demo["API_URL"], "--since", since,
            "--count", "1", "--type", "delivered", "--forward-to", hooks.url("/ok"),
        ],
        cwd=REPO, env=os.environ | {"API_KEY": platform.demo["API_KEY"]}, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    event = json.loads(ran.stdout)
    [one] = hooks.received
    forwarded = json.loads(one.body)
    assert key
    assert (event["type"], forwarded["type"]) == ("delivered", "email.delivered")
    assert forwarded["data"]["email_id"] == event["email_id"]
    secret = re.search(r"whsec_\S+", ran.stderr)
    assert secret is not None
    headers = {name: one.headers[f"svix-{name}"] for name in ("id", "timestamp", "signature")}
    verified = {"payload": one.body.decode(), "headers": headers, "webhook_secret": secret[0]}
    resend.Webhooks.verify(verified)  # type: ignore[arg-type]
