"""Clients that already exist work unchanged against the running platform: Resend's SDKs (PyPI and npm), django-anymail, curl.

They are told a base URL and an API key, nothing else. What arrives is read back from the sandbox's inbox.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.foreign_clients import CLIENTS, SDKS, Sdk, SdkError, need, node_sdk, python_sdk
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

FROM = "Jürgen Groß <admin@demo.test>"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
OCTETS = bytes(range(256)) * 3
LAST_EVENTS = {
    "bounced", "canceled", "clicked", "complained", "delivered", "delivery_delayed", "failed", "opened", "queued", "scheduled",
    "sent", "suppressed",
}  # fmt: skip


@pytest.fixture(scope="module")
def base_url(platform: Platform) -> str:
    return f"{platform.web_url}/api/v1"


@pytest.fixture(scope="module", params=SDKS)
def sdk(request: pytest.FixtureRequest, platform: Platform, base_url: str) -> Iterator[Sdk]:
    with SDKS[request.param](base_url, platform.demo["API_KEY"]) as client:
        yield client


def someone() -> str:
    return f"{uuid4().hex}@clients.test"


def letter(recipient: str, **more: Any) -> dict[str, Any]:
    return {"from": FROM, "to": recipient, "subject": "Grüße 🎉", "html": "<p>Schön</p>", "text": "Schön\n", **more}


def arrived(platform: Platform, recipient: str) -> EmailMessage:
    """The first mail for a recipient, signed by us, as Python's parser reads it."""
    raw, dkim, domain, _ = wait_for(lambda: platform.inbox(recipient), f"mail for {recipient} arrives")[0]
    assert (dkim, domain) == ("pass", "demo.test")
    return message_from_bytes(raw, policy=policy.default)


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").strip()


def in_hours(hours: float) -> str:
    """As JavaScript's `toISOString` writes it."""
    at = datetime.now(UTC) + timedelta(hours=hours)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# ---- Resend's SDKs: sending ----------------------------------------------------------------------------------------------


def test_an_email_arrives_as_it_was_asked_for(sdk: Sdk, platform: Platform) -> None:
    to, cc, bcc = someone(), someone(), someone()
    sent = sdk.call(
        "emails.send",
        letter(
            f"Zoë <{to}>",
            cc=[cc],
            bcc=bcc,
            reply_to=["Help <help@demo.test>", "more@demo.test"],
            headers={"X-Order": "42", "List-Unsubscribe": "<https://demo.test/u/1>"},
            tags=[{"name": "category", "value": "welcome"}],
        ),
    )
    UUID(sent.body["id"])
    message = arrived(platform, to)
    assert message["From"] == FROM
    assert message["To"] == f"Zoë <{to}>"
    assert message["Cc"] == cc
    assert message["Bcc"] is None
    assert message["Reply-To"] == "Help <help@demo.test>, more@demo.test"
    assert message["Subject"] == "Grüße 🎉"
    assert (message["X-Order"], message["List-Unsubscribe"]) == ("42", "<https://demo.test/u/1>")
    assert text_of(message, "html") == "<p>Schön</p>"
    assert text_of(message, "plain") == "Schön"
    for other in (cc, bcc):
        assert arrived(platform, other)["Message-ID"] == message["Message-ID"]


def test_attachments_arrive_octet_for_octet(sdk: Sdk, platform: Platform) -> None:
    recipient = someone()
    attachments = [
        {"filename": "bytes.bin", "content": sdk.octets(OCTETS)},
        {
            "filename": "Übersicht.txt",
            "content": base64.b64encode("Größe\n".encode()).decode(),
            "content_type": "text/plain",
        },
        {"filename": "pixel.png", "content": sdk.octets(PNG), "content_type": "image/png", "content_id": "pixel"},
    ]
    html = '<p>Look: <img src="cid:pixel"></p>'
    sdk.call("emails.send", letter(recipient, html=html, attachments=attachments))
    message = arrived(platform, recipient)
    parts = {part.get_filename(): part for part in message.walk() if part.get_filename()}
    assert set(parts) == {"bytes.bin", "Übersicht.txt", "pixel.png"}
    assert parts["bytes.bin"].get_payload(decode=True) == OCTETS
    assert parts["bytes.bin"].get_content_disposition() == "attachment"
    assert parts["Übersicht.txt"].get_content_type() == "text/plain"
    assert parts["Übersicht.txt"].get_payload(decode=True) == "Größe\n".encode()
    assert parts["pixel.png"].get_content_type() == "image/png"
    assert parts["pixel.png"].get_content_disposition() == "inline"
    assert parts["pixel.png"]["Content-ID"] == "<pixel>"
    assert parts["pixel.png"].get_payload(decode=True) == PNG
    assert text_of(message, "html") == html


