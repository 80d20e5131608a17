"""The message list, a message with its timelines, its content, and the sandbox's inbox."""

import re
from functools import partial

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from events.models import Event
from relay.models import Content, Recipient
from relay.reading.preview import headers, preview, safe_html
from relay.reading.selectors import messages_page
from relay.sandbox.models import ReceivedMail
from tests.factories import (
    DELIVERED,
    RAW,
    Tenant,
    add_recipient,
    make_domain,
    make_message,
    make_smtp_user,
    make_tenant,
)

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
BOUNCE = {"reply": {"code": 550, "enhanced": "5.1.1", "text": "<bounce@inbox.test>: User unknown"}}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def test_an_empty_list_shows_how_to_send(tenant: Tenant) -> None:
    assert "Go to the overview" in tenant.client.get("/messages/").content.decode()
    make_smtp_user(make_domain(tenant.organization))
    assert "swaks" in tenant.client.get("/messages/").content.decode()


def test_the_list_shows_each_message_with_its_state(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    make_message(domain, subject="Hello <b>you</b>", to="bounce@inbox.test", state="bounced")
    several = make_message(domain, recipient_count=2)
    add_recipient(several, "second@inbox.test", "deferred")

    page = tenant.client.get("/messages/").content.decode()

    assert "Hello &lt;b&gt;you&lt;/b&gt;" in page
    assert "Bounced" in page
    assert "Deferred" in page
    assert "and 1 more" in page


def test_older_messages_are_a_page_away(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.reading.list_views.messages_page", partial(messages_page, limit=2))
    domain = make_domain(tenant.organization)
    for number in range(3):
        make_message(domain, subject=f"Number {number}")

    first = tenant.client.get("/messages/").content.decode()
    older = re.search(r'href="(\?before=[^"]+)"', first)
    assert older
    second = tenant.client.get("/messages/" + older[1]).content.decode()

    assert "Number 2" in first
    assert "Number 0" not in first
    assert "Number 0" in second
    assert "Number 2" not in second
    assert tenant.client.get("/messages/?before=nonsense").status_code == 200


def test_a_delivered_message_shows_reply_exchanger_tls_and_transcript(tenant: Tenant) -> None:
    domain = make_domain(tenant.organization)
    smtp_user = make_smtp_user(domain)
    message = make_message(domain, smtp_user_id=smtp_user.pk, tags=["receipt"])

    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()

    for fact in (
        str(message.pk), "250 2.0.0 Ok: queued as 4F1B72C09D", "mx1.inbox.test", "TLSv1.3, self-signed certificate", "84 ms",
        "acme.test, selector ps1",
        "RCPT TO:&lt;bob@inbox.test&gt;", "receipt", smtp_user.address, "Thank you for your order.",
    ):  # fmt: skip
        assert fact in page, fact
    assert "hx-get" not in page  # nothing moves any more


def test_all_selectors_of_a_delivery_are_shown(tenant: Tenant) -> None:
    dkim = {"domain": "acme.test", "selector": "ps1", "selectors": ["ps1", "pse1"]}
    message = make_message(make_domain(tenant.organization), events=[("delivered", DELIVERED | {"dkim": dkim})])
    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()
    assert "acme.test, selectors ps1 and pse1" in page


def test_a_bounce_says_why_and_what_to_do(tenant: Tenant) -> None:
    message = make_message(
        make_domain(tenant.organization), to="bounce@inbox.test", state="bounced", reason="no_such_address",
        events=[("bounced", BOUNCE)],
    )  # fmt: skip

    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()

    assert "The address does not exist" in page
    assert "Check the spelling" in page
    assert "550 5.1.1 &lt;bounce@inbox.test&gt;: User unknown" in page


def test_each_recipient_has_its_own_timeline(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization), recipient_count=2)
    add_recipient(message, "second@inbox.test", "deferred", reason="greylisted")

    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()

    assert "Timeline of bob@inbox.test" in page
    assert "Timeline of second@inbox.test" in page
    assert "Tries again" in page


def test_a_message_to_many_stays_a_light_page(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization), recipient_count=25)
    for number in range(24):
        add_recipient(message, f"r{number}@inbox.test", "delivered")
    url = reverse("message", args=[message.pk])

    page = tenant.client.get(url).content.decode()

    assert "25 delivered" in page
    assert "1 to 10 of 25" in page
    assert len(page) < 150_000
    assert "Timeline of r23@inbox.test" in tenant.client.get(f"{url}?page=3").content.decode()


def test_a_moving_message_is_polled_until_it_is_final(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization), state="submitted", seconds_ago=1)
    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()
    poll = re.search(r'hx-get="([^"]+)" hx-trigger="every 1s"', page)
    assert poll

    assert tenant.client.get(poll[1], headers=HTMX).status_code == 204
    recipient = Recipient.objects.get(message_id=message.pk)
    Recipient.objects.filter(pk=recipient.pk).update(state="delivered", next_attempt_at=None)
    Event.objects.create(
        organization=tenant.organization, message_id=message.pk, recipient_id=recipient.pk, address=recipient.address,
        type="delivered", occurred_at=timezone.now(), attempt=1,
    )  # fmt: skip

    fragment = tenant.client.get(poll[1], headers=HTMX).content.decode()
    assert "Delivered" in fragment
    assert "hx-get" not in fragment
    assert "<html" not in fragment


