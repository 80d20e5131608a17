"""The door on the event loop answers as the views do: each request is made at both, and the answers compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.test import Client, override_settings

from accounts.api_keys import create_api_key
from accounts.catalogue import Refused
from accounts.models import Organization, Scope
from accounts.rest.rates import LoopLimiter, shared_limiter
from relay.models import Message
from relay.rest import door as door_module
from relay.rest.door import BATCH, EMAILS, Body, Door
from relay.rest.sending import LIGHT_OCTETS
from relay.submission import desk as desk_module
from relay.submission.desk import ThreadedDesk, shared_desk
from tests.factories import Tenant, make_domain, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
T = TypeVar("T")

LETTER = {"from": "Ada <ada@good.test>", "to": ["bob@example.net"], "subject": "Hi", "text": "Hello"}
JSON = {"Content-Type": "application/json"}
# Told by each answer anew.
VOLATILE = {"x-request-id", "ratelimit-remaining", "ratelimit-reset", "ratelimit"}


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def document(self) -> Any:
        """Without what is each answer's own."""
        document = json.loads(self.body)
        if self.status >= 400:
            assert document.pop("instance") == f"urn:uuid:{self.headers['x-request-id']}"
        return document


class DoorClient:
    """Asks the door as an ASGI server does."""

    def __init__(self, desk: ThreadedDesk, spool: Path) -> None:
        self._loop = desk._loop
        self._limiter = LoopLimiter(settings.REDIS_URL, shared_limiter())
        self.door = Door(desk._desk, self._limiter, spool)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self.run(self._limiter.close())

    def post(
        self, path: str, body: bytes, headers: dict[str, str], *, chunk: int = 0, ends_after: int | None = None
    ) -> Answer:
        return self.run(self.ask(path, body, headers, chunk=chunk, ends_after=ends_after))

    async def ask(
        self, path: str, body: bytes, headers: dict[str, str], *, chunk: int = 0, ends_after: int | None = None
    ) -> Answer:
        """`chunk` 0: announced by Content-Length. `ends_after`: octets after which the client is gone."""
        length = {"Transfer-Encoding": "chunked"} if chunk else {"Content-Length": str(len(body))} if body else {}
        sent = body[:ends_after]
        parts = [sent[at : at + (chunk or 7000)] for at in range(0, len(sent), chunk or 7000)] or [b""]
        events = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        if ends_after is None:
            events[-1]["more_body"] = False
        else:
            events.append({"type": "http.disconnect"})
        answered: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(0)
            return events.pop(0)

        async def send(message: Any) -> None:
            answered.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "headers": [
                (k.lower().encode(), v.encode()) for k, v in ({"Host": "testserver"} | headers | length).items()
            ],
            "client": (headers.get("X-Test-Address", "192.0.2.1"), 4711),
            "server": ("testserver", 80),
        }
        assert self.door.takes(scope)
        await self.door(scope, receive, send)
        start, content = answered
        fields = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], fields, content["body"])


@pytest.fixture
def tenant() -> Tenant:
    tenant = make_tenant()
    make_domain(tenant.organization, "good.test")
    make_domain(tenant.organization, "new.test", verified=False)
    return tenant


@pytest.fixture
def key(tenant: Tenant) -> str:
    return create_api_key(tenant.organization, "App", [Scope.SEND]).secret


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DoorClient]:
    monkeypatch.setattr(desk_module, "_shared", None)
    client = DoorClient(shared_desk(), tmp_path)
    yield client
    client.close()
    shared_desk().close()


def at_view(path: str, body: bytes, headers: dict[str, str]) -> Answer:
    address = headers.get("X-Test-Address", "192.0.2.1")
    kind = headers.get("Content-Type", "")
    sent = {name: value for name, value in headers.items() if name != "Content-Type"}
    client = Client(raise_request_exception=False)
    answer = client.generic("POST", path, body, content_type=kind, headers=sent, REMOTE_ADDR=address)
    return Answer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)