def test_a_repeat_with_the_same_key_sends_nothing(sdk: Sdk, platform: Platform) -> None:
    recipient, key = someone(), {"idempotency_key": uuid4().hex}
    first = sdk.call("emails.send", letter(recipient), key)
    again = sdk.call("emails.send", letter(recipient), key)
    assert again.body == first.body
    assert (first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")) == (None, "true")
    with pytest.raises(SdkError) as caught:
        sdk.call("emails.send", letter(recipient, subject="Another"), key)
    assert (caught.value.status, caught.value.name) == (409, "invalid_idempotent_request")
    platform.wait_event(UUID(first.body["id"]), "delivered")
    assert len(platform.inbox(recipient)) == 1


# ---- Batches -------------------------------------------------------------------------------------------------------------


def test_a_batch_sends_each_email(sdk: Sdk, platform: Platform) -> None:
    recipients, key = [someone() for _ in range(3)], {"idempotency_key": uuid4().hex}
    batch = [letter(recipient, subject=f"Number {number}") for number, recipient in enumerate(recipients)]
    sent = sdk.call("batch.send", batch, key)
    ids = [item["id"] for item in sent.body["data"]]
    assert len(set(ids)) == 3
    for number, recipient in enumerate(recipients):
        assert arrived(platform, recipient)["Subject"] == f"Number {number}"
    again = sdk.call("batch.send", batch, key)
    assert [item["id"] for item in again.body["data"]] == ids
    assert again.headers["idempotent-replayed"] == "true"


def test_a_strict_batch_with_an_error_sends_nothing(sdk: Sdk, platform: Platform) -> None:
    good, last = someone(), someone()
    with pytest.raises(SdkError) as caught:
        sdk.call("batch.send", [letter(good), letter("nobody at all")])
    assert caught.value.status == 422
    assert re.search(r"\b1\b", caught.value.message)  # the index
    arrived_after_it(sdk, platform, last)
    assert platform.inbox(good) == []


def test_a_permissive_batch_sends_what_it_can(sdk: Sdk, platform: Platform) -> None:
    first, third = someone(), someone()
    batch = [letter(first), letter("nobody at all"), letter(third)]
    answer = sdk.call("batch.send", batch, {"batch_validation": "permissive"})
    assert len(answer.body["data"]) == 2
    assert [error["index"] for error in answer.body["errors"]] == [1]
    assert "nobody at all" in answer.body["errors"][0]["message"]
    for recipient in (first, third):
        arrived(platform, recipient)


def arrived_after_it(sdk: Sdk, platform: Platform, recipient: str) -> None:
    """Sends one more and sees it arrive: what was accepted before it would be there by then."""
    sdk.call("emails.send", letter(recipient))
    arrived(platform, recipient)


# ---- Later ---------------------------------------------------------------------------------------------------------------


def test_scheduled_mail_waits_can_be_moved_and_is_sent(sdk: Sdk, platform: Platform) -> None:
    recipient, later = someone(), in_hours(2)
    sent = sdk.call("emails.send", letter(recipient, scheduled_at=later)).body
    waiting = sdk.call("emails.get", sent["id"]).body
    assert waiting["last_event"] == "scheduled"
    assert abs(moment(waiting["scheduled_at"]) - moment(later)) < timedelta(milliseconds=1)

    sooner = in_hours(1 / 3600)
    moved = sdk.call("emails.update", {"id": sent["id"], "scheduled_at": sooner}).body
    assert (moved["object"], moved["id"]) == ("email", sent["id"])
    assert arrived(platform, recipient)["Subject"] == "Grüße 🎉"


def test_scheduled_mail_can_be_cancelled(sdk: Sdk, platform: Platform) -> None:
    recipient = someone()
    sent = sdk.call("emails.send", letter(recipient, scheduled_at="in 1 hour")).body
    cancelled = sdk.call("emails.cancel", sent["id"]).body
    assert (cancelled["object"], cancelled["id"]) == ("email", sent["id"])
    assert sdk.call("emails.get", sent["id"]).body["last_event"] == "canceled"
    with pytest.raises(SdkError) as caught:
        sdk.call("emails.update", {"id": sent["id"], "scheduled_at": in_hours(1)})
    assert 400 <= caught.value.status < 500


# ---- Reading -------------------------------------------------------------------------------------------------------------


def test_an_email_is_read_back(sdk: Sdk, platform: Platform) -> None:
    recipient = someone()
    sent = sdk.call("emails.send", letter(recipient, tags=[{"name": "kind", "value": "receipt"}])).body
    message = arrived(platform, recipient)
    platform.wait_event(UUID(sent["id"]), "delivered")
    email = sdk.call("emails.get", sent["id"]).body
    assert email["object"] == "email"
    assert email["from"] == FROM
    assert email["to"] == [recipient]
    assert email["subject"] == "Grüße 🎉"
    assert (email["html"].strip(), email["text"].strip()) == ("<p>Schön</p>", "Schön")
    assert email["tags"] == [{"name": "kind", "value": "receipt"}]
    assert email["message_id"].strip("<>") == message["Message-ID"].strip("<>")
    assert email["last_event"] == "delivered"
    assert not any(email[name] for name in ("cc", "bcc", "reply_to", "scheduled_at"))
    assert datetime.now(UTC) - moment(email["created_at"]) < timedelta(minutes=2)


def test_emails_are_listed_page_by_page(sdk: Sdk) -> None:
    ids = [sdk.call("emails.send", letter(someone())).body["id"] for _ in range(3)]
    page = sdk.call("emails.list", {"limit": 2}).body
    assert page["object"] == "list"
    assert [email["id"] for email in page["data"]] == [ids[2], ids[1]]
    assert page["has_more"] is True
    assert all(email["last_event"] in LAST_EVENTS for email in page["data"])
    following = sdk.call("emails.list", {"limit": 2, "after": ids[1]}).body
    assert following["data"][0]["id"] == ids[0]
    back = sdk.call("emails.list", {"before": ids[1]}).body
    assert [email["id"] for email in back["data"]] == [ids[2]]
    assert back["has_more"] is False


# ---- Refusals ------------------------------------------------------------------------------------------------------------

NO_SENDER = {"to": "a@b.test", "subject": "Hi", "text": "Hi"}
REFUSALS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "a field missing": (NO_SENDER, 422, "missing_required_field", "MissingRequiredFieldsError"),
    "no such address": (letter("nobody at all"), 422, "validation_error", "ValidationError"),
    "another's domain": (letter("a@b.test") | {"from": "a@else.test"}, 403, "invalid_from_address", "ResendError"),
    "a date in the past": (letter("a@b.test", scheduled_at="2020-01-01T00:00:00Z"), 422, "validation_error", "ValidationError"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSALS)
def test_a_refusal_is_the_sdks_own_kind_of_error(sdk: Sdk, why: str) -> None:
    email, status, name, kind = REFUSALS[why]
    with pytest.raises(SdkError) as caught:
        sdk.call("emails.send", email)
    assert (caught.value.status, caught.value.name) == (status, name)
    assert caught.value.kind in ("", kind)
    assert caught.value.message


@pytest.mark.parametrize("name", SDKS)
def test_a_wrong_key_is_told(name: str, base_url: str) -> None:
    with SDKS[name](base_url, "ps_live_wrong") as sdk, pytest.raises(SdkError) as caught:
        sdk.call("emails.send", letter(someone()))
    assert (caught.value.status, caught.value.name) == (401, "invalid_api_key")


def test_what_is_not_there_is_not_found(sdk: Sdk) -> None:
    for name in ("emails.get", "emails.cancel", "domains.get", "templates.get", "api_keys.remove"):
        with pytest.raises(SdkError) as caught:
            sdk.call(name, str(uuid4()))
        assert (name, caught.value.status, caught.value.name) == (name, 404, "not_found")


def test_the_rest_of_the_problem_comes_along(platform: Platform, base_url: str) -> None:
    """Node's SDK hands the whole body over, Python's the headers."""
    with node_sdk(base_url, platform.demo["API_KEY"]) as sdk, pytest.raises(SdkError) as caught:
        sdk.call("emails.send", letter("a@b.test", tags=[{"name": "a b", "value": "c"}]))
    assert caught.value.headers["content-type"] == "application/problem+json"
    with python_sdk(base_url, platform.demo["API_KEY"]) as sdk, pytest.raises(SdkError) as caught:
        sdk.call("emails.send", letter("a@b.test", tags=[{"name": "a b", "value": "c"}]))
    assert "/tags/0/name" in caught.value.message
    assert caught.value.headers["content-type"] == "application/json"  # it takes no other


# ---- Other resources -----------------------------------------------------------------------------------------------------


def test_domains(sdk: Sdk) -> None:
    name = f"{uuid4().hex[:12]}.test"
    created = sdk.call("domains.create", {"name": name}).body
    assert (created["name"], created["status"]) == (name, "not_started")
    assert {record["record"] for record in created["records"]} >= {"DKIM", "SPF"}
    assert all({"name", "type", "value", "status", "ttl"} <= set(record) for record in created["records"])
    got = sdk.call("domains.get", created["id"]).body
    assert (got["object"], got["name"], got["records"]) == ("domain", name, created["records"])
    updated = sdk.call("domains.update", {"id": created["id"], "open_tracking": False}).body
    assert (updated["object"], updated["id"]) == ("domain", created["id"])
    verified = sdk.call("domains.verify", created["id"]).body
    assert (verified["object"], verified["id"]) == ("domain", created["id"])
    assert created["id"] in {domain["id"] for domain in sdk.call("domains.list").body["data"]}
    removed = sdk.call("domains.remove", created["id"]).body
    assert (removed["object"], removed["id"], removed["deleted"]) == ("domain", created["id"], True)
    with pytest.raises(SdkError):
        sdk.call("domains.get", created["id"])


@pytest.mark.parametrize("permission", ["full_access", "sending_access"])
def test_api_keys(sdk: Sdk, base_url: str, permission: str) -> None:
    created = sdk.call("api_keys.create", {"name": "From an SDK", "permission": permission}).body
    recipient = someone()
    with python_sdk(base_url, created["token"]) as other:
        sent = other.call("emails.send", letter(recipient)).body
        if permission == "sending_access":
            with pytest.raises(SdkError) as caught:
                other.call("emails.get", sent["id"])
            assert caught.value.name == "restricted_api_key"
        else:
            assert other.call("emails.get", sent["id"]).body["id"] == sent["id"]
    listed = {key["id"]: key for key in sdk.call("api_keys.list").body["data"]}
    assert listed[created["id"]]["name"] == "From an SDK"
    assert sdk.call("api_keys.update", {"id": created["id"], "name": "Renamed"}).body["id"] == created["id"]
    removed = sdk.call("api_keys.remove", created["id"]).body
    assert (removed["id"], removed["deleted"]) == (created["id"], True)
    assert created["id"] not in {key["id"] for key in sdk.call("api_keys.list").body["data"]}


def test_templates(sdk: Sdk, platform: Platform) -> None:
    recipient = someone()
    created = sdk.call(
        "templates.create",
        {
            "name": "Welcome",
            "from": FROM,
            "subject": "Welcome, {{{NAME}}}",
            "html": "<p>Hello {{{NAME}}}, {{{COUNT}}} things wait.</p>",
            "variables": [{"key": "NAME", "type": "string"}, {"key": "COUNT", "type": "number", "fallback_value": 3}],
        },
    ).body
    assert created["object"] == "template"
    assert sdk.call("templates.get", created["id"]).body["status"] == "draft"
    assert sdk.call("templates.publish", created["id"]).body["id"] == created["id"]
    template = sdk.call("templates.get", created["id"]).body
    assert (template["object"], template["name"], template["status"]) == ("template", "Welcome", "published")
    assert {variable["key"] for variable in template["variables"]} == {"NAME", "COUNT"}

    email = {"to": recipient, "template": {"id": created["id"], "variables": {"NAME": "Zoë"}}}
    sdk.call("emails.send", email)
    message = arrived(platform, recipient)
    assert (message["From"], message["Subject"]) == (FROM, "Welcome, Zoë")
    assert "Hello Zoë, 3 things wait." in text_of(message, "html")

    with pytest.raises(SdkError) as caught:
        sdk.call("emails.send", {"to": recipient, "template": {"id": created["id"], "variables": {}}})
    assert caught.value.status == 422
    assert "NAME" in caught.value.message
    assert sdk.call("templates.update", {"id": created["id"], "name": "Hello"}).body["id"] == created["id"]
    assert created["id"] in {item["id"] for item in sdk.call("templates.list", {"limit": 100}).body["data"]}
    copy = sdk.call("templates.duplicate", created["id"]).body
    assert copy["id"] != created["id"]
    for template_id in (copy["id"], created["id"]):
        assert sdk.call("templates.remove", template_id).body["deleted"] is True


def test_suppressions(sdk: Sdk) -> None:
    address, others = someone(), [someone(), someone()]
    added = sdk.call("suppressions.add", {"email": address}).body
    assert added["object"] == "suppression"
    for identifier in (added["id"], address):
        found = sdk.call("suppressions.get", identifier).body
        assert (found["id"], found["email"], found["origin"]) == (added["id"], address, "manual")
    assert len(sdk.call("suppressions.batch.add", {"emails": others}).body["data"]) == 2
    listed = {item["email"] for item in sdk.call("suppressions.list", {"limit": 100, "origin": "manual"}).body["data"]}
    assert {address, *others} <= listed
    assert sdk.call("suppressions.remove", address).body["deleted"] is True
    removed = sdk.call("suppressions.batch.remove", {"emails": others}).body["data"]
    assert [item["deleted"] for item in removed] == [True, True]
    with pytest.raises(SdkError) as caught:
        sdk.call("suppressions.get", address)
    assert caught.value.status == 404


# ---- django-anymail ------------------------------------------------------------------------------------------------------


def anymail(base_url: str, api_key: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What became of each, as tests/clients/with_anymail.py tells."""
    ran = subprocess.run(
        [sys.executable, str(CLIENTS / "with_anymail.py"), base_url, api_key],
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return list(json.loads(ran.stdout))


def test_anymail_sends(platform: Platform, base_url: str) -> None:
    to, cc, bcc = someone(), someone(), someone()
    [outcome] = anymail(
        base_url,
        platform.demo["API_KEY"],
        {
            "subject": "Grüße 🎉",
            "body": "Schön\n",
            "html": '<p>Schön <img src="pixel.png"></p>',
            "from_email": FROM,
            "to": [f"Zoë <{to}>"],
            "cc": [cc],
            "bcc": [bcc],
            "reply_to": ["help@demo.test"],
            "headers": {"X-Order": 42},
            "tags": ["größer", "b c"],
            "metadata": {"order": 7},
            "files": [["bytes.bin", base64.b64encode(OCTETS).decode(), "application/octet-stream"],
                      ["Übersicht.csv", base64.b64encode("a;ü\n".encode()).decode(), "text/csv"]],
            "images": {"pixel.png": base64.b64encode(PNG).decode()},
            "esp_extra": {"tags": [{"name": "kind", "value": "receipt"}]},
        },
    )  # fmt: skip
    ids = set(outcome["ids"].values())
    assert set(outcome["ids"]) == {to, cc, bcc}
    assert len(ids) == 1
    message = arrived(platform, to)
    assert message["From"] == FROM
    assert (message["To"], message["Cc"], message["Bcc"]) == (f"Zoë <{to}>", cc, None)
    assert (message["Subject"], message["Reply-To"], message["X-Order"]) == ("Grüße 🎉", "help@demo.test", "42")
    assert json.loads(message["X-Tags"]) == ["größer", "b c"]
    assert json.loads(message["X-Metadata"]) == {"order": 7}
    assert text_of(message, "plain") == "Schön"
    parts = {part.get_filename(): part for part in message.walk() if part.get_filename()}
    assert parts["bytes.bin"].get_payload(decode=True) == OCTETS
    assert parts["Übersicht.csv"].get_payload(decode=True) == "a;ü\n".encode()
    image = parts["pixel.png"]
    assert image.get_payload(decode=True) == PNG
    assert f'src="cid:{image["Content-ID"][1:-1]}"' in text_of(message, "html")
    with python_sdk(base_url, platform.demo["API_KEY"]) as sdk:
        assert sdk.call("emails.get", ids.pop()).body["tags"] == [{"name": "kind", "value": "receipt"}]


def test_anymail_sends_a_batch(platform: Platform, base_url: str) -> None:
    one, two = someone(), someone()
    [outcome] = anymail(
        base_url,
        platform.demo["API_KEY"],
        {"subject": "Hello", "body": "Hi", "from_email": FROM, "to": [one, two],
         "merge_metadata": {one: {"n": 1}, two: {"n": 2}}},
    )  # fmt: skip
    assert len(set(outcome["ids"].values())) == 2
    for number, recipient in enumerate((one, two), 1):
        message = arrived(platform, recipient)
        assert (message["To"], json.loads(message["X-Metadata"])) == (recipient, {"n": number})


def test_anymail_schedules(platform: Platform, base_url: str) -> None:
    at = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    recipient = someone()
    message = {"subject": "Hello", "body": "Hi", "from_email": FROM, "to": [recipient], "send_at": at}
    [outcome] = anymail(base_url, platform.demo["API_KEY"], message)
    with python_sdk(base_url, platform.demo["API_KEY"]) as sdk:
        email = sdk.call("emails.get", outcome["ids"][recipient]).body
        assert email["last_event"] == "scheduled"
        assert abs(moment(email["scheduled_at"]) - moment(at)) < timedelta(milliseconds=2)
        sdk.call("emails.cancel", email["id"])


def test_anymail_raises_with_our_words(platform: Platform, base_url: str) -> None:
    message = {"subject": "Hello", "body": "Hi", "from_email": "a@else.test", "to": [someone()]}
    [foreign, typo] = anymail(base_url, platform.demo["API_KEY"], message, message | {"esp_extra": {"subjekt": "x"}})
    assert foreign["status"] == 403
    assert "else.test is not one of your organization's sending domains" in foreign["error"]
    assert typo["status"] == 422
    assert "subjekt" in typo["error"]
    [wrong] = anymail(base_url, "ps_live_wrong", message)
    assert wrong["status"] == 401


# ---- curl ----------------------------------------------------------------------------------------------------------------


class Curl:
    def __init__(self, base_url: str, api_key: str) -> None:
        self._base_url, self._api_key = base_url, api_key

    def __call__(self, method: str, path: str, body: Any = None, *headers: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers (names in lower case) and body of the answer."""
        command = ["curl", "-sS", "-X", method, self._base_url + path, "-H", f"Authorization: Bearer {self._api_key}"]
        command += ["-w", "\n%{http_code}\n%{header_json}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        for header in headers:
            command += ["-H", header]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert ran.returncode == 0, ran.stderr
        answer, status, rest = ran.stdout.split("\n", 2)
        return int(status), {name: values[0] for name, values in json.loads(rest).items()}, json.loads(answer)


@pytest.fixture(scope="module")
def curl(platform: Platform, base_url: str) -> Curl:
    need(shutil.which("curl"), "curl")
    return Curl(base_url, platform.demo["API_KEY"])


def test_curl_sends_repeats_and_reads(curl: Curl, platform: Platform) -> None:
    recipient, key = someone(), f"Idempotency-Key: {uuid4().hex}"
    email = letter(recipient, attachments=[{"filename": "a.bin", "content": base64.b64encode(OCTETS).decode()}])
    status, _, first = curl("POST", "/emails", email, key)
    assert status == 202
    status, headers, again = curl("POST", "/emails", email, key)
    assert (status, again, headers["idempotent-replayed"]) == (202, first, "true")
    status, headers, problem = curl("POST", "/emails", email | {"subject": "Another"}, key)
    assert (status, problem["code"]) == (409, "invalid_idempotent_request")
    [part] = arrived(platform, recipient).iter_attachments()
    assert part.get_payload(decode=True) == OCTETS
    platform.wait_event(UUID(first["id"]), "delivered")
    assert curl("GET", f"/emails/{first['id']}")[2]["last_event"] == "delivered"
    assert len(platform.inbox(recipient)) == 1


def test_curl_sends_a_batch(curl: Curl, platform: Platform) -> None:
    recipients = [someone(), someone()]
    status, _, answer = curl("POST", "/emails/batch", [letter(recipient) for recipient in recipients])
    assert status < 300
    assert len(answer["data"]) == 2
    for recipient in recipients:
        arrived(platform, recipient)


def test_curl_schedules_reschedules_and_cancels(curl: Curl) -> None:
    status, _, sent = curl("POST", "/emails", letter(someone(), scheduled_at="in 2 hours"))
    assert status == 202
    path, later = f"/emails/{sent['id']}", in_hours(48)
    assert curl("PATCH", path, {"scheduled_at": later})[0] == 200
    assert abs(moment(curl("GET", path)[2]["scheduled_at"]) - moment(later)) < timedelta(milliseconds=1)
    assert curl("POST", f"{path}/cancel")[0] == 200
    assert curl("GET", path)[2]["last_event"] == "canceled"


def test_curl_is_told_what_is_wrong(curl: Curl) -> None:
    status, headers, problem = curl("POST", "/emails", letter("a@b.test", subjekt="typo"))
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert {"type", "title", "status", "detail", "instance", "code", "errors", "name", "message", "statusCode"} <= set(
        problem
    )
    assert problem["errors"][0]["pointer"] == "/subjekt"
    assert headers["x-request-id"]
