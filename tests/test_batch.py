"""`POST /api/v1/emails/batch`, and what an idempotency key does there and at `POST /api/v1/emails`, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.api_keys import create_api_key
from domains.models import DomainStatus, SendingDomain
from events.models import Event
from relay.database import database_url
from relay.models import Content, IdempotencyKey, Message, Recipient
from relay.rest import sending as sending_module
from relay.submission import intake as intake_module
from relay.submission.desk import shared_desk
from tests.factories import make_domain, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

LETTER: dict[str, Any] = {"from": "Ada <ada@acme.test>", "to": ["bob@b.test"], "subject": "Hi", "text": "Hello"}
UNKNOWN_DOMAIN = LETTER | {"from": "eve@evil.test"}


@pytest.fixture
def domain() -> SendingDomain:
    return make_domain(make_tenant().organization)


@pytest.fixture
def key(domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An API key; the desk is this test's own, as its connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield create_api_key(domain.organization, "App").secret
    shared_desk().close()


def post(
    key: str, path: str, body: Any, idempotency_key: str | None = None, validation: str | None = None
) -> HttpResponse:
    headers = {"Authorization": f"Bearer {key}"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    if validation is not None:
        headers["x-batch-validation"] = validation
    text = body if isinstance(body, str) else json.dumps(body)
    return Client().post(f"/api/v1{path}", text, content_type="application/json", headers=headers)


def send_batch(key: str, body: Any, *args: Any, **kwargs: Any) -> HttpResponse:
    return post(key, "/emails/batch", body, *args, **kwargs)


def told(answer: HttpResponse) -> Any:
    return json.loads(answer.content)


def assert_refused(answer: HttpResponse, status: int, code: str, pointers: list[str] | None = None) -> dict[str, Any]:
    problem: dict[str, Any] = told(answer)
    assert (answer.status_code, problem["code"]) == (status, code), problem
    if pointers is not None:
        assert [error["pointer"] for error in problem["errors"]] == pointers
    return problem


def assert_stored(*subjects: str) -> None:
    assert sorted(Message.objects.values_list("subject", flat=True)) == sorted(subjects)
    ids = set(Message.objects.values_list("id", flat=True))
    assert set(Content.objects.values_list("id", flat=True)) == ids
    assert set(Recipient.objects.values_list("message_id", flat=True)) == ids
    assert set(Event.objects.values_list("message_id", flat=True)) == ids


def letters(*subjects: str) -> list[dict[str, Any]]:
    return [LETTER | {"subject": subject} for subject in subjects]


# ---- The batch -------------------------------------------------------------------------------------------------------


def test_a_hundred_emails_are_stored_in_one_transaction_and_answered_in_order(key: str) -> None:
    answer = send_batch(key, letters(*(f"n{n}" for n in range(100))))
    assert answer.status_code == 200
    ids = [one["id"] for one in told(answer)["data"]]
    assert told(answer) == {"data": [{"id": i} for i in ids]}
    stored = {str(i): subject for i, subject in Message.objects.values_list("id", "subject")}
    assert [stored[i] for i in ids] == [f"n{n}" for n in range(100)]
    assert_stored(*(f"n{n}" for n in range(100)))
    with psycopg.connect(database_url()) as connection:
        assert connection.execute("SELECT count(DISTINCT xmin::text) FROM relay_message").fetchone() == (1,)


@pytest.mark.parametrize(
    ("emails", "status", "code", "pointers"),
    [
        ([LETTER, LETTER | {"to": [3]}], 422, "validation_failed", ["/1/to/0"]),
        ([LETTER | {"a": 1}, LETTER, 7, LETTER | {"text": None}], 422, "validation_failed", ["/0/a", "/2", "/3/text"]),
        ([LETTER, UNKNOWN_DOMAIN, LETTER | {"to": "nobody"}], 403, "sender_domain_unknown", ["/1", "/2/to/0"]),
        ([LETTER | {"headers": {"Bcc": "eve@e.test"}}], 422, "malformed_header", ["/0/headers/Bcc"]),
    ],
)  # fmt: skip
def test_strict_refuses_all_and_names_each_bad_one(
    key: str, emails: list[Any], status: int, code: str, pointers: list[str]
) -> None:
    problem = assert_refused(send_batch(key, emails), status, code, pointers)
    assert problem["detail"].startswith(f"Email {pointers[0].split('/')[1]} of the batch: ")
    assert all(error["code"] and error["detail"] for error in problem["errors"])
    assert_refused(send_batch(key, emails, validation="strict"), status, code, pointers)
    assert_stored()


def test_permissive_takes_the_good_ones_and_tells_of_the_bad_ones(key: str) -> None:
    emails = [*letters("first"), UNKNOWN_DOMAIN, *letters("third"), LETTER | {"form": "typo"}, None]
    answer = send_batch(key, emails, validation="permissive")
    assert answer.status_code == 200
    assert len(told(answer)["data"]) == 2
    assert [(error["index"], error["code"]) for error in told(answer)["errors"]] == [
        (1, "sender_domain_unknown"),
        (3, "validation_failed"),
        (4, "validation_failed"),
    ]
    assert told(answer)["errors"][1]["message"] == "/form: There is no such field."
    assert_stored("first", "third")


def test_permissive_with_nothing_bad_or_nothing_good(key: str) -> None:
    assert told(send_batch(key, [LETTER], validation="permissive"))["errors"] == []
    answer = send_batch(key, [UNKNOWN_DOMAIN], validation="permissive")
    assert (answer.status_code, told(answer)["data"], len(told(answer)["errors"])) == (200, [], 1)
    assert_stored("Hi")


@pytest.mark.parametrize("validation", ["strict", "permissive"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "validation_failed"),
        ({"emails": [LETTER]}, "validation_failed"),
        ("null", "validation_failed"),
        ([LETTER] * 101, "batch_too_large"),
        ([LETTER | {"to": [f"r{n}@b.test" for n in range(900)]}] * 6, "batch_too_large"),
    ],
    ids=["empty", "an object", "null", "101 emails", "too many recipients"],
)
def test_what_is_no_batch_is_refused_whole(key: str, body: Any, code: str, validation: str) -> None:
    assert_refused(send_batch(key, body, validation=validation), 422, code)
    assert_stored()


def test_the_messages_of_a_batch_are_not_too_large_together(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending_module, "MOST_OCTETS", 10_000)
    assert_refused(
        send_batch(key, [LETTER | {"text": "x" * 6000}] * 2, validation="permissive"), 422, "batch_too_large"
    )
    assert send_batch(key, [LETTER | {"text": "x" * 6000}]).status_code == 200


def test_an_unknown_way_of_validation_is_refused(key: str) -> None:
    problem = assert_refused(send_batch(key, [LETTER], validation="lenient"), 422, "invalid_request_header")
    assert "x-batch-validation" in problem["detail"]


def test_trouble_of_ours_is_no_bad_email(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away in the middle: the whole is refused for now, in permissive mode too."""

    async def gone(*_: Any) -> None:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr("relay.submission.directory.Directory.sending_domain", gone)
    answer = send_batch(key, [LETTER, UNKNOWN_DOMAIN], validation="permissive")
    assert_refused(answer, 503, "temporarily_unavailable")
    assert answer["Retry-After"] == "5"