def both(door: DoorClient, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    """The view's answer and the door's, which must be the same."""
    view, ours = at_view(path, body, headers), door.post(path, body, headers)
    assert ours.status == view.status, ours.body
    assert UUID(ours.headers["x-request-id"]).version == 7
    told, expected = ({k: v for k, v in a.headers.items() if k not in VOLATILE} for a in (ours, view))
    if view.status < 400:
        assert ours.document.keys() == view.document.keys()
    else:
        assert ours.document == view.document
        told.pop("content-length"), expected.pop("content-length")  # white space differs
    assert told == expected
    assert ("ratelimit-remaining" in ours.headers) == ("ratelimit-remaining" in view.headers)
    return ours


def raw(change: dict[str, Any] | None = None) -> bytes:
    return json.dumps(LETTER | (change or {})).encode()


def batch(*changes: dict[str, Any]) -> bytes:
    return json.dumps([LETTER | change for change in changes]).encode()


TABLE: list[tuple[str, bytes, dict[str, str], int, str]] = [
    (EMAILS, raw(), {}, 202, ""),
    (EMAILS, raw(), {"Accept": "application/json"}, 202, ""),
    (EMAILS, raw(), {"Content-Type": "Application/JSON; charset=utf-8"}, 202, ""),
    (EMAILS, raw(), {"Authorization": ""}, 401, "authentication_required"),
    (EMAILS, raw(), {"Authorization": "Bearer ps_live_wrong"}, 401, "invalid_credentials"),
    (EMAILS, raw(), {"Authorization": "Bearer"}, 401, "invalid_credentials"),
    (EMAILS, raw(), {"Authorization": "Basic YTpi"}, 401, "invalid_credentials"),
    (EMAILS, b"{", {"Authorization": "Bearer ps_live_wrong", "Content-Type": "a/b"}, 401, "invalid_credentials"),
    (EMAILS, raw(), {"Accept": "text/html"}, 406, "not_acceptable"),
    (EMAILS, raw(), {"Accept": "text/html", "Authorization": ""}, 406, "not_acceptable"),
    (EMAILS, raw(), {"Host": "evil.test"}, 400, "bad_request"),
    (EMAILS, raw(), {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (EMAILS, raw(), {"Content-Type": 'text/"'}, 415, "unsupported_media_type"),
    (EMAILS, raw(), {"Content-Type": ""}, 415, "unsupported_media_type"),
    (EMAILS, raw(), {"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
    (EMAILS, raw(), {"Idempotency-Key": ""}, 400, "invalid_idempotency_key"),
    (EMAILS, raw(), {"Idempotency-Key": "a b"}, 400, "invalid_idempotency_key"),
    (EMAILS, b"{", {"Idempotency-Key": "a b"}, 400, "invalid_idempotency_key"),
    (EMAILS, b"{", {}, 400, "malformed_json"),
    (EMAILS, b"\xff", {}, 400, "malformed_json"),
    (EMAILS, b'{"to": "a@b.test", "to": "c@d.test"}', {}, 400, "malformed_json"),
    (EMAILS, b"[" * 9999, {}, 400, "malformed_json"),
    (EMAILS, rb'{"subject": "\u0000"}', {}, 422, "validation_failed"),
    (EMAILS, b"null", {}, 422, "validation_failed"),
    (EMAILS, b"[]", {}, 422, "validation_failed"),
    (EMAILS, b"", {}, 422, "validation_failed"),
    (EMAILS, b"", {"Content-Type": "text/plain"}, 422, "validation_failed"),
    (EMAILS, b" " * 200_001, {}, 413, "request_too_large"),
    (EMAILS, raw({"form": 1}), {}, 422, "validation_failed"),
    (EMAILS, raw({"to": "nobody"}), {}, 422, "invalid_recipient"),
    (EMAILS, raw({"from": "nobody"}), {}, 422, "invalid_sender"),
    (EMAILS, raw({"from": "a@evil.test"}), {}, 403, "sender_domain_unknown"),
    (EMAILS, raw({"from": "a@new.test"}), {}, 403, "sender_domain_not_verified"),
    (EMAILS, raw({"subject": "a\r\nBcc: b@c.test"}), {}, 422, "malformed_header"),
    (EMAILS, raw({"headers": {"Bcc": "b@c.test"}}), {}, 422, "malformed_header"),
    (EMAILS, raw({"template": {"id": "nothing"}, "text": None}), {}, 422, ""),
    (EMAILS, raw({"attachments": [{"path": "http://127.0.0.1/", "filename": "a"}]}), {}, 422, "attachment_not_fetched"),
    (BATCH, batch({}, {}), {}, 200, ""),
    (BATCH, batch({}, {"to": "nobody"}), {"X-Batch-Validation": "permissive"}, 200, ""),
    (BATCH, batch({}, {"to": "nobody"}), {}, 422, "invalid_recipient"),
    (BATCH, batch({}, {"form": 1}), {}, 422, "validation_failed"),
    (BATCH, batch(*[{}] * 101), {}, 422, "batch_too_large"),
    (BATCH, batch({}), {"X-Batch-Validation": "maybe"}, 422, "invalid_request_header"),
    (BATCH, b"{}", {}, 422, "validation_failed"),
    (BATCH, b"", {}, 422, "validation_failed"),
    (BATCH, b"", {"Authorization": ""}, 401, "authentication_required"),
]


@pytest.mark.parametrize(("path", "body", "headers", "status", "code"), TABLE, ids=map(str, range(len(TABLE))))
def test_both_give_the_same_answer(
    door: DoorClient, key: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    own = {"Authorization": f"Bearer {key}", "X-Test-Address": str(uuid4())} | JSON | headers
    if not own["Authorization"]:
        del own["Authorization"]
    with override_settings(API_BODY_LIMIT=200_000):
        answer = both(door, path, body, own)
    assert answer.status == status
    if code:
        assert answer.document["code"] == code


def test_a_client_that_takes_plain_json_alone_gets_it_from_both(door: DoorClient, key: str) -> None:
    own = {"Authorization": f"Bearer {key}", "Accept": "application/json"} | JSON
    answer = both(door, EMAILS, b"{}", own)
    assert answer.headers["content-type"] == "application/json"


def test_a_key_that_may_not_send_is_told_before_its_body_is_read(door: DoorClient, tenant: Tenant) -> None:
    own = {"Authorization": f"Bearer {create_api_key(tenant.organization, 'App', [Scope.READ]).secret}"}
    assert both(door, EMAILS, b"{", own).document["code"] == "insufficient_scope"


def test_rates_are_counted_together(door: DoorClient, tenant: Tenant, key: str) -> None:
    Organization.objects.filter(pk=tenant.organization.pk).update(api_rate_limit=1)
    own = {"Authorization": f"Bearer {key}"} | JSON
    with override_settings(API_BURST_SECONDS=4):
        remaining = []
        for ask in (at_view, door.post, at_view, door.post, door.post):
            answer = ask(EMAILS, raw(), own)
            remaining.append((answer.status, answer.headers["ratelimit-remaining"]))
        assert remaining == [(202, "3"), (202, "2"), (202, "1"), (202, "0"), (429, "0")]
        assert answer.document["code"] == "rate_limited"
        assert answer.headers["retry-after"] == "1"


def test_strangers_are_counted_by_address_at_both(door: DoorClient) -> None:
    own = {"Authorization": "Bearer ps_live_wrong", "X-Test-Address": "2001:db8:7::1"}
    with override_settings(API_ADDRESS_RATE=1, API_BURST_SECONDS=2):
        answers = [ask(EMAILS, raw(), own).status for ask in (door.post, at_view, door.post, at_view)]
    assert answers == [401, 401, 429, 429]


@pytest.mark.parametrize("path", [EMAILS, BATCH])
def test_a_repeat_at_the_other_one_gets_the_first_answer(door: DoorClient, key: str, path: str) -> None:
    own = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid4())} | JSON
    body = raw() if path == EMAILS else batch({}, {})
    first, again, view = door.post(path, body, own), door.post(path, body, own), at_view(path, body, own)
    assert first.body == again.body == view.body
    told = [answer.headers.get("idempotent-replayed") for answer in (first, again, view)]
    assert told == [None, "true", "true"]
    other = both(door, path, body.replace(b"Hello", b"Other"), own)
    assert other.document["code"] == "invalid_idempotent_request"
    assert Message.objects.count() == (1 if path == EMAILS else 2)


@pytest.mark.parametrize("size", [1, LIGHT_OCTETS, 300_000])
@pytest.mark.parametrize("chunk", [0, 5000])
def test_bodies_of_any_size_come_in_any_way(door: DoorClient, key: str, size: int, chunk: int) -> None:
    text = "Hello\n" * (size // 6 + 1)
    own = {"Authorization": f"Bearer {key}"} | JSON
    answer = door.post(EMAILS, raw({"text": text}), own, chunk=chunk)
    assert answer.status == 202, answer.body
    message = Message.objects.get(pk=answer.document["id"])
    assert message.size_bytes > len(text)


@pytest.mark.parametrize("size", [100_001, 400_000])
def test_chunks_beyond_the_limit_are_refused(door: DoorClient, key: str, size: int) -> None:
    own = {"Authorization": f"Bearer {key}"} | JSON
    with override_settings(API_BODY_LIMIT=100_000):
        assert door.post(EMAILS, b" " * size, own, chunk=30_000).document["code"] == "request_too_large"


@pytest.mark.parametrize("chunk", [0, 10])
def test_half_a_body_is_nothing(door: DoorClient, key: str, chunk: int) -> None:
    own = {"Authorization": f"Bearer {key}"} | JSON
    answer = door.post(EMAILS, raw(), own, chunk=chunk, ends_after=len(raw()) - 5)
    assert answer.document["code"] == "bad_request"
    assert not Message.objects.exists()


def test_an_accident_is_a_problem_document(door: DoorClient, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.rest.requests.read_plain", lambda *_: 1 / 0)
    answer = both(door, EMAILS, raw(), {"Authorization": f"Bearer {key}"} | JSON)
    assert answer.document["code"] == "internal_error"


def test_a_database_that_is_away_is_told_by_both(door: DoorClient, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr("relay.submission.directory.Directory._ask", gone)
    answer = both(door, EMAILS, raw(), {"Authorization": f"Bearer {key}"} | JSON)
    assert (answer.status, answer.document["code"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_many_at_once_are_answered_each_with_its_own(door: DoorClient, key: str) -> None:
    own = {"Authorization": f"Bearer {key}"} | JSON

    async def work() -> list[Answer]:
        return await asyncio.gather(*(door.ask(EMAILS, raw({"subject": f"No. {n}"}), own) for n in range(100)))

    answers = door.run(work())
    assert {answer.status for answer in answers} == {202}
    subjects = {str(message.pk): message.subject for message in Message.objects.all()}
    assert [subjects[answer.document["id"]] for answer in answers] == [f"No. {n}" for n in range(100)]
    assert sorted(int(a.headers["ratelimit-remaining"]) for a in answers)[0] >= 500 - 100 - 1


# ---- Bodies ----------------------------------------------------------------------------------------------------------


def refused_body(place: Path, announced: str, parts: list[bytes], limit: int = 100) -> str:
    """The code with which a body is refused that comes in these parts, and then not at all."""

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": True}

    with pytest.raises(Refused) as refused:
        asyncio.run(Body({"CONTENT_LENGTH": announced}, receive, limit, place).arrive())
    return refused.value.code


def test_a_client_that_falls_silent_in_its_body_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "SILENT_S", 0.02)
    assert refused_body(tmp_path, "10", [b"123"]) == "timed_out"


def test_a_client_that_never_comes_to_an_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "BODY_WITHIN_S", -1)
    assert refused_body(tmp_path, "10", [b"1"] * 9) == "timed_out"


def test_what_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    parts = [b"x"]
    assert refused_body(tmp_path, "101", parts) == "request_too_large"
    assert parts
