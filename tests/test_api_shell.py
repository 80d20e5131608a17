"""What stands around every request below `/api/`: an id, a rate, and a problem document whatever happens."""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from django.test import Client, override_settings

from accounts.api_keys import create_api_key
from accounts.catalogue import REFUSALS
from accounts.models import Organization, Scope
from relay.submission.desk import shared_desk
from tests.factories import Tenant, make_domain, make_message, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
NOBODYS = UUID(int=7)  # fixed: names of tests must be the same in each worker

# Resend's SDKs know these (`RESEND_ERROR_CODE_KEY` of npm resend 6.38).
RESENDS_NAMES = {
    "invalid_idempotency_key", "validation_error", "missing_api_key", "restricted_api_key", "invalid_api_key", "not_found",
    "method_not_allowed", "invalid_idempotent_request", "concurrent_idempotent_requests", "invalid_attachment",
    "invalid_from_address", "invalid_access", "invalid_parameter", "invalid_region", "missing_required_field",
    "monthly_quota_exceeded", "daily_quota_exceeded", "rate_limit_exceeded", "security_error", "application_error",
    "internal_server_error",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield
    shared_desk().close()


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def key(tenant: Tenant) -> str:
    return create_api_key(tenant.organization, "App", [Scope.FULL]).secret


def call(method: str, path: str, key: str = "", body: Any = None, **headers: str) -> Any:
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = {} if body is None else {"data": body, "content_type": "application/json"}
    client = Client(raise_request_exception=False)
    # Each test comes from an address of its own: strangers are counted by address.
    return client.generic(method, path, headers=headers, REMOTE_ADDR=str(uuid4()), **data)


def problem_of(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Checks that it is a problem document (RFC 9457) that names its request."""
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), answer.content
    problem: dict[str, Any] = answer.json()
    assert (problem["code"], problem["status"], problem["statusCode"]) == (code, status, status)
    assert UUID(answer["X-Request-Id"]).version == 7
    assert problem["instance"] == f"urn:uuid:{answer['X-Request-Id']}"
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert int(answer["Content-Length"]) == len(answer.content)
    return problem


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api", 404, "not_found"),
        ("GET", "/api/", 404, "not_found"),
        ("GET", "/api/v2/emails", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1/emails/none", 404, "not_found"),
        ("GET", "/api/v1/%00%ff", 404, "not_found"),
        ("POST", "/api/v1/emails/", 404, "not_found"),
        ("POST", "/api/v1/openapi.json", 405, "method_not_allowed"),
        ("GET", "/api/v1/emails", 401, "authentication_required"),
        ("BREW", "/api/v1/emails", 401, "authentication_required"),
    ],
)
def test_no_page_is_ever_answered(debug: bool, method: str, path: str, status: int, code: str) -> None:
    with override_settings(DEBUG=debug):
        problem_of(call(method, path), status, code)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("BREW", "/api/v1/emails", {}, 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/emails", {}, 405, "method_not_allowed"),
        ("GET", f"/api/v1/emails/{NOBODYS}", {"Accept": "text/html"}, 406, "not_acceptable"),
        ("GET", f"/api/v1/emails/{NOBODYS}?format=xml", {}, 404, "not_found"),
        ("GET", f"/api/v1/emails/{NOBODYS}", {"Host": "evil.test"}, 400, "bad_request"),
        ("GET", f"/api/v1/emails/{NOBODYS}", {"Host": "a b"}, 400, "bad_request"),
    ],
)
def test_no_page_is_answered_to_a_key_either(
    key: str, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = call(method, path, key, **headers)
    problem_of(answer, status, code)
    assert answer.has_header("Allow") == (status == 405)  # RFC 9110, 15.5.6


def test_a_slash_too_much_is_told() -> None:
    assert "leave out the slash" in problem_of(call("GET", "/api/v1/openapi.json/"), 404, "not_found")["detail"]
    assert "slash" not in problem_of(call("GET", "/api/v1/nothing/"), 404, "not_found")["detail"]


@pytest.mark.parametrize("debug", [False, True])
def test_an_accident_is_logged_under_the_id_that_is_answered(
    key: str, debug: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.rest.reading.visible_message", lambda *_: 1 / 0)
    with override_settings(DEBUG=debug):
        answer = call("GET", f"/api/v1/emails/{uuid4()}", key, **{"X-Request-Id": "order-42"})
    problem = problem_of(answer, 500, "internal_error")
    assert "ZeroDivisionError" not in answer.content.decode()
    assert problem["name"] == "application_error"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"request {answer['X-Request-Id']} (the client's: order-42)" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_client_cannot_write_into_our_log(
    key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.rest.reading.visible_message", lambda *_: 1 / 0)
    call("GET", f"/api/v1/emails/{uuid4()}", key, **{"X-Request-Id": "a\x1b[2J all is well"})
    assert "all is well" not in caplog.text


def test_a_database_that_is_away_is_told_as_such(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("relay.rest.reading.visible_message", away)
    answer = call("GET", f"/api/v1/emails/{uuid4()}", key)
    problem_of(answer, 503, "temporarily_unavailable")
    assert int(answer["Retry-After"]) > 0


def test_a_session_authorizes_nothing(tenant: Tenant, django_assert_num_queries: Any) -> None:
    message = make_message(make_domain(tenant.organization))
    assert tenant.client.get(f"/messages/{message.pk}/").status_code == 200  # signed in indeed
    with django_assert_num_queries(0):  # it is not even read
        answer = tenant.client.get(f"/api/v1/emails/{message.pk}", REMOTE_ADDR=str(uuid4()))
    problem_of(answer, 401, "authentication_required")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert not answer.cookies


# ---- Bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"to": "a@b.test", "to": "c@d.test"}', "application/json", 400, "malformed_json"),
        (b"[" * 9999, "application/json", 400, "malformed_json"),
        (rb'{"subject": "\u0000"}', "application/json", 422, "validation_failed"),
        (b"[1]", "application/json", 422, "validation_failed"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"a=b", "multipart/form-data", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b"{}", 'text/"', 415, "unsupported_media_type"),
        (b" " * 2000, "application/json; charset=latin-1", 413, "request_too_large"),
    ],
)
def test_bad_bodies_are_told(key: str, body: bytes, content_type: str, status: int, code: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    with override_settings(API_BODY_LIMIT=1000 if status == 413 else 100_000):
        answer = Client().post("/api/v1/emails", body, content_type=content_type, headers=headers)
    problem_of(answer, status, code)


def test_what_is_missing_has_the_name_that_resends_sdks_expect(key: str) -> None:
    problem = problem_of(call("POST", "/api/v1/emails", key, b"{}"), 422, "validation_failed")
    assert problem["name"] == "missing_required_field"
    assert {(error["pointer"], error["code"]) for error in problem["errors"]} >= {("/to", "required")}
    typo = problem_of(call("POST", "/api/v1/emails", key, b'{"a~/b": 1}'), 422, "validation_failed")
    assert typo["name"] == "validation_error"
    assert typo["errors"][0]["pointer"] == "/a~0~1b"


def test_every_refusal_has_a_name_of_resends() -> None:
    assert {refusal.name for refusal in REFUSALS.values()} <= RESENDS_NAMES


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),  # Resend's Python SDK looks at nothing else
        ("Application/JSON;q=0.9", "application/json"),
        ("*/*", "application/problem+json"),
        ("application/json, */*", "application/problem+json"),
        ("application/json, application/problem+json", "application/problem+json"),
        ("application/json, */*;q=0.0", "application/json"),
        ("text/html", "application/problem+json"),
        ("", "application/problem+json"),
    ],
)
def test_who_takes_plain_json_alone_gets_it(accept: str, media_type: str) -> None:
    answer = call("GET", "/api/v1/nothing", Accept=accept)
    assert answer["Content-Type"] == media_type
    assert answer.json()["code"] == "not_found"


# ---- Rates -----------------------------------------------------------------------------------------------------------


def test_a_rate_is_told_and_kept(tenant: Tenant, key: str) -> None:
    Organization.objects.filter(pk=tenant.organization.pk).update(api_rate_limit=1)
    with override_settings(API_BURST_SECONDS=3):
        answers = [call("GET", f"/api/v1/emails/{uuid4()}", key)]
        while answers[-1].status_code == 404 and len(answers) < 100:  # one comes back each second
            answers.append(call("GET", f"/api/v1/emails/{uuid4()}", key))
        other = create_api_key(make_tenant("Rival").organization, "App", [Scope.FULL]).secret
        problem_of(call("GET", f"/api/v1/emails/{uuid4()}", other), 404, "not_found")
    assert [answer.status_code for answer in answers] == [404] * (len(answers) - 1) + [429]
    assert len(answers) >= 4
    assert [answers[n]["RateLimit-Remaining"] for n in (0, -2, -1)] == ["2", "0", "0"]
    assert {answer["RateLimit-Limit"] for answer in answers} == {"3"}
    assert answers[0]["RateLimit-Policy"] == '"organization";q=3;w=3'
    assert answers[0]["RateLimit"] == f'"organization";r=2;t={answers[0]["RateLimit-Reset"]}'
    problem = problem_of(answers[-1], 429, "rate_limited")
    assert problem["name"] == "rate_limit_exceeded"
    assert problem["detail"] == "More than 1 requests a second of your organization."
    assert answers[-1]["Retry-After"] == "1"
    assert not answers[0].has_header("Retry-After")


@pytest.mark.parametrize("wrong_key", ["", "ps_live_wrong"])
def test_strangers_are_slowed_down_by_address(key: str, wrong_key: str) -> None:
    address = str(uuid4())

    def ask(key: str, path: str = f"/api/v1/emails/{uuid4()}") -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return Client().get(path, headers=headers, REMOTE_ADDR=address)

    with override_settings(API_ADDRESS_RATE=1, API_BURST_SECONDS=2):
        assert [ask(wrong_key).status_code for _ in range(2)] == [401, 401]
        # A slow machine gives time for another one or two.
        assert 429 in (ask(wrong_key).status_code for _ in range(20))
        assert 429 in (ask("", "/api/v1/openapi.json").status_code for _ in range(20))
        assert ask(key).status_code == 404  # a good key is not shut out by what else comes from its address


def test_no_rate_is_no_limit(key: str) -> None:
    with override_settings(API_KEY_RATE=0, API_ORGANIZATION_RATE=0, API_ADDRESS_RATE=1, API_BURST_SECONDS=1):
        answers = [call("GET", f"/api/v1/emails/{uuid4()}", key) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {404}
    assert not answers[0].has_header("RateLimit-Limit")