# ---- Keys ------------------------------------------------------------------------------------------------------------


def send_either(key: str, path: str, body: dict[str, Any], *args: Any) -> HttpResponse:
    return post(key, path, [body] if path.endswith("batch") else body, *args)


BOTH = pytest.mark.parametrize("path", ["/emails", "/emails/batch"])


@BOTH
def test_the_same_key_and_body_get_the_first_answer_again(key: str, path: str) -> None:
    first, again = (send_either(key, path, LETTER, "order-42") for _ in range(2))
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert (again.status_code, told(again)) == (first.status_code, told(first))
    assert_refused(send_either(key, path, LETTER | {"text": "Other"}, "order-42"), 409, "invalid_idempotent_request")
    assert_stored("Hi")


def test_a_permissive_batch_gets_its_errors_again(key: str, domain: SendingDomain) -> None:
    body = [LETTER, UNKNOWN_DOMAIN, *letters("third")]
    first = send_batch(key, body, "order-42", "permissive")
    make_domain(domain.organization, "evil.test")  # what was bad would be good by now
    again = send_batch(key, body, "order-42", "permissive")
    assert told(again) == told(first)
    assert [error["index"] for error in told(again)["errors"]] == [1]
    assert again["Idempotent-Replayed"] == "true"
    assert_stored("Hi", "third")


