"""`Idempotency-Key` on requests that create: done once, answered alike, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from accounts.api_keys import create_api_key
from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.models import ApiKey, IdempotentAnswer, Organization
from accounts.rest import idempotency
from accounts.rest.access import managing_organization
from accounts.rest.idempotency import idempotent
from accounts.walls import around_request
from relay.tasks import forget_idempotency_keys

pytestmark = pytest.mark.django_db(transaction=True)

Before = Callable[[], None]


class KeysView(APIView):
    """Makes an API key and tells its secret. `before` runs in the middle of the work."""

    before: Before = staticmethod(lambda: None)

    @idempotent("test.keys")
    def post(self, request: Request, **where: object) -> Response:
        new = create_api_key(managing_organization(request), request.data["name"])
        self.before()
        if request.data["name"] == "refused":
            raise Refused("not_found", thing="thing")
        if request.data["name"] == "answered with an error":
            return Response({"id": new.api_key.pk}, status=422)
        return Response({"id": new.api_key.pk, "token": new.secret, "made": [1, 2.5, None, "ü"]}, status=201)


class OtherKeysView(KeysView):
    @idempotent("test.others")
    def post(self, request: Request, **where: object) -> Response:
        return Response({"id": create_api_key(managing_organization(request), "other").api_key.pk}, status=201)


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(name="Acme")


def post(
    organization: Organization,
    body: Any = None,
    *,
    key: str | None = "order-42",
    view: type[KeysView] = KeysView,
    before: Before | None = None,
    scopes: frozenset[str] = frozenset({"full"}),
    only_domain: str = "",
    **where: UUID | str,
) -> Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    request = APIRequestFactory().post("/", {"name": "web"} if body is None else body, format="json", headers=headers)
    force_authenticate(request, Credential(organization.pk, False, None, None, scopes, only_domain))  # type: ignore[arg-type]
    initial = {"before": staticmethod(before)} if before else {}
    with around_request():
        answer: Response = type("View", (view,), initial).as_view()(request, **where)  # type: ignore[attr-defined]
        return answer.render()  # type: ignore[return-value]


def in_thread(call: Callable[[], Response]) -> Response:
    try:
        return call()
    finally:
        connections.close_all()


def told(answer: Response) -> tuple[int, str]:
    return answer.status_code, str(answer.data.get("code", ""))  # type: ignore[union-attr]


def test_a_repeat_gets_the_first_answer_to_the_letter(acme: Organization) -> None:
    first = post(acme, {"name": "web", "n": 1})
    again = post(acme, {"n": 1, "name": "web"})

    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    assert ApiKey.objects.count() == 1


def test_without_a_key_each_request_is_its_own(acme: Organization) -> None:
    assert post(acme, key=None).content != post(acme, key=None).content
    assert (ApiKey.objects.count(), IdempotentAnswer.objects.count()) == (2, 0)


@pytest.mark.parametrize("key", ["", "two words", "k" * 257, "schlüssel", "a\tb"])
def test_a_malformed_key_is_refused(acme: Organization, key: str) -> None:
    assert told(post(acme, key=key)) == (400, "invalid_idempotency_key")
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("key", ["!", "k" * 256, '{"a":1}~'])
def test_any_visible_characters_make_a_key(acme: Organization, key: str) -> None:
    assert post(acme, key=key).content == post(acme, key=key).content


def test_a_key_used_for_something_else_is_refused(acme: Organization) -> None:
    post(acme, {"name": "web"}, place="a")
    for other in (lambda: post(acme, {"name": "web2"}, place="a"), lambda: post(acme, {"name": "web"}, place="b")):
        answer = other()
        assert told(answer) == (409, "invalid_idempotent_request")
        assert answer.data["name"] == "invalid_idempotent_request"  # type: ignore[index]
    assert ApiKey.objects.count() == 1


def test_keys_belong_to_an_organization_and_an_endpoint(acme: Organization) -> None:
    rival = Organization.objects.create(name="Rival")
    answers = [post(acme), post(rival), post(acme, view=OtherKeysView)]
    assert len({answer.content for answer in answers}) == 3
    assert not any("Idempotent-Replayed" in answer for answer in answers)


@pytest.mark.parametrize(("name", "status"), [("refused", 404), ("answered with an error", 422)])
def test_a_refused_request_does_nothing_and_does_not_take_the_key(acme: Organization, name: str, status: int) -> None:
    assert post(acme, {"name": name}).status_code == status
    assert (ApiKey.objects.count(), IdempotentAnswer.objects.count()) == (0, 0)
    assert post(acme, {"name": "web"}).status_code == 201


def test_a_crash_before_the_commit_leaves_nothing(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: bytes) -> bytes:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "seal", crash)
        with pytest.raises(SystemExit):
            post(acme)
    assert (ApiKey.objects.count(), IdempotentAnswer.objects.count()) == (0, 0)
    assert post(acme).status_code == 201


def test_when_the_answer_to_the_commit_is_lost_the_repeat_gets_the_first_result(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = BaseDatabaseWrapper._commit

    def commit_and_lose(self: Any) -> None:
        commit(self)
        raise OperationalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_commit", commit_and_lose)
        assert post(acme).status_code == 503
    made = ApiKey.objects.get()
    again = post(acme)
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
    assert again.data["id"] == str(made.pk)  # type: ignore[index]
    assert ApiKey.objects.count() == 1


def test_a_key_that_may_less_is_not_told_the_answer(acme: Organization) -> None:
    token = post(acme).data["token"]  # type: ignore[index]
    assert told(post(acme, scopes=frozenset({"send", "read"}))) == (403, "insufficient_scope")
    other = post(acme, only_domain="acme.test")
    assert told(other) == (409, "invalid_idempotent_request")
    assert token not in other.content.decode()


def test_a_stored_answer_cannot_be_read_in_the_database(acme: Organization) -> None:
    token = post(acme).data["token"]  # type: ignore[index]
    with connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM accounts_idempotentanswer")
        assert token.encode() not in bytes(cursor.fetchone()[0])


def test_a_key_is_free_again_after_a_day(acme: Organization) -> None:
    first = post(acme)
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert post(acme).content == first.content
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    second = post(acme, {"name": "another"})
    assert second.status_code == 201
    assert post(acme, {"name": "another"}).content == second.content

    forget_idempotency_keys()
    assert IdempotentAnswer.objects.count() == 1
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    forget_idempotency_keys()
    assert not IdempotentAnswer.objects.exists()


# ---- At once ---------------------------------------------------------------------------------------------------------


def wait_until_someone_waits() -> None:
    """Until a session of this database waits for another's transaction."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
    )
    with connection.cursor() as cursor:
        for _ in range(100_000):
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waited")


