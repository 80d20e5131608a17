"""Attachments at the REST door: in each form that SDKs send, by address, refused by name, and read back."""

import base64
import json
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from django.core import signing
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.api_keys import create_api_key
from accounts.models import Scope
from relay.models import Content, Message
from relay.reading.sent_attachments import sent_attachments
from relay.submission.desk import shared_desk
from tests.factories import Tenant, make_domain, make_message, make_tenant
from tests.file_hosts import HOST, FileHost, file, running_hosts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_own_desk")]

LETTER = {"from": "Ada <ada@acme.test>", "to": "bob@b.test", "subject": "Hi", "text": "Hello"}
PDF = b"%PDF-1.7\n\xff\x00"
ENCODED = base64.b64encode(PDF).decode()


@pytest.fixture
def _own_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield
    shared_desk().close()


@pytest.fixture
def tenant() -> Tenant:
    tenant = make_tenant()
    make_domain(tenant.organization)
    return tenant


@pytest.fixture
def key(tenant: Tenant) -> str:
    return create_api_key(tenant.organization, "App", [Scope.FULL]).secret


def post(key: str, attachments: Any, *, idempotency_key: str = "", **fields: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
    body = json.dumps(LETTER | {"attachments": attachments} | fields)
    return Client().post("/api/v1/emails", body, content_type="application/json", headers=headers)


def get(key: str, path: str) -> Any:
    return Client().get(path, headers={"Authorization": f"Bearer {key}"})


def files_of(answer: Any) -> list[tuple[str | None, str, bytes]]:
    assert answer.status_code == 202, answer.content
    raw = bytes(Content.objects.get(pk=answer.json()["id"]).raw)
    parsed = cast(EmailMessage, message_from_bytes(raw, policy=default))
    parts = [part for part in parsed.walk() if part.get_content_disposition()]
    return [
        (part.get_filename(), part.get_content_type(), cast(bytes, part.get_payload(decode=True))) for part in parts
    ]


@pytest.mark.parametrize(
    "content",
    [
        ENCODED,
        base64.encodebytes(PDF * 20).decode(),
        list(PDF),
        {"type": "Buffer", "data": list(PDF)},
        "",
    ],
)
def test_content_is_taken_in_each_form_that_sdks_send(key: str, content: Any) -> None:
    expected = b"" if content == "" else PDF * 20 if isinstance(content, str) and "\n" in content else PDF
    asked = {"filename": "Quittung ü.pdf", "content": content, "path": None, "content_type": None, "content_id": None}
    assert files_of(post(key, [asked])) == [("Quittung ü.pdf", "application/pdf", expected)]


def test_pictures_are_shown_in_the_html(key: str) -> None:
    pictures = [
        {"filename": "a.png", "content": ENCODED, "content_id": "<a>"},
        {"filename": "b.png", "content": ENCODED, "inline_content_id": "b"},
        {"filename": False, "content": ENCODED, "content_id": "c", "content_type": "image/gif"},
    ]
    answer = post(key, pictures, html='<img src="cid:a"><img src="cid:b">')
    assert [file[:2] for file in files_of(answer)] == [
        ("a.png", "image/png"),
        ("b.png", "image/png"),
        (None, "image/gif"),
    ]
    raw = bytes(Content.objects.get(pk=answer.json()["id"]).raw)
    assert all(f"\r\nContent-ID: <{name}>\r\n".encode() in raw for name in "abc")
    email = get(key, f"/api/v1/emails/{answer.json()['id']}").json()
    assert (email["text"], email["html"]) == ("Hello", '<img src="cid:a"><img src="cid:b">')


GOOD = {"filename": "a.pdf", "content": ENCODED}


@pytest.mark.parametrize(
    ("attachments", "code", "pointer"),
    [
        ([GOOD, GOOD | {"content": "not base64!"}], "validation_failed", "/attachments/1/content"),
        ([GOOD | {"content": ENCODED[:-1]}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"content": "ü"}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"content": [256]}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"content": ["a"]}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"content": 7}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"content": {"type": "Buffer"}}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"filename": ""}], "validation_failed", "/attachments/0/filename"),
        ([GOOD | {"filename": " "}], "validation_failed", "/attachments/0/filename"),
        ([GOOD | {"filename": 7}], "validation_failed", "/attachments/0/filename"),
        ([{"content": ENCODED}], "validation_failed", "/attachments/0/filename"),
        ([GOOD | {"filename": "x" * 256}], "validation_failed", "/attachments/0/filename"),
        ([GOOD | {"filename": "a\u2028b"}], "malformed_header", "/attachments/0/filename"),
        ([GOOD | {"content_type": "pdf"}], "malformed_header", "/attachments/0/content_type"),
        ([GOOD | {"content_id": "a\r\nb"}], "malformed_header", "/attachments/0/content_id"),
        ([GOOD | {"content_id": "x"}, GOOD | {"content_id": "x"}], "validation_failed", "/attachments/1/content_id"),
        (
            [GOOD | {"content_id": "x", "inline_content_id": "y"}],
            "validation_failed",
            "/attachments/0/inline_content_id",
        ),
        ([GOOD | {"contentType": "a/b"}], "validation_failed", "/attachments/0/contentType"),
        ([{"filename": "a.pdf"}], "validation_failed", "/attachments/0/content"),
        ([GOOD | {"path": "https://a.test/"}], "validation_failed", "/attachments/0/content"),
        ([GOOD] * 101, "validation_failed", "/attachments"),
        ({}, "validation_failed", "/attachments"),
        (["a.pdf"], "validation_failed", "/attachments/0"),
        ([{"path": "ftp://a.test/"}], "attachment_not_fetched", "/attachments/0/path"),
    ],
)
def test_what_is_wrong_is_named(key: str, attachments: Any, code: str, pointer: str) -> None:
    problem = post(key, attachments).json()
    assert (problem["code"], [error["pointer"] for error in problem["errors"]]) == (code, [pointer])
    assert not Message.objects.exists()


