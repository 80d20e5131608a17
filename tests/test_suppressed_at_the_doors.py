"""Recipients whom the organization is not to mail: at both doors, alone and in batches, in the very commit of their message."""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.credentials import Credential
from domains.models import SendingDomain
from domains.smtp_users import change_smtp_user, create_smtp_user
from events.models import Event
from relay.certificates import self_signed
from relay.database import database_url
from relay.models import IdempotencyKey, Message, Recipient, Suppression
from relay.rest.door import LIST_PATH, PART_OCTETS, Door
from relay.submission.accept import Submission
from relay.submission.desk import Desk, shared_desk
from relay.submission.smtp_tls import Certificate
from relay.suppressing.importing import read_piece, request_import
from relay.suppressing.suppressions import suppress, unsuppress
from tests.factories import make_domain, make_tenant
from tests.in_process import running_door

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]

LETTER: dict[str, Any] = {"from": "Ada <ada@acme.test>", "to": ["bob@b.test"], "subject": "Hi", "text": "Hello"}


@pytest.fixture
def domain() -> SendingDomain:
    return make_domain(make_tenant().organization)


@pytest.fixture
def key(domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield create_api_key(domain.organization, "App").secret
    shared_desk().close()


def post(key: str, path: str, body: Any, idempotency_key: str = "") -> HttpResponse:
    headers = {"Authorization": f"Bearer {key}"} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
    return Client().post(f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers)


def states() -> dict[str, str]:
    return dict(Recipient.objects.values_list("address", "state"))


def test_they_are_born_suppressed_and_the_answer_names_them(domain: SendingDomain, key: str) -> None:
    reported, _ = suppress(domain.organization, "Gone@b.test", reason="no_such_address")
    suppress(domain.organization, "tired@b.test", stream="news")
    suppress(make_tenant("Rival").organization, "fine@b.test")
    mixed = LETTER | {"to": ["GONE@b.test", "fine@b.test", "tired@b.test"]}

    answer = post(key, "/emails", mixed)

    assert (answer.status_code, answer.json()["suppressed"]) == (202, ["GONE@b.test"])
    assert states() == {"GONE@b.test": "suppressed", "fine@b.test": "submitted", "tired@b.test": "submitted"}
    gone = Recipient.objects.get(address="GONE@b.test")
    assert (gone.next_attempt_at, gone.reason, gone.attempts) == (None, "suppressed", 0)
    submitted, suppressed = Event.objects.filter(recipient_id=gone.pk).order_by("id")
    assert (submitted.type, suppressed.type, suppressed.attempt) == ("submitted", "suppressed", 0)
    told = suppressed.detail["suppression"]
    assert (told["id"], told["reason"], told["stream"]) == (str(reported.pk), "no_such_address", "")
    assert Event.objects.count() == 4

    of_stream = post(key, "/emails", mixed | {"stream": "news"})
    assert sorted(of_stream.json()["suppressed"]) == ["GONE@b.test", "tired@b.test"]
    alone = post(key, "/emails", LETTER | {"to": "gone@b.test"})
    assert (alone.status_code, alone.json()["suppressed"]) == (202, ["gone@b.test"])
    assert "suppressed" not in post(key, "/emails", LETTER).json()
    refused = post(key, "/emails", LETTER | {"stream": "News!"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/stream")


def test_a_repeat_is_told_what_the_first_was_told(domain: SendingDomain, key: str) -> None:
    suppression, _ = suppress(domain.organization, "gone@b.test")
    bodies = {
        "/emails": LETTER | {"to": ["gone@b.test", "bob@b.test"]},
        "/emails/batch": [LETTER, LETTER | {"to": ["gone@b.test"]}],
    }
    first = {path: post(key, path, body, "once").json() for path, body in bodies.items()}
    unsuppress(domain.organization, suppression.pk)
    again = {path: post(key, path, body, "once") for path, body in bodies.items()}

    assert first["/emails"]["suppressed"] == ["gone@b.test"]
    assert [item.get("suppressed") for item in first["/emails/batch"]["data"]] == [None, ["gone@b.test"]]
    assert {path: answer.json() for path, answer in again.items()} == first
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in again.values())
    assert (Message.objects.count(), IdempotencyKey.objects.count()) == (3, 2)


def test_what_is_scheduled_knows_it_at_once(domain: SendingDomain, key: str) -> None:
    suppress(domain.organization, "gone@b.test")
    later = (timezone.now() + timedelta(hours=2)).isoformat()
    post(key, "/emails", LETTER | {"to": ["gone@b.test", "bob@b.test"], "scheduled_at": later})
    assert states() == {"gone@b.test": "suppressed", "bob@b.test": "scheduled"}


def test_smtp_says_how_many_and_users_have_a_stream(domain: SendingDomain, tmp_path: Path) -> None:
    new = create_smtp_user(domain, "news")
    change_smtp_user(new.smtp_user, {"stream": "news"})
    suppress(domain.organization, "gone@b.test")
    suppress(domain.organization, "tired@b.test", stream="news")

    def said(client: smtplib.SMTP, recipients: list[str], option: str = "") -> str:
        client.mail("news@acme.test")
        for recipient in recipients:
            client.rcpt(recipient)
        _, reply = client.data(f"From: news@acme.test\r\nSubject: Hi\r\n{option}\r\nHello\r\n")
        return reply.decode().partition("queued as ")[2][36:]

    certificate = Certificate(*map(str, self_signed(tmp_path, "mail.here.test")))
    with running_door(certificate) as door, smtplib.SMTP("127.0.0.1", door.port, timeout=20) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login("news@acme.test", new.secret)
        three = ["gone@b.test", "tired@b.test", "fine@b.test"]
        assert said(client, ["fine@b.test"]) == ""
        assert said(client, three) == "; not sent to 2 of 3 recipients, on your suppression list"
        assert said(client, three, "X-PlugSend-Stream: none\r\n").startswith("; not sent to 1 of 3")
        assert said(client, three, "X-PlugSend-Stream: codes\r\n").startswith("; not sent to 1 of 3")
        keyed = "X-PlugSend-Idempotency-Key: one\r\n"
        only = "; its recipient is on your suppression list, nothing is sent"
        assert [said(client, ["tired@b.test"], keyed) for _ in range(2)] == [only, only]
    streams = list(Message.objects.order_by("id").values_list("stream", flat=True))
    assert streams == ["news", "news", "", "codes", "news"]


def test_suppressing_while_messages_come_in_loses_none(domain: SendingDomain) -> None:
    """Each is either born suppressed, and says so, or in the queue, where the claim looks once more."""
    credential = Credential(domain.organization_id, False, None, None, frozenset({"send"}), "")
    addresses = [f"r{number}@b.test" for number in range(60)]

    async def main() -> list[bool]:
        desk = Desk(database_url())
        await desk.open()

        async def send(address: str) -> bool:
            content = b"From: ada@acme.test\r\n\r\nHello\r\n"
            receipt = await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", (address,), content))
            return receipt.suppressed == [address]

        adding = asyncio.to_thread(lambda: [suppress(domain.organization, one) for one in reversed(addresses)])
        told, _ = await asyncio.gather(asyncio.gather(*(send(one) for one in addresses)), adding)
        await desk.close()
        return told

    told = asyncio.run(main())
    found = states()
    assert [found[address] == "suppressed" for address in addresses] == told
    assert set(found.values()) <= {"suppressed", "submitted"}


def test_two_workers_read_each_line_of_an_import_once(domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what dies in the middle of a piece leaves nothing of it."""
    monkeypatch.setattr("relay.suppressing.importing.PIECE_LINES", 5)
    lines = b"".join(b"r%d@b.test\n" % number for number in range(100))
    made = request_import(domain.organization, "list.txt", [lines[:70], lines[70:]])

    with monkeypatch.context() as patch:
        patch.setattr("relay.suppressing.importing.SuppressionImportPiece.delete", _die)
        with pytest.raises(RuntimeError):
            read_piece(made)
    assert not Suppression.objects.exists()

    def work() -> None:
        try:
            while read_piece(made):
                pass
        finally:
            connection.close()

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.refresh_from_db()
    assert (made.state, made.lines, made.added, made.known) == ("done", 100, 100, 0)
    assert Suppression.objects.count() == 100


def _die(*_: Any) -> None:
    raise RuntimeError("the process died")


def test_a_long_list_comes_in_by_parts_and_other_pages_take_no_such_body(tmp_path: Path) -> None:
    door = Door.__new__(Door)
    door._spool = tmp_path

    async def arrives(path: str) -> tuple[int, int]:
        """The octets that Django is given, and the longest part."""
        events = [{"type": "http.request", "body": b"x" * 100_000, "more_body": left > 0} for left in range(49, -1, -1)]
        headers = [(b"host", b"testserver"), (b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": path, "headers": headers}

        async def receive() -> Any:
            return events.pop(0)

        given = await door.body_for_django(scope, receive, _never)
        assert given is not None
        octets = longest = 0
        while True:
            part = await given()
            octets, longest = octets + len(part["body"]), max(longest, len(part["body"]))
            if not part["more_body"]:
                return octets, longest

    assert asyncio.run(arrives(LIST_PATH)) == (5_000_000, PART_OCTETS)
    assert reverse("suppression_import") == LIST_PATH
    with pytest.raises(AttributeError):  # it would be refused, by a shell that this door has not
        asyncio.run(arrives("/suppressions/add/"))


async def _never(_: Any) -> None:
    raise AssertionError