def test_the_html_preview_has_no_privilege(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization))

    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()
    frame = tenant.client.get(reverse("message_html", args=[message.pk]))

    assert re.search(r'<iframe[^>]* sandbox src="', page)
    assert frame["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    html = frame.content.decode()
    assert "<h1>Thank you</h1>" in html
    assert "alert" not in html


def test_the_raw_mail_is_a_download(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization))

    answer = tenant.client.get(reverse("message_raw", args=[message.pk]))

    assert answer.content == RAW
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["Content-Type"] == "message/rfc822"


def test_a_message_whose_content_is_gone_keeps_its_timeline(tenant: Tenant) -> None:
    message = make_message(make_domain(tenant.organization))
    Content.objects.filter(pk=message.pk).delete()

    page = tenant.client.get(reverse("message", args=[message.pk])).content.decode()

    assert "no longer kept" in page
    assert "Delivered" in page
    assert tenant.client.get(reverse("message_raw", args=[message.pk])).status_code == 404


# ---- Reading a mail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"<script>alert(1)</script>", b'<img src=x onerror="alert(1)">', b'<a href="javascript:alert(1)">x</a>',
        b"<svg onload=alert(1)>", b'<iframe src="https://evil.test"></iframe>', b'<form action="/x"><input></form>',
        b"<style>@import 'https://evil.test'</style>", b'<meta http-equiv="refresh" content="0;url=https://evil.test">',
        b"<base href='https://evil.test'>",
    ],
)  # fmt: skip
def test_html_is_cleaned(body: bytes) -> None:
    html = safe_html(b"Content-Type: text/html\r\n\r\n<p>kept</p>" + body) or ""

    assert "<p>kept</p>" in html
    for bad in ("alert", "evil.test", "<iframe", "<form", "<script", "<meta http-equiv"):
        assert bad not in html


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\r\n", b"no colon here", b"Subject: =?utf-8?b?broken\r\n\r\nx", b"Content-Type: multipart/mixed\r\n\r\nx",
        b'Content-Type: text/plain; charset="no-such"\r\n\r\n\xff\xfe', b"Content-Transfer-Encoding: base64\r\n\r\n@@@",
        b"From: a\x00b\r\nTo: \xff\r\n\r\n\x00", b'Content-Type: multipart/mixed; boundary="\r\n\r\n--\r\n', b"A" * 200_000,
    ],
)  # fmt: skip
def test_odd_mails_are_shown_somehow(raw: bytes) -> None:
    shown = preview(raw)
    assert len(shown.text) <= 30_000
    assert len(shown.source) <= 40_000
    safe_html(raw)


def test_headers_are_unfolded_and_decoded() -> None:
    raw = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-Long: one\r\n two\r\nReceived: a\r\nReceived: b\r\n\r\nbody"
    assert headers(raw) == [("Subject", "Grüße"), ("X-Long", "one two"), ("Received", "a"), ("Received", "b")]


# ---- The sandbox's inbox ---------------------------------------------------------------------------------------------


def received(to: str = "bob@inbox.test", **fields: object) -> ReceivedMail:
    values = {
        "subject": "Your receipt",
        "header_from": "Ada <ada@acme.test>",
        "dkim": "pass",
        "dkim_domain": "acme.test",
    }
    return ReceivedMail.objects.create(envelope_sender="b@returns.test", recipients=[to], raw=RAW, **(values | fields))


def test_a_mail_shows_the_verdict_on_each_signature(client: Client) -> None:
    verdicts = ["pass rsa-sha256 ps1 acme.test", "fail ed25519-sha256 pse1 acme.test"]
    mail = received(dkim_signatures=verdicts)
    page = client.get(reverse("sandbox:mail", args=[mail.pk])).content.decode()
    assert all(verdict in page for verdict in verdicts)


def test_the_inbox_is_open_and_filtered_by_address(client: Client) -> None:
    received()
    received("carol@inbox.test", subject="For Carol", dkim="none", tls="TLSv1.3")

    everything = client.get("/sandbox/inbox/").content.decode()
    assert "Your receipt" in everything
    assert "DKIM pass" in everything
    assert "For Carol" in everything
    carols = client.get("/sandbox/inbox/?to=Carol@inbox.test").content.decode()
    assert "For Carol" in carols
    assert "Your receipt" not in carols
    assert "Nothing for nobody@inbox.test" in client.get("/sandbox/inbox/?to=nobody@inbox.test").content.decode()


def test_an_arrived_mail_shows_its_verdict_and_a_safe_preview(client: Client) -> None:
    mail = received()

    page = client.get(f"/sandbox/inbox/{mail.pk}/").content.decode()
    frame = client.get(f"/sandbox/inbox/{mail.pk}/html/")

    assert "The signature of acme.test is valid" in page
    assert "Thank you for your order." in page
    assert frame["Content-Security-Policy"].startswith("sandbox;")
    assert client.get(f"/sandbox/inbox/{mail.pk}/raw/").content == RAW


def test_the_inbox_poll_brings_only_news(client: Client) -> None:
    mail = received()
    assert client.get(f"/sandbox/inbox/?seen={mail.pk}", headers=HTMX).status_code == 204
    received(subject="New")
    assert "New" in client.get(f"/sandbox/inbox/?seen={mail.pk}", headers=HTMX).content.decode()