def test_a_key_of_a_batch_is_not_that_of_an_email(key: str) -> None:
    assert post(key, "/emails", LETTER, "order-42").status_code == 202
    answer = send_batch(key, [LETTER], "order-42")
    assert (answer.status_code, "Idempotent-Replayed" in answer) == (200, False)
    assert_stored("Hi", "Hi")


@BOTH
def test_a_refused_submission_leaves_its_key_free(key: str, path: str) -> None:
    for bad in (UNKNOWN_DOMAIN, LETTER | {"to": [3]}, LETTER | {"to": "nobody"}):
        assert send_either(key, path, bad, "order-42").status_code >= 400
    assert told(send_batch(key, [UNKNOWN_DOMAIN], "order-42", "permissive"))["data"] == []
    assert not IdempotencyKey.objects.exists()
    assert send_either(key, path, LETTER, "order-42").status_code < 300
    assert_stored("Hi")


@BOTH
def test_a_repeat_is_answered_though_it_would_be_refused_by_now(
    key: str, path: str, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.submission.directory.KEPT_SECONDS", 0)
    first = send_either(key, path, LETTER, "order-42")
    SendingDomain.objects.update(status=DomainStatus.PENDING, verified_at=None)
    again = send_either(key, path, LETTER, "order-42")
    assert (again.status_code, told(again)) == (first.status_code, told(first))
    assert_refused(send_either(key, path, LETTER, "order-43"), 403, "sender_domain_not_verified")
    assert_refused(send_either(key, path, LETTER | {"text": "x"}, "order-42"), 409, "invalid_idempotent_request")
    assert_stored("Hi")


SAME = json.dumps(LETTER)


@pytest.mark.parametrize(
    ("body", "is_same"),
    [
        (json.dumps(dict(reversed(LETTER.items())), indent=3), True),
        (SAME.replace("Hello", "H\\u0065llo"), True),
        (SAME.replace("Hello", "hello"), False),
        (SAME.replace('["bob@b.test"]', '"bob@b.test"'), False),
        (SAME.replace('"text"', '"cc": [], "text"'), False),
        (SAME.replace('"text"', '"html": null, "text"'), False),
    ],
    ids=["order and spaces", "escapes", "another value", "one for a list of one", "an empty list", "null"],
)
@BOTH
def test_what_is_the_same_body(key: str, path: str, body: str, is_same: bool) -> None:
    first, second = (post(key, path, f"[{b}]" if "batch" in path else b, "order-42") for b in (SAME, body))
    assert second.status_code == (first.status_code if is_same else 409)


@BOTH
@pytest.mark.parametrize("bad", ["", "two words", "x" * 257, "grüße"])
def test_a_bad_key_is_refused(key: str, path: str, bad: str) -> None:
    assert assert_refused(send_either(key, path, LETTER, bad), 400, "invalid_idempotency_key")["name"] == (
        "invalid_idempotency_key"
    )
    assert send_either(key, path, LETTER, "x" * 256).status_code < 300


@BOTH
def test_a_key_that_is_held_open_is_told_with_a_time_to_come_again(
    key: str, path: str, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that hangs has the key. Others are served, and once it is gone the key is free."""
    monkeypatch.setattr(intake_module, "KEY_PAUSES_S", (0.01, 0.01))
    scope = "batch" if path.endswith("batch") else "key"
    with psycopg.connect(database_url()) as hanging:
        hanging.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{domain.organization_id} {scope} order-42"]
        )
        answer = send_either(key, path, LETTER, "order-42")
        problem = assert_refused(answer, 409, "concurrent_idempotent_requests")
        assert (problem["name"], answer["Retry-After"]) == ("concurrent_idempotent_requests", "1")
        assert send_either(key, path, LETTER, "order-43").status_code < 300
    assert send_either(key, path, LETTER, "order-42").status_code < 300
    assert_stored("Hi", "Hi")


@BOTH
def test_different_bodies_at_the_same_moment_one_wins(key: str, path: str) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda n: send_either(key, path, LETTER | {"text": f"Body {n % 4}"}, "order-42"), range(12))
        )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [202 if path == "/emails" else 200] * 3 + [409] * 9
    assert {told(answer)["code"] for answer in answers if answer.status_code == 409} == {"invalid_idempotent_request"}
    assert len({answer.content for answer in answers if answer.status_code != 409}) == 1
    assert_stored("Hi")
