"""A repeated submission sends nothing twice, through both doors, over real connections."""

import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
import requests

from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")


def message(recipient: str, *options: str, body: str = "Hello", message_id: str = "") -> str:
    lines = [*options, "From: admin@demo.test", f"To: {recipient}", "Subject: Once"]
    if message_id:
        lines.append(f"Message-ID: <{message_id}>")
    return "\r\n".join([*lines, "", body, ""])


def submit(client: smtplib.SMTP, recipient: str, text: str) -> tuple[int, str]:
    client.mail("admin@demo.test")
    client.rcpt(recipient)
    code, reply = client.data(text)
    return code, reply.decode()


def id_in(reply: tuple[int, str]) -> UUID:
    assert reply[0] == 250, reply
    return UUID(reply[1].rsplit(" ", 1)[-1])


def test_the_same_key_over_smtp_gives_the_first_id_again(platform: Platform) -> None:
    recipient, key = f"{uuid4().hex}@once.test", f"X-PlugSend-Idempotency-Key: {uuid4()}"
    with platform.smtp() as client:
        first = id_in(submit(client, recipient, message(recipient, key)))
        again = id_in(submit(client, recipient, message(recipient, key, message_id="built-anew@x")))
        other = submit(client, recipient, message(recipient, key, body="Something else"))
    assert again == first
    assert other[0] == 554
    assert other[1].startswith("5.5.4 invalid_idempotent_request: ")
    platform.wait_event(first, "delivered")
    assert len(platform.inbox(recipient)) == 1
    assert b"X-PlugSend" not in platform.inbox(recipient)[0][0]


def test_many_at_the_same_moment_are_one_message(platform: Platform) -> None:
    recipient, key = f"{uuid4().hex}@once.test", f"X-PlugSend-Idempotency-Key: {uuid4()}"
    ids: list[UUID] = []
    start = threading.Barrier(8)

    def one() -> None:
        with platform.smtp() as client:
            start.wait(20)
            ids.append(id_in(submit(client, recipient, message(recipient, key))))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ids) == 8
    assert len(set(ids)) == 1
    platform.wait_event(ids[0], "delivered")
    assert len(platform.inbox(recipient)) == 1


def test_tags_and_metadata_over_smtp_are_seen_by_rest(platform: Platform) -> None:
    recipient = f"{uuid4().hex}@once.test"
    options = ("X-PlugSend-Tag: kind:welcome", "X-PlugSend-Tag: trial", 'X-PlugSend-Metadata: {"order": "42"}')
    with platform.smtp() as client:
        sent = id_in(submit(client, recipient, message(recipient, *options)))
        refused = submit(client, recipient, message(recipient, "X-PlugSend-Tags: typo"))
    assert refused[1].startswith("5.6.0 malformed_option_header: X-PlugSend-Tags: there is no such option")
    email = requests.get(
        f"{platform.demo['API_URL']}/emails/{sent}",
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}"},
        timeout=20,
    ).json()
    assert email["tags"] == [{"name": "kind", "value": "welcome"}, {"name": "trial", "value": ""}]
    assert email["metadata"] == {"order": "42"}


def test_the_same_key_over_rest_gives_the_first_answer_again(platform: Platform) -> None:
    recipient, key = f"{uuid4().hex}@once.test", str(uuid4())

    def post(text: str) -> requests.Response:
        return requests.post(
            f"{platform.demo['API_URL']}/emails",
            headers={"Authorization": f"Bearer {platform.demo['API_KEY']}", "Idempotency-Key": key},
            json={"from": "a@demo.test", "to": recipient, "subject": "Once", "text": text},
            timeout=20,
        )

    first, again, other = post("Hello"), post("Hello"), post("Something else")
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert again.json() == first.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.json()["name"] == other.json()["code"] == "invalid_idempotent_request"
    platform.wait_event(UUID(first.json()["id"]), "delivered")
    assert len(platform.inbox(recipient)) == 1


@contextmanager
def safe_resend(platform: Platform) -> Iterator[None]:
    with platform.database() as connection:
        connection.execute("UPDATE accounts_organization SET safe_resend = true WHERE NOT is_system")
        try:
            yield
        finally:
            connection.execute("UPDATE accounts_organization SET safe_resend = false")


def test_safe_resend_needs_no_change_to_the_app(platform: Platform) -> None:
    recipient, identifier = f"{uuid4().hex}@once.test", f"{uuid4()}@app"
    text = message(recipient, message_id=identifier)

    def send() -> UUID:
        with platform.smtp() as client:
            return id_in(submit(client, recipient, text))

    assert send() != send()  # the organization has not asked for it
    with safe_resend(platform):
        wait_for(lambda: send() == send(), "the wish is known to the door", 6)
        assert send() == send()
    delivered = len({*platform.inbox(recipient)})
    wait_for(lambda: not _is_safe(platform, recipient, identifier), "and forgotten again", 6)
    assert delivered >= 1


def _is_safe(platform: Platform, recipient: str, identifier: str) -> bool:
    with platform.smtp() as client:
        first = id_in(submit(client, recipient, message(recipient, message_id=identifier)))
        return first == id_in(submit(client, recipient, message(recipient, message_id=identifier)))
