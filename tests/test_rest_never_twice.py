"""Repeats over real HTTP and in parallel, also when the web process is killed between commit and answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
import requests

from plugsend.engines.postgres import SUPERUSER
from tests.platform import Platform, running_platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

CLIENTS = 20
PATHS = pytest.mark.parametrize("path", ["/emails", "/emails/batch"])


def post(
    platform: Platform, path: str, recipient: str, key: str, text: str = "Hello", count: int = 3
) -> requests.Response:
    """An email, or a batch of `count`."""
    email = {"from": "a@demo.test", "to": recipient, "subject": "Once", "text": text}
    return requests.post(
        platform.demo["API_URL"] + path,
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}", "Idempotency-Key": key},
        json=[email] * count if path.endswith("batch") else email,
        timeout=30,
    )


def in_parallel(work: Callable[[int], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, range(CLIENTS)))


def stored(platform: Platform, recipient: str) -> int:
    with platform.database() as connection:
        row = connection.execute("SELECT count(*) FROM relay_recipient WHERE address = %s", [recipient]).fetchone()
        assert row
        return int(row[0])


@PATHS
def test_twenty_at_the_same_moment_with_one_key_are_one(platform: Platform, path: str) -> None:
    recipient, key = f"{uuid4().hex}@once.test", str(uuid4())
    answers = in_parallel(lambda _: post(platform, path, recipient, key))
    assert {answer.status_code for answer in answers} == {202 if path == "/emails" else 200}
    assert len({answer.text for answer in answers}) == 1
    assert Counter("Idempotent-Replayed" in answer.headers for answer in answers) == {True: CLIENTS - 1, False: 1}
    assert stored(platform, recipient) == (1 if path == "/emails" else 3)


@PATHS
def test_of_different_bodies_with_one_key_one_wins(platform: Platform, path: str) -> None:
    recipient, key = f"{uuid4().hex}@once.test", str(uuid4())
    answers = in_parallel(lambda n: post(platform, path, recipient, key, text=f"Body {n}"))
    refused = [answer for answer in answers if answer.status_code == 409]
    assert len(refused) == CLIENTS - 1
    assert {answer.json()["code"] for answer in refused} == {"invalid_idempotent_request"}
    assert stored(platform, recipient) == (1 if path == "/emails" else 3)


@PATHS
def test_keys_of_their_own_are_messages_of_their_own(platform: Platform, path: str) -> None:
    recipient = f"{uuid4().hex}@once.test"
    answers = in_parallel(lambda _: post(platform, path, recipient, str(uuid4())))
    assert len({answer.text for answer in answers}) == CLIENTS
    assert stored(platform, recipient) == CLIENTS * (1 if path == "/emails" else 3)


def test_one_key_at_both_doors_is_one_message(platform: Platform) -> None:
    """The doors cannot tell each other's bodies to be the same, so the second is refused and not sent."""
    recipient, key = f"{uuid4().hex}@once.test", str(uuid4())
    text = f"X-PlugSend-Idempotency-Key: {key}\r\nFrom: admin@demo.test\r\nSubject: Once\r\n\r\nHello\r\n"
    with platform.smtp() as client:
        client.mail("admin@demo.test")
        client.rcpt(recipient)
        assert client.data(text)[0] == 250
    assert post(platform, "/emails", recipient, key).json()["code"] == "invalid_idempotent_request"
    assert stored(platform, recipient) == 1
    assert post(platform, "/emails/batch", recipient, key).status_code == 200


# ---- The crash between commit and answer -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortal() -> Iterator[Platform]:
    with running_platform() as running:
        yield running


def administer(platform: Platform, *statements: LiteralString) -> list[tuple[Any, ...]]:
    """As PostgreSQL's superuser; returns the last one's rows."""
    with psycopg.connect(platform.database_url, user=SUPERUSER, autocommit=True) as connection:
        return [connection.execute(statement) for statement in statements][-1].fetchall()


@contextmanager
def unanswered_commits(platform: Platform) -> Iterator[None]:
    """PostgreSQL commits and does not say so: it waits for a standby that there is not. Then it lets all be seen."""
    administer(platform, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        administer(platform, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_for(lambda: not administer(platform, waiting), "PostgreSQL has read that, and all is seen")


def is_committed_unanswered(platform: Platform) -> bool:
    """Whether a transaction that holds a key is: a hash of 64 bits, where tasks by the clock lock small numbers."""
    return bool(
        administer(
            platform,
            "SELECT 1 FROM pg_stat_activity JOIN pg_locks USING (pid)"
            " WHERE wait_event = 'SyncRep' AND locktype = 'advisory' AND objsubid = 1 AND classid <> 0",
        )
    )


@PATHS
def test_the_repeat_after_a_crash_between_commit_and_answer_gets_the_first_result(mortal: Platform, path: str) -> None:
    recipient, key = f"{uuid4().hex}@once.test", str(uuid4())

    def repeat() -> list[requests.Response]:
        """An answer, good or bad; empty without one."""
        with suppress(requests.ConnectionError):
            return [post(mortal, path, recipient, key)]
        return []

    # The web process has its share of the organization's counters, so that it need not commit one before.
    assert post(mortal, path, f"before-{recipient}", str(uuid4())).ok
    with ThreadPoolExecutor(1) as pool, unanswered_commits(mortal):
        first = pool.submit(repeat)
        wait_for(lambda: is_committed_unanswered(mortal), "the message is committed")
        killed = mortal.kill("web")
        assert first.result(30) == []
        mortal.wait_restarted("web", killed)
        [meanwhile] = wait_for(repeat, "web is up again")
        assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "concurrent_idempotent_requests")
        assert meanwhile.headers["Retry-After"] == "1"
    assert stored(mortal, recipient) == (1 if path == "/emails" else 3)

    [again] = wait_for(repeat, "an answer")
    assert again.headers["Idempotent-Replayed"] == "true"
    with mortal.database() as connection:
        ids = [
            str(row[0])
            for row in connection.execute(
                "SELECT message_id FROM relay_recipient WHERE address = %s ORDER BY message_id", [recipient]
            )
        ]
    assert again.json() == ({"id": ids[0]} if path == "/emails" else {"data": [{"id": one} for one in ids]})
    assert stored(mortal, recipient) == len(ids)
    assert post(mortal, path, recipient, key, text="Other").status_code == 409
