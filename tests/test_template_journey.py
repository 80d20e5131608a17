"""From a template made over REST to mail that arrives, through both doors of a running PlugSend."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.platform import Platform
from tests.test_never_twice import id_in, submit
from tests.test_rest_door import call, refused

pytestmark = pytest.mark.xdist_group("platform")

TEMPLATE: dict[str, Any] = {
    "subject": "Order {{ ORDER }}",
    "html": "<html><head><style>p{color:red}</style></head><body><p>Thank you, {{ NAME }}.</p>"
    "{% for item in items %}<p>{{ item }}</p>{% endfor %}</body></html>",
    "from": "Demo <shop@demo.test>",
    "variables": [
        {"key": "NAME", "type": "string"},
        {"key": "ORDER", "type": "number"},
        {"key": "items", "type": "list", "fallback_value": []},
    ],
}
VARIABLES = {"NAME": "<Ada>", "ORDER": 42, "items": ["Tea", "Rum"]}


@pytest.fixture
def alias(platform: Platform) -> str:
    alias = f"receipt-{uuid4().hex[:12]}"
    made = call(platform, "POST", "/templates", json=TEMPLATE | {"name": alias, "alias": alias})
    assert made.status_code == 201, made.text
    assert call(platform, "POST", f"/templates/{alias}/publish").status_code == 200
    return alias


def arrived(platform: Platform, message_id: UUID, recipient: str) -> EmailMessage:
    platform.wait_event(message_id, "delivered")
    [(raw, dkim, _, _)] = platform.inbox(recipient)
    assert dkim == "pass"
    return message_from_bytes(raw, policy=policy.default)


def check_content(mail: EmailMessage) -> None:
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert mail["Subject"] == "Order 42"
    assert html is not None
    assert text is not None
    assert '<p style="color: red;">Thank you, &lt;Ada&gt;.</p>' in html.get_content()
    assert text.get_content().split() == ["Thank", "you,", "<Ada>.", "Tea", "Rum"]


def test_mail_from_a_template_arrives_over_rest(platform: Platform, alias: str) -> None:
    recipient = f"{uuid4().hex}@template.test"
    sent = call(platform, "POST", "/emails", json={"to": recipient, "template": {"id": alias, "variables": VARIABLES}})
    assert sent.status_code == 202, sent.text
    mail = arrived(platform, UUID(sent.json()["id"]), recipient)
    check_content(mail)
    assert mail["From"] == "Demo <shop@demo.test>"


def test_mail_from_a_template_arrives_over_smtp(platform: Platform, alias: str) -> None:
    recipient = f"{uuid4().hex}@template.test"
    lines = [
        f"X-PlugSend-Template: {alias}", 'X-PlugSend-Variables: {"NAME": "<Ada>", "ORDER": 42,', '\t"items": ["Tea", "Rum"]}',
        "From: Admin <admin@demo.test>", f"To: {recipient}", "", "", "",
    ]  # fmt: skip
    with platform.smtp() as client:
        message_id = id_in(submit(client, recipient, "\r\n".join(lines)))
        mail = arrived(platform, message_id, recipient)
        code, reply = submit(client, recipient, "\r\n".join([lines[0], *lines[3:]]))
    check_content(mail)
    assert mail["From"] == "Admin <admin@demo.test>"
    assert code == 554
    assert reply.startswith(
        f"5.6.0 template_variables_invalid: Template {alias}: NAME: is required; ORDER: is required. "
    )


def test_a_busy_template_does_not_keep_others_waiting(platform: Platform, alias: str) -> None:
    busy = {"name": uuid4().hex, "html": "{% for i in (1..5000) %}{% assign a = i | times: i %}{% endfor %}" * 100}
    made = call(platform, "POST", "/templates", json=busy).json()["id"]
    refused(call(platform, "POST", f"/templates/{made}/render", json={}), 422, "template_too_costly")
    rendered = call(platform, "POST", f"/templates/{alias}/render", json={"variables": VARIABLES})
    assert rendered.json()["subject"] == "Order 42"
