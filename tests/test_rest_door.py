"""What a REST client is told, over real HTTP."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests

from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

LETTER = {"from": "Ada <ada@demo.test>", "to": ["bob@example.test"], "subject": "Hi", "text": "Hello"}


def call(platform: Platform, method: str, path: str, key: str = "", **kwargs: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {key or platform.demo['API_KEY']}"} | kwargs.pop("headers", {})
    return requests.request(method, platform.demo["API_URL"] + path, headers=headers, timeout=20, **kwargs)


def refused(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """Checks that it is a problem document (RFC 9457) with the members of Resend's SDKs."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == problem["statusCode"] == status
    assert problem["message"] == problem["detail"]
    assert problem["type"].endswith(f"/errors/{code}/")
    assert {"title", "name", "advice"} <= problem.keys()
    return problem


def test_an_email_is_sent_delivered_and_its_timeline_read(platform: Platform) -> None:
    letter = LETTER | {
        "to": "Bob <bob@rest.test>",
        "cc": ["cc@rest.test"],
        "bcc": ["bcc@rest.test"],
        "reply_to": "desk@demo.test",
        "subject": "Grüße 💌",
        "html": "<p>Hello</p>",
        "headers": {"X-Order": "42"},
        "tags": [{"name": "kind", "value": "welcome"}],
        "metadata": {"order": "42"},
    }
    answer = call(platform, "POST", "/emails", json=letter)
    assert answer.status_code == 202
    message_id = UUID(answer.json()["id"])
    platform.wait_event(message_id, "delivered")
    wait_for(lambda: platform.types(message_id).count("delivered") == 3, "all are delivered")

    email = call(platform, "GET", f"/emails/{message_id}").json()
    assert email["object"] == "email"
    assert email["from"] == "Ada <ada@demo.test>"
    assert (email["to"], email["cc"], email["bcc"]) == (["Bob <bob@rest.test>"], ["cc@rest.test"], ["bcc@rest.test"])
    assert (email["subject"], email["text"].strip(), email["html"].strip()) == ("Grüße 💌", "Hello", "<p>Hello</p>")
    assert email["last_event"] == "delivered"
    assert email["tags"] == [{"name": "kind", "value": "welcome"}]
    assert email["metadata"] == {"order": "42"}
    assert [event["type"] for event in email["recipients"][0]["events"]] == ["submitted", "delivered"]
    assert email["recipients"][0]["events"][1]["detail"]["reply"]["code"] == 250

    [listed] = call(platform, "GET", "/emails", params={"recipient": "BCC@rest.test", "tag": "kind:welcome"}).json()[
        "data"
    ]
    assert listed == {name: email[name] for name in listed}
    events = call(platform, "GET", f"/emails/{message_id}/events").json()["data"]
    feed = wait_for(lambda: feed_of(platform, message_id), "the feed has them")
    assert sorted(events, key=lambda event: event["id"]) == feed
    source = call(platform, "GET", f"/emails/{message_id}/raw", headers={"Accept": "message/rfc822"})
    assert b"Subject: =?utf-8?" in source.content

    raw, dkim, domain, _ = platform.inbox("bcc@rest.test")[0]
    assert (dkim, domain) == ("pass", "demo.test")
    assert b"X-Order: 42" in raw
    assert b"bcc@rest.test" not in raw


def feed_of(platform: Platform, message_id: UUID) -> list[dict[str, Any]] | None:
    """Its six events, as soon as the feed has come to them."""
    page = call(platform, "GET", "/events", params={"limit": 1000, "tag": "kind:welcome"}).json()
    found = [event for event in page["data"] if event["email_id"] == str(message_id)]
    return found if len(found) == 6 else None


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"from": "eve@evil.test"}, 403, "sender_domain_unknown", None),
        ({"from": "nobody"}, 422, "invalid_sender", None),
        ({"to": ["nobody"]}, 422, "invalid_recipient", None),
        ({"to": []}, 422, "validation_failed", "/to"),
        ({"to": [3]}, 422, "validation_failed", "/to/0"),
        ({"subject": None}, 422, "validation_failed", "/subject"),
        ({"subject": "Hi\r\nBcc: eve@evil.test"}, 422, "malformed_header", None),
        ({"text": None}, 422, "validation_failed", "/text"),
        ({"form": "typo"}, 422, "validation_failed", "/form"),
        ({"tags": [{"name": "no spaces", "value": "x"}]}, 422, "validation_failed", "/tags/0/name"),
        ({"expires_in": 59}, 422, "validation_failed", "/expires_in"),
        ({"expires_in": 259201}, 422, "validation_failed", "/expires_in"),
        ({"expires_in": "3600"}, 422, "validation_failed", "/expires_in"),
        ({"expires_in": True}, 422, "validation_failed", "/expires_in"),
        ({"headers": {"Bcc": "eve@evil.test"}}, 422, "malformed_header", None),
    ],
)
def test_bad_fields_are_named(
    platform: Platform, change: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    problem = refused(call(platform, "POST", "/emails", json=LETTER | change), status, code)
    if pointer:
        assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"from":', "application/json", 400, "malformed_json"),
        (b"\xff\xfe", "application/json", 400, "malformed_json"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b"null", "application/json", 422, "validation_failed"),
        (b"from=ada", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_bad_bodies_are_told(platform: Platform, body: bytes, content_type: str, status: int, code: str) -> None:
    answer = call(platform, "POST", "/emails", data=body, headers={"Content-Type": content_type})
    refused(answer, status, code)


def test_an_email_expires_when_it_asks_to(platform: Platform) -> None:
    answer = call(platform, "POST", "/emails", json=LETTER | {"expires_in": 3600})
    assert answer.status_code == 202
    email = call(platform, "GET", f"/emails/{answer.json()['id']}").json()
    left = datetime.fromisoformat(email["recipients"][0]["expires_at"]) - datetime.fromisoformat(email["created_at"])
    assert left == timedelta(hours=1)


def test_a_wrong_or_missing_key_is_told(platform: Platform) -> None:
    refused(call(platform, "POST", "/emails", key="ps_live_wrong", json=LETTER), 401, "invalid_credentials")
    answer = requests.post(platform.demo["API_URL"] + "/emails", json=LETTER, timeout=20)
    refused(answer, 401, "authentication_required")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_that_may_only_send_cannot_read_and_keeps_to_its_domain(platform: Platform) -> None:
    key = platform.demo["SMTP_PASSWORD"]  # an SMTP user's password is an API key
    answer = call(platform, "POST", "/emails", key=key, json=LETTER)
    assert answer.status_code == 202
    refused(call(platform, "GET", f"/emails/{answer.json()['id']}", key=key), 403, "insufficient_scope")
    refused(
        call(platform, "POST", "/emails", key=key, json=LETTER | {"from": "ada@other.test"}), 403, "sender_not_allowed"
    )


def test_unknown_things_are_json_too(platform: Platform) -> None:
    refused(call(platform, "GET", f"/emails/{uuid4()}"), 404, "not_found")
    refused(call(platform, "GET", "/emails/not-an-id"), 404, "not_found")
    refused(call(platform, "GET", "/no/such/thing"), 404, "not_found")
    refused(call(platform, "DELETE", "/emails"), 405, "method_not_allowed")


def test_the_schema_is_served(platform: Platform) -> None:
    schema = requests.get(platform.demo["API_URL"] + "/openapi.json", timeout=20).json()
    assert schema["openapi"].startswith("3.1")
    assert {"/api/v1/emails", "/api/v1/emails/{message_id}"} <= schema["paths"].keys()
