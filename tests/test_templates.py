"""Templates over REST, their versions, and sending by them at both doors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.http import HttpResponse
from django.test import Client

from accounts.api_keys import create_api_key
from accounts.catalogue import Refused
from accounts.models import Organization, Scope
from domains.models import SendingDomain
from relay import templates
from relay.models import Content, Message, Template, TemplateVersion
from relay.submission import desk
from relay.submission.accept import Submission
from relay.submission.desk import shared_desk
from relay.templates import TemplateContent, create_template, publish_template, update_template
from relay.templating.variables import Variable
from tests.factories import make_domain, make_message, make_tenant
from tests.platform import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = TemplateContent(subject="s", html="<p>{{ x }}</p>")
HTML = "<p>Thank you, {{ NAME }}. {{{ NOTE }}}</p>"
RECEIPT: dict[str, Any] = {
    "name": "Receipt",
    "alias": "receipt",
    "from": "Acme <shop@acme.test>",
    "subject": "Order {{ ORDER }}",
    "html": HTML,
    "variables": [
        {"key": "NAME", "type": "string", "fallback_value": "friend"},
        {"key": "ORDER", "type": "number"},
        {"key": "NOTE", "type": "string", "fallback_value": "<b>Bye</b>"},
    ],
}


@pytest.fixture(scope="module", autouse=True)
def desk_of_this_module() -> Iterator[None]:
    """It would keep connections to a database that is about to be dropped."""
    yield
    shared_desk().close()
    desk._shared = None


class Api:
    """A program with an API key."""

    def __init__(self, organization: Organization, *scopes: str) -> None:
        new = create_api_key(organization, "test", scopes=list(scopes or (Scope.FULL,)))
        self.organization, self._headers = organization, {"Authorization": f"Bearer {new.secret}"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        client = Client(raise_request_exception=False)
        arguments: dict[str, Any] = {} if body is None else {"data": body, "content_type": "application/json"}
        return getattr(client, method)(f"/api/v1/{path}", headers=self._headers | headers, **arguments)


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture
def domain(acme: Organization) -> SendingDomain:
    return make_domain(acme)


@pytest.fixture
def api(acme: Organization) -> Api:
    return Api(acme)


def made(answer: HttpResponse, status: int = 200) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()  # type: ignore[attr-defined]
    assert answer.status_code == status, body
    return body


def refused(answer: HttpResponse, status: int, code: str) -> dict[str, Any]:
    problem = made(answer, status)
    assert problem["code"] == code, problem
    return problem


def pointers(problem: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


def published(api: Api, **changes: Any) -> str:
    identifier: str = made(api("post", "templates", RECEIPT | changes), 201)["id"]
    made(api("post", f"templates/{identifier}/publish"))
    return identifier


def mail_of(message_id: str | UUID) -> EmailMessage:
    return message_from_bytes(bytes(Content.objects.get(pk=message_id).raw), policy=policy.default)


def body_of(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).strip()


# ---- REST


def test_a_template_is_made_published_changed_and_deleted(api: Api) -> None:
    identifier = made(api("post", "templates", RECEIPT), 201)["id"]
    template = made(api("get", "templates/receipt"))
    assert template["id"] == identifier
    assert (template["object"], template["status"], template["published_at"]) == ("template", "draft", None)
    assert {name: template[name] for name in ("name", "alias", "from", "subject", "html")} == {
        name: RECEIPT[name] for name in ("name", "alias", "from", "subject", "html")
    }
    assert template["variables"] == [{"fallback_value": None, **variable} for variable in RECEIPT["variables"]]
    assert (template["text"], template["reply_to"], template["has_unpublished_versions"]) == (None, None, True)

    assert made(api("post", f"templates/{identifier}/publish")) == {"object": "template", "id": identifier}
    template = made(api("get", f"templates/{identifier}"))
    assert (template["status"], template["has_unpublished_versions"], template["version"]) == ("published", False, 1)

    made(api("patch", "templates/receipt", {"subject": "Your order {{ ORDER }}", "reply_to": "desk@acme.test"}))
    template = made(api("get", "templates/receipt"))
    assert (template["subject"], template["html"]) == ("Your order {{ ORDER }}", HTML)
    assert template["reply_to"] == ["desk@acme.test"]
    assert (template["status"], template["has_unpublished_versions"], template["version"]) == ("published", True, 2)
    assert made(api("get", "templates/receipt/versions/1"))["subject"] == "Order {{ ORDER }}"
    versions = made(api("get", "templates/receipt/versions"))
    assert [(row["number"], row["status"]) for row in versions["data"]] == [(2, "draft"), (1, "published")]
    assert (versions["object"], versions["has_more"]) == ("list", False)

    listed = made(api("get", "templates?limit=1"))
    assert [row["alias"] for row in listed["data"]] == ["receipt"]
    assert listed["data"][0].keys() == {"id", "name", "alias", "status", "published_at", "created_at", "updated_at"}

    assert made(api("delete", "templates/receipt")) == {"object": "template", "id": identifier, "deleted": True}
    refused(api("get", f"templates/{identifier}"), 404, "not_found")
    assert not TemplateVersion.objects.exists()


def test_publishing_again_changes_nothing(api: Api) -> None:
    identifier = published(api)
    before = made(api("get", f"templates/{identifier}"))
    made(api("post", f"templates/{identifier}/publish"))
    assert made(api("get", f"templates/{identifier}")) == before


def test_a_copy_is_a_draft_with_a_name_of_its_own(api: Api) -> None:
    published(api)
    names = []
    for _ in range(2):
        copy = made(api("get", f"templates/{made(api('post', 'templates/receipt/duplicate'), 201)['id']}"))
        assert (copy["alias"], copy["status"], copy["html"], copy["version"]) == (None, "draft", HTML, 1)
        names.append(copy["name"])
    assert names == ["Receipt (copy)", "Receipt (copy 2)"]


def test_names_and_aliases_are_taken_once(api: Api) -> None:
    made(api("post", "templates", RECEIPT), 201)
    assert pointers(refused(api("post", "templates", RECEIPT | {"alias": "x"}), 409, "template_exists")) == ["/name"]
    assert pointers(refused(api("post", "templates", RECEIPT | {"name": "x"}), 409, "template_exists")) == ["/alias"]
    other = made(api("post", "templates", RECEIPT | {"name": "x", "alias": None}), 201)["id"]
    refused(api("patch", f"templates/{other}", {"name": "Receipt"}), 409, "template_exists")
    refused(api("patch", f"templates/{other}", {"alias": "receipt"}), 409, "template_exists")
    made(api("patch", f"templates/{other}", {"alias": "other", "name": "x"}))
    made(api("patch", f"templates/{other}", {"alias": None}))
    refused(api("get", "templates/other"), 404, "not_found")
    stranger = Organization.objects.create(name="Other")
    made(Api(stranger)("post", "templates", RECEIPT), 201)


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"name": None}, "validation_failed", "/name"),
        ({"name": 3}, "validation_failed", "/name"),
        ({"html": None}, "validation_failed", "/html"),
        ({"htlm": "x"}, "validation_failed", "/htlm"),
        ({"alias": "no spaces"}, "validation_failed", "/alias"),
        ({"alias": str(uuid4())}, "validation_failed", "/alias"),
        ({"from": "nobody"}, "validation_failed", "/from"),
        ({"reply_to": ["a@b.test", "nobody"]}, "validation_failed", "/reply_to/1"),
        ({"variables": [{"key": "a b", "type": "string"}]}, "validation_failed", "/variables/0/key"),
        ({"variables": [{"key": "a", "type": "date"}]}, "validation_failed", "/variables/0/type"),
        ({"variables": [{"key": "a", "type": "number", "fallback_value": "x"}]}, "validation_failed",
         "/variables/0/fallback_value"),
        ({"variables": [{"key": "a", "type": "string"}, {"key": "a", "type": "string"}]}, "validation_failed", "/variables"),
        ({"html": "{% if x %}"}, "template_invalid", "/html"),
        ({"subject": "{{ x"}, "template_invalid", "/subject"),
        ({"text": "{{#if x}}"}, "template_invalid", "/text"),
        ({"html": "<a href={{ x }}>"}, "template_invalid", "/html"),
    ],
)  # fmt: skip
def test_bad_templates_are_told_where(api: Api, change: dict[str, Any], code: str, pointer: str) -> None:
    assert pointer in pointers(refused(api("post", "templates", RECEIPT | change), 422, code))
    assert not Template.objects.exists()


def test_a_mistake_is_told_with_line_and_column(api: Api) -> None:
    problem = refused(api("post", "templates", RECEIPT | {"html": "<p>\n  {{ x"}), 422, "template_invalid")
    assert problem["errors"] == [{"pointer": "/html", "detail": "}} is missing", "line": "2", "column": "3"}]
    assert problem["detail"] == "html, line 2, column 3: }} is missing"


def test_what_is_not_declared_is_told_at_publishing(api: Api) -> None:
    identifier = made(api("post", "templates", RECEIPT | {"html": "{{ NAME }}\n{{ NMAE }}"}), 201)["id"]
    problem = refused(api("post", f"templates/{identifier}/publish"), 422, "template_invalid")
    assert problem["detail"] == "html, line 2, column 4: NMAE is not among the declared variables"
    made(api("patch", f"templates/{identifier}", {"variables": []}))  # nothing declared: nothing to compare with
    made(api("post", f"templates/{identifier}/publish"))


def test_a_template_without_body_is_not_published(api: Api) -> None:
    identifier = made(api("post", "templates", RECEIPT), 201)["id"]
    made(api("patch", f"templates/{identifier}", {"html": ""}))
    refused(api("post", f"templates/{identifier}/publish"), 422, "template_invalid")


def test_a_costly_template_is_refused_at_saving(api: Api) -> None:
    refused(api("post", "templates", RECEIPT | {"html": "{{a}}" * 50_000}), 422, "template_too_costly")


def test_rendering_shows_what_would_be_sent(api: Api) -> None:
    published(api)
    made(api("patch", "templates/receipt", {"subject": "Draft {{ ORDER }}"}))
    asked = {"variables": {"ORDER": 42, "NAME": "<Ada>"}}
    rendered = made(api("post", "templates/receipt/render", asked))
    assert rendered == {
        "object": "rendered_template",
        "version": 2,
        "subject": "Draft 42",
        "html": "<p>Thank you, &lt;Ada&gt;. <b>Bye</b></p>",
        "text": "Thank you, <Ada>. Bye\n",
    }
    assert made(api("post", "templates/receipt/render", asked | {"version": "published"}))["subject"] == "Order 42"
    assert made(api("post", "templates/receipt/render", asked | {"version": 1}))["subject"] == "Order 42"
    refused(api("post", "templates/receipt/render", asked | {"version": 3}), 404, "not_found")
    assert pointers(
        refused(api("post", "templates/receipt/render", asked | {"version": "1"}), 422, "validation_failed")
    ) == ["/version"]
    problem = refused(
        api("post", "templates/receipt/render", {"variables": {"NAME": 3}}), 422, "template_variables_invalid"
    )
    assert pointers(problem) == ["/variables/NAME", "/variables/ORDER"]
    assert not Message.objects.exists()


def test_keys_do_what_their_scopes_say(api: Api, acme: Organization) -> None:
    identifier = published(api)
    reader, sender, stranger = Api(acme, "read"), Api(acme, "send"), Api(Organization.objects.create(name="Other"))
    reading = [
        ("get", "templates", None), ("get", f"templates/{identifier}", None), ("get", "templates/receipt/versions", None),
        ("get", "templates/receipt/versions/1", None), ("post", "templates/receipt/render", {"variables": {"ORDER": 1}}),
    ]  # fmt: skip
    changing = [
        ("post", "templates", RECEIPT | {"name": "y", "alias": "y"}), ("patch", f"templates/{identifier}", {"name": "z"}),
        ("post", "templates/receipt/publish", None), ("post", "templates/receipt/duplicate", None),
        ("delete", "templates/receipt", None),
    ]  # fmt: skip
    for request in reading:
        made(reader(*request))
        refused(sender(*request), 403, "insufficient_scope")
    for request in changing:
        refused(reader(*request), 403, "insufficient_scope")
        refused(sender(*request), 403, "insufficient_scope")
    for request in [*reading[1:], *changing[1:]]:
        refused(stranger(*request), 404, "not_found")
    assert made(stranger("get", "templates"))["data"] == []
    assert Template.objects.of(acme).count() == 1


@pytest.mark.parametrize(
    "reference", ["nothing", "%00", "%F0%9F%92%8C", "0192a7c1-5d2b-7c3a-9f10-2b7c8d9e0f11", "x" * 300]
)
def test_what_there_is_not_is_not_found(api: Api, reference: str) -> None:
    refused(api("get", f"templates/{reference}"), 404, "not_found")


# ---- sending over REST

SEND: dict[str, Any] = {"to": ["bob@inbox.test"], "template": {"id": "receipt", "variables": {"ORDER": 42}}}


def test_an_email_is_made_from_a_template(api: Api, domain: SendingDomain) -> None:
    identifier = published(api, reply_to=["desk@acme.test"])
    message_id = made(api("post", "emails", SEND), 202)["id"]
    mail = mail_of(message_id)
    assert (mail["From"], mail["To"], mail["Subject"]) == ("Acme <shop@acme.test>", "bob@inbox.test", "Order 42")
    assert mail["Reply-To"] == "desk@acme.test"
    assert body_of(mail, "html") == "<p>Thank you, friend. <b>Bye</b></p>"
    assert body_of(mail, "plain") == "Thank you, friend. Bye"
    message = Message.objects.get(pk=message_id)
    assert (str(message.template_id), message.template_version, message.subject) == (identifier, 1, "Order 42")


def test_a_request_may_have_its_own_sender_subject_and_reply_to(api: Api, domain: SendingDomain) -> None:
    published(api, reply_to=["desk@acme.test"])
    own = {"from": "Eve <eve@acme.test>", "subject": "Own {{ ORDER }}", "reply_to": "eve@acme.test"}
    mail = mail_of(made(api("post", "emails", SEND | own), 202)["id"])
    assert (mail["From"], mail["Reply-To"]) == ("Eve <eve@acme.test>", "eve@acme.test")
    assert mail["Subject"] == "Own {{ ORDER }}"  # it is no template


def test_the_version_that_is_published_is_sent(api: Api, domain: SendingDomain) -> None:
    published(api)
    made(api("patch", "templates/receipt", {"subject": "New {{ ORDER }}"}))
    assert mail_of(made(api("post", "emails", SEND), 202)["id"])["Subject"] == "Order 42"
    made(api("post", "templates/receipt/publish"))

    def subject() -> str:
        return str(mail_of(made(api("post", "emails", SEND), 202)["id"])["Subject"])

    wait_for(lambda: subject() == "New 42", "the new version is sent")  # facts are kept for seconds
    assert Message.objects.order_by("-id")[0].template_version == 2


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"template": {"id": "nothing"}}, "template_unknown", None),
        ({"template": {"id": str(uuid4())}}, "template_unknown", None),
        ({"template": {"id": "draft", "variables": {"ORDER": 1}}}, "template_not_published", None),
        ({"template": {"id": "receipt"}}, "template_variables_invalid", "/template/variables/ORDER"),
        ({"template": {"id": "receipt", "variables": {"ORDER": "1"}}}, "template_variables_invalid",
         "/template/variables/ORDER"),
        ({"template": {"id": "strict"}}, "template_variables_invalid", "/template/variables/user"),
        ({"template": {"id": "broken", "variables": {"x": {"a": 1}}}}, "template_not_renderable", None),
        ({"template": {"id": "costly"}}, "template_too_costly", None),
        ({"template": {"id": "bare"}}, "validation_failed", "/subject"),
        ({"template": {"id": "receipt", "variables": []}}, "validation_failed", "/template/variables"),
        ({"template": {"id": "receipt", "variables": {"a b": 1}}}, "validation_failed", "/template/variables/a b"),
        ({"template": {"variables": {}}}, "validation_failed", "/template/id"),
        ({"template": {"id": "receipt", "version": 1}}, "validation_failed", "/template/version"),
        ({"template": "receipt"}, "validation_failed", "/template"),
        ({"html": "<p>x</p>"}, "validation_failed", "/html"),
        ({"text": ""}, "validation_failed", "/text"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_in_is_refused_before_anything_is_stored(
    api: Api, domain: SendingDomain, change: dict[str, Any], code: str, pointer: str | None
) -> None:
    published(api)
    made(api("post", "templates", RECEIPT | {"name": "d", "alias": "draft"}), 201)
    for alias, fields in {
        "strict": {"html": "{{ user.name }}"},
        "broken": {"html": "{{ x | default: 1 }}"},
        "costly": {"html": "{% for i in (1..5000) %}{% assign a = i | times: i %}{% endfor %}" * 100},
        "bare": {"html": "x", "subject": ""},
    }.items():
        published(api, **{"subject": "x", "variables": [], "name": alias, "alias": alias} | fields)
    problem = refused(api("post", "emails", SEND | change), 422, code)
    if pointer:
        assert pointer in pointers(problem)
    assert not Message.objects.exists()


def test_without_template_the_old_fields_are_required(api: Api, domain: SendingDomain) -> None:
    assert pointers(refused(api("post", "emails", {"to": ["b@c.test"]}), 422, "validation_failed")) == [
        "/from", "/subject", "/text",
    ]  # fmt: skip


def test_no_variable_makes_a_header_line(api: Api, domain: SendingDomain) -> None:
    published(api, subject="Hi {{ x }}", variables=[])
    variables = {"x": "a\r\nBcc: eve@evil.test\r\n\r\nbody", "NAME": "n", "NOTE": ""}
    call = {"template": {"id": "receipt", "variables": variables}}
    mail = mail_of(made(api("post", "emails", SEND | call), 202)["id"])
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Hi a Bcc: eve@evil.test body"


def test_a_repeat_is_recognised_though_the_template_changed(api: Api, domain: SendingDomain) -> None:
    published(api)
    key = {"Idempotency-Key": str(uuid4())}
    first = made(api("post", "emails", SEND, **key), 202)["id"]
    made(api("patch", "templates/receipt", {"subject": "Other {{ ORDER }}"}))
    made(api("post", "templates/receipt/publish"))
    assert made(api("post", "emails", SEND, **key), 202)["id"] == first
    other = SEND | {"template": {"id": "receipt", "variables": {"ORDER": 43}}}
    refused(api("post", "emails", other, **key), 409, "invalid_idempotent_request")


# ---- sending over SMTP


def submit(api: Api, *lines: str, body: str = "ignored", organization: Organization | None = None) -> UUID:
    credential = shared_desk().api_credential(api._headers["Authorization"].removeprefix("Bearer "))
    assert credential is not None
    text = "\r\n".join([*lines, "From: Ada <ada@acme.test>", "To: bob@inbox.test", "", body, ""])
    return (
        shared_desk()
        .submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", ("bob@inbox.test",), text.encode()))
        .message_id
    )


def test_over_smtp_subject_and_body_come_from_the_template(api: Api, domain: SendingDomain) -> None:
    identifier = published(api, reply_to=["desk@acme.test"])
    message_id = submit(
        api, "X-PlugSend-Template: receipt", 'X-PlugSend-Variables: {"ORDER": 42,', ' "NAME": "\u00c4da"}',
        "Subject: mine", "X-Order: 42", "Content-Type: text/plain; charset=us-ascii",
    )  # fmt: skip
    mail = mail_of(message_id)
    assert (mail["From"], mail["Subject"], mail["X-Order"]) == ("Ada <ada@acme.test>", "Order 42", "42")
    assert mail["Reply-To"] == "desk@acme.test"
    assert mail.get_all("MIME-Version") == ["1.0"]
    assert len(mail.get_all("Content-Type") or []) == 1
    assert body_of(mail, "html") == "<p>Thank you, Äda. <b>Bye</b></p>"
    assert not [name for name in mail.keys() if name.lower().startswith("x-plugsend")]  # noqa: SIM118
    assert "ignored" not in mail.as_string()
    message = Message.objects.get(pk=message_id)
    assert (str(message.template_id), message.template_version, message.subject) == (identifier, 1, "Order 42")


def test_over_smtp_a_template_without_subject_leaves_the_messages_own(api: Api, domain: SendingDomain) -> None:
    published(api, subject="")
    mail = mail_of(submit(api, "X-PlugSend-Template: receipt", 'X-PlugSend-Variables: {"ORDER": 1}', "Subject: mine"))
    assert mail["Subject"] == "mine"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["X-PlugSend-Template: nothing"], "template_unknown"),
        (["X-PlugSend-Template: receipt"], "template_variables_invalid"),
        (["X-PlugSend-Template: receipt", 'X-PlugSend-Variables: {"ORDER": "1"}'], "template_variables_invalid"),
        (["X-PlugSend-Template: receipt", "X-PlugSend-Variables: {"], "malformed_option_header"),
        (["X-PlugSend-Template: receipt", "X-PlugSend-Variables: []"], "malformed_option_header"),
        (["X-PlugSend-Template: receipt", "X-PlugSend-Variables: " + "[" * 5000], "malformed_option_header"),
        (["X-PlugSend-Template: receipt", 'X-PlugSend-Variables: {"ORDER": NaN}'], "template_variables_invalid"),
        (["X-PlugSend-Template: receipt", "X-PlugSend-Template: receipt"], "malformed_option_header"),
        (["X-PlugSend-Template:"], "malformed_option_header"),
        (["X-PlugSend-Variables: {}"], "malformed_option_header"),
        (
            [
                "X-PlugSend-Template: receipt",
                'X-PlugSend-Variables: {"ORDER": 1}',
                "Content-Type: multipart/mixed; boundary=b",
            ],
            "template_body_expected",
        ),
    ],
)
def test_over_smtp_what_cannot_be_filled_in_is_refused(
    api: Api, domain: SendingDomain, lines: list[str], code: str
) -> None:
    published(api)
    with pytest.raises(Refused) as told:
        submit(api, *lines)
    assert told.value.code == code
    assert told.value.smtp_reply().startswith("5")
    assert not Message.objects.exists()


def test_over_smtp_other_variables_are_another_message(api: Api, domain: SendingDomain) -> None:
    published(api)
    key = f"X-PlugSend-Idempotency-Key: {uuid4()}"
    call = ["X-PlugSend-Template: receipt", 'X-PlugSend-Variables: {"ORDER": 1}']
    first = submit(api, key, *call)
    assert submit(api, key, *call) == first
    with pytest.raises(Refused, match="invalid_idempotent_request"):
        submit(api, key, call[0], 'X-PlugSend-Variables: {"ORDER": 2}')


# ---- pages


def test_a_messages_page_tells_its_template() -> None:
    tenant = make_tenant("Pages")
    template = create_template(tenant.organization, "Receipt <1>", CONTENT)
    message = make_message(make_domain(tenant.organization, "pages.test"), template_id=template.pk, template_version=3)
    assert "Receipt &lt;1&gt;, version 3" in tenant.client.get(f"/messages/{message.pk}/").content.decode()
    templates.delete_template(template)
    assert "deleted meanwhile, version 3" in tenant.client.get(f"/messages/{message.pk}/").content.decode()


# ---- many at once


def at_once(*works: Callable[[], object]) -> list[object]:
    """Runs them at the same moment, each on a database connection of its own; a refusal is a result."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        try:
            start.wait(20)
            return work()
        except Refused as refusal:
            return refusal.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_of_many_with_one_name_one_is_made(acme: Organization) -> None:
    results = at_once(*[lambda: create_template(acme, "Receipt", CONTENT, alias="r")] * 6)
    assert results.count("template_exists") == 5
    assert Template.objects.count() == TemplateVersion.objects.count() == 1