@pytest.mark.parametrize("content", [ENCODED * 200, list(PDF) * 200])
def test_a_message_too_large_is_refused_before_it_is_read(tenant: Tenant, key: str, content: Any) -> None:
    tenant.organization.message_size_limit = 2000
    tenant.organization.save()
    answer = post(key, [GOOD | {"content": content}, {"nonsense": True}])
    assert (answer.status_code, answer.json()["code"]) == (413, "message_too_large")
    assert "your organization's limit is 2000" in answer.json()["detail"]


# ---- By address ------------------------------------------------------------------------------------------------------

FILES = {
    "/receipt.pdf": file(PDF, "Content-Type: text/html"),
    "/picture?id=7": file(PDF, "Content-Type: image/png; q=1"),
    "/a%0Ab": file(PDF, "Content-Type: multipart/mixed; boundary=x"),
    "/large": file(b"x" * 3000),
}


@pytest.fixture
def host(tmp_path: Path, settings: Settings) -> Iterator[FileHost]:
    settings.SANDBOX = False
    settings.ALLOWED_NETWORKS = [ip_network("127.0.0.1/32")]
    with running_hosts(tmp_path, settings, FILES) as (_, host):
        yield host


def test_files_are_fetched_and_named(key: str, host: FileHost) -> None:
    place = f"https://{HOST}:{host.port}"
    attachments = [
        {"path": f"{place}/receipt.pdf"},
        GOOD,
        {"path": f"{place}/receipt.pdf", "filename": "other.txt", "content_type": "text/csv"},
        {"path": f"{place}/picture?id=7"},
        {"path": f"{place}/a%0Ab"},
    ]
    assert files_of(post(key, attachments)) == [
        ("receipt.pdf", "application/pdf", PDF),
        ("a.pdf", "application/pdf", PDF),
        ("other.txt", "text/csv", PDF),
        ("picture", "image/png", PDF),
        ("attachment", "application/octet-stream", PDF),
    ]