def two_at_once(
    acme: Organization, first: Any, second: Any, meanwhile: Callable[[], None] = wait_until_someone_waits
) -> tuple[Response, Response]:
    """The second comes while the first is at work; `meanwhile` runs before the first goes on."""
    at_work, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        at_work.set()
        assert go_on.wait(20)

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(in_thread, lambda: post(acme, first, before=pause))
        assert at_work.wait(20)
        two = threads.submit(in_thread, lambda: post(acme, second))
        try:
            meanwhile()
            if meanwhile is not wait_until_someone_waits:
                two.result(20)
        finally:
            go_on.set()
        return one.result(20), two.result(20)


def test_the_second_of_two_at_once_waits_for_the_firsts_answer(acme: Organization) -> None:
    first, second = two_at_once(acme, {"name": "web"}, {"name": "web"})
    assert first.content == second.content
    assert second["Idempotent-Replayed"] == "true"
    assert ApiKey.objects.count() == 1


def test_the_second_of_two_at_once_with_another_body_is_refused(acme: Organization) -> None:
    first, second = two_at_once(acme, {"name": "web"}, {"name": "other"})
    assert (first.status_code, told(second)) == (201, (409, "invalid_idempotent_request"))


def test_the_second_of_two_at_once_works_when_the_first_is_refused(acme: Organization) -> None:
    first, second = two_at_once(acme, {"name": "refused"}, {"name": "web"})
    assert (first.status_code, second.status_code) == (404, 201)
    assert "Idempotent-Replayed" not in second


def test_who_waits_too_long_is_told_when_to_come_again(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "WAIT_FOR_ANOTHER", "50ms")
    first, second = two_at_once(acme, {"name": "web"}, {"name": "web"}, meanwhile=lambda: None)
    assert told(second) == (409, "concurrent_idempotent_requests")
    assert second["Retry-After"] == "1"
    assert post(acme).content == first.content


def test_of_many_at_once_one_works(acme: Organization) -> None:
    start = threading.Barrier(8)

    def call() -> Response:
        start.wait(20)
        return post(acme)

    with ThreadPoolExecutor(8) as threads:
        answers = [future.result(30) for future in [threads.submit(in_thread, call) for _ in range(8)]]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer for answer in answers) == 7
    assert ApiKey.objects.count() == 1


def test_the_work_itself_may_wait_for_locks_as_ever(acme: Organization) -> None:
    seen = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            seen.append(cursor.fetchone()[0])

    post(acme, before=look)
    assert seen == ["0"]