def test_changes_at_the_same_moment_make_one_draft(acme: Organization) -> None:
    template = create_template(acme, "Receipt", CONTENT)
    publish_template(template)
    changes: list[dict[str, Any]] = [
        {"subject": "a"}, {"html": "<b>b</b>"}, {"text": "c"}, {"sender": "d@acme.test"}, {"variables": (Variable("x"),)},
    ]  # fmt: skip
    results = at_once(*[lambda change=change: update_template(template, change) for change in changes])
    assert results == [None] * 5
    newest = templates.newest_of(template)
    content = templates.content_of(newest.newest)
    assert (newest.newest.number, newest.newest.published_at) == (2, None)
    assert content == TemplateContent(
        sender="d@acme.test", subject="a", html="<b>b</b>", text="c", variables=(Variable("x"),)
    )  # none is lost


def test_publishing_and_changing_at_the_same_moment(acme: Organization) -> None:
    template = create_template(acme, "Receipt", CONTENT)
    for round_ in range(8):
        results = at_once(
            lambda: publish_template(template),
            lambda round_=round_: update_template(template, {"subject": f"s{round_}"}),
            lambda: publish_template(template),
        )
        assert not [result for result in results if isinstance(result, str)]
        numbers = list(template.versions.values_list("number", flat=True))
        assert numbers == list(range(1, len(numbers) + 1))
        assert template.versions.filter(published_at__isnull=True).count() <= 1
        assert templates.newest_of(template).newest.subject == f"s{round_}"


def test_copies_at_the_same_moment_have_names_of_their_own(acme: Organization) -> None:
    template = create_template(acme, "Receipt", CONTENT)
    at_once(*[lambda: templates.duplicate_template(template)] * 4)
    assert len(set(Template.objects.values_list("name", flat=True))) == 5


def test_what_is_deleted_meanwhile_is_not_found(acme: Organization) -> None:
    template = create_template(acme, "Receipt", CONTENT)
    templates.delete_template(Template.objects.get(pk=template.pk))
    with pytest.raises(Refused, match="not_found"):
        update_template(template, {"subject": "x"})
    with pytest.raises(Refused, match="not_found"):
        publish_template(template)