def test_each_file_that_is_not_to_be_had_is_named(key: str, host: FileHost) -> None:
    place = f"https://{HOST}:{host.port}"
    paths = [f"{place}/gone", f"{place}/receipt.pdf", "https://127.0.0.2/", f"{place}/receipt.pdf"]
    answer = post(key, [{"path": path} for path in paths])
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["name"]) == (
        422,
        "attachment_not_fetched",
        "invalid_attachment",
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/attachments/0/path", "/attachments/2/path"]
    assert "404" in problem["errors"][0]["detail"]
    assert "not a public address" in problem["errors"][1]["detail"]
    assert not Message.objects.exists()


def test_what_is_fetched_counts_for_the_size(tenant: Tenant, key: str, host: FileHost) -> None:
    tenant.organization.message_size_limit = 3500
    tenant.organization.save()
    answer = post(key, [{"path": f"https://{HOST}:{host.port}/large"}])
    assert (answer.status_code, answer.json()["code"]) == (422, "attachment_not_fetched")
    assert "room" in answer.json()["detail"]


def test_a_repeat_does_not_depend_on_the_file(key: str, host: FileHost) -> None:
    attachments = [{"path": f"https://{HOST}:{host.port}/receipt.pdf"}]
    first = post(key, attachments, idempotency_key="one")
    assert len(files_of(first)) == 1
    host.files = {}
    again = post(key, attachments, idempotency_key="one")
    assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (202, first.json(), "true")
    assert len(host.requests) == 1
    other = post(key, attachments, idempotency_key="one", subject="Other")
    assert (other.status_code, other.json()["code"]) == (409, "invalid_idempotent_request")


# ---- Read back -------------------------------------------------------------------------------------------------------


def test_attachments_are_listed_and_downloaded(key: str) -> None:
    picture = {"filename": "löwe.png", "content": ENCODED, "content_id": "logo"}
    files = [
        GOOD,
        {"filename": "x.html", "content": ENCODED},
        {"filename": "m.eml", "content": base64.b64encode(b"A: b\n\nc\n").decode()},
    ]
    sent = post(key, [picture, *files], html="<p>x</p>").json()
    place = f"/api/v1/emails/{sent['id']}/attachments"

    listed = get(key, place).json()
    assert (listed["object"], listed["has_more"]) == ("list", False)
    names = ("filename", "size", "content_type", "content_disposition", "content_id")
    assert [tuple(one.get(name) for name in names) for one in listed["data"]] == [
        ("löwe.png", len(PDF), "image/png", "inline", "logo"),
        ("a.pdf", len(PDF), "application/pdf", "attachment", None),
        ("x.html", len(PDF), "text/html", "attachment", None),
        ("m.eml", 11, "message/rfc822", "attachment", None),
    ]
    one = get(key, f"{place}/{listed['data'][2]['id']}").json()
    assert (one.pop("object"), one["filename"], one["id"]) == ("attachment", "x.html", listed["data"][2]["id"])

    path = one["download_url"].partition("/api/")[2]
    content = Client().get(f"/api/{path}", headers={"Accept": "image/png"})
    assert (content.status_code, content.content, content["Content-Type"]) == (200, PDF, "text/html")
    assert content["Content-Disposition"] == "attachment"
    assert "sandbox" in content["Content-Security-Policy"]


def test_lists_of_attachments_are_paged(key: str) -> None:
    sent = post(key, [GOOD | {"filename": f"{number}.pdf"} for number in range(5)]).json()
    place = f"/api/v1/emails/{sent['id']}/attachments"

    def page(query: str) -> tuple[list[str], bool, list[str]]:
        answer = get(key, f"{place}?{query}").json()
        return [one["filename"][0] for one in answer["data"]], answer["has_more"], [one["id"] for one in answer["data"]]

    first, has_more, ids = page("limit=2")
    assert (first, has_more) == (["0", "1"], True)
    assert page(f"limit=2&after={ids[1]}")[:2] == (["2", "3"], True)
    assert page(f"limit=5&after={ids[1]}")[:2] == (["2", "3", "4"], False)
    assert page(f"before={ids[1]}")[:2] == (["0"], False)
    assert get(key, f"{place}?limit=0").status_code == 422


def test_strangers_and_old_links_find_nothing(tenant: Tenant, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = post(key, [GOOD]).json()
    place = f"/api/v1/emails/{sent['id']}/attachments"
    (attachment,) = get(key, place).json()["data"]
    rival = make_tenant("Rival")
    stranger = create_api_key(rival.organization, "Eve", [Scope.FULL]).secret
    sender = create_api_key(tenant.organization, "Sender", [Scope.SEND]).secret
    for path in (place, f"{place}/{attachment['id']}"):
        assert get(stranger, path).status_code == 404
        assert get(sender, path).status_code == 403
    assert get(key, f"{place}/{uuid4()}").status_code == 404
    assert get(key, f"/api/v1/emails/{uuid4()}/attachments").status_code == 404

    link = "/api/" + attachment["download_url"].partition("/api/")[2]
    assert Client().get(link).status_code == 200
    bare = link.partition("?")[0]
    forged = signing.dumps([rival.organization.pk.hex, UUID(sent["id"]).hex, UUID(attachment["id"]).hex], salt="other")
    for bad in (bare, f"{bare}?token=x", f"{bare}?token={forged}", link.replace(attachment["id"], str(uuid4()))):
        assert Client().get(bad).status_code == 404
    assert get(key, bare).status_code == 404
    monkeypatch.setattr("django.core.signing.time.time", lambda: 4e9)
    assert Client().get(link).status_code == 404


def test_mail_from_smtp_is_read_however_it_is_made(tenant: Tenant) -> None:
    raw = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n'
        b'--b\r\nContent-Type: application/pdf;\r\n name="=?utf-8?q?l=C3=B6we.pdf?="\r\nContent-ID: <x@y>\r\n\r\nabc\r\n'
        b"--b\r\nContent-Type: image/\r\n png\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%%\r\n"
        b"--b\r\nContent-Type: text/plain; name=a.txt\r\n\r\nnotes\r\n--b--\r\n"
    )
    domain = make_domain(tenant.organization, "b.test")
    message = make_message(domain, raw=raw)
    found = sent_attachments(message.pk, raw)
    assert [(one.filename, one.content_type, one.content_id) for one in found] == [
        ("löwe.pdf", "application/pdf", "x@y"),
        (None, "application/octet-stream", None),
        ("a.txt", "text/plain", None),
    ]
    assert (found[0].content, found[2].content) == (b"abc", b"notes")
    assert sent_attachments(message.pk, b"no header at all") == []
