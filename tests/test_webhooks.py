"""Events reach the organization's own systems: each once for each endpoint that wants it, signed, in order, until taken."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import svix.webhooks
from django.conf import settings as django_settings
from django.core import mail
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings
from standardwebhooks.webhooks import Webhook

from accounts.catalogue import Refused
from accounts.ids import first_id_at, uuid7
from accounts.models import AuditEntry, Notice
from accounts.notices import send_due
from domains.models import SendingDomain
from events.models import Event
from relay.database import database_url
from relay.mail_rows import deletions
from relay.models import Message
from relay.webhooks import attempts, endpoints, fair, fanout, queue, replays, sender, worker
from relay.webhooks.endpoints import create_endpoint, secrets_of
from relay.webhooks.fair import Waiting, share_out
from relay.webhooks.models import (
    Cause,
    DeliveryState,
    EndpointState,
    WebhookDelivery,
    WebhookEndpoint,
)
from relay.webhooks.troubles import trouble_of
from tests.factories import make_domain, make_message, make_tenant
from tests.free_port import free_port
from tests.webhook_receiver import Receiver, plain, receiver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def domain() -> SendingDomain:
    return make_domain(make_tenant().organization)


@pytest.fixture(autouse=True)
def no_trial(settings: Settings) -> None:
    settings.RETRY_SCALE = 1.0


def send_due_now() -> None:
    worker.send_due(uuid7())  # all events of before


def due_again() -> None:
    """As if the time had come."""
    WebhookDelivery.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())


def test_an_event_arrives_signed_and_two_verifiers_take_it(hooks: Receiver, domain: SendingDomain) -> None:
    endpoint = create_endpoint(domain.organization, hooks.url("/ok"))
    former = secrets_of(endpoint)[0]
    new = endpoints.rotate_secret(endpoint)
    message = make_message(domain, tags=["kind:receipt"], metadata={"order": "17"})

    send_due_now()

    sent, delivered = hooks.received
    event = Event.objects.get(type="delivered")
    for secret in (former, new):  # both for a day
        for one in (sent, delivered):
            assert Webhook(secret).verify(one.body, one.headers) == json.loads(one.body)
            svix.webhooks.Webhook(secret).verify(one.body, {k: v for k, v in one.headers.items() if k[:5] == "svix-"})
    with pytest.raises(svix.webhooks.WebhookVerificationError):
        svix.webhooks.Webhook(former).verify(sent.body + b" ", sent.headers)
    assert delivered.headers["webhook-id"] == str(event.pk)
    payload = json.loads(delivered.body)
    assert (json.loads(sent.body)["type"], payload["type"]) == ("email.sent", "email.delivered")
    told = payload["data"]
    assert told["email_id"] == str(message.pk)
    assert told["to"] == ["bob@inbox.test"]
    assert (told["from"], told["subject"]) == ("Ada <ada@acme.test>", "Your receipt")
    assert (told["tags"], told["metadata"]) == ({"kind": "receipt"}, {"order": "17"})
    assert told["reply"]["code"] == 250
    assert told["event_id"] == str(event.pk)
    endpoints.rotate_secret(endpoint, keep_former=timedelta(0))
    endpoint.refresh_from_db()
    assert len(secrets_of(endpoint)) == 1


def test_what_is_wanted_is_sent_and_nothing_else(hooks: Receiver, domain: SendingDomain) -> None:
    other, stranger = (
        make_domain(domain.organization, "other.test"),
        make_domain(make_tenant("Umbrella").organization, "umbrella.test"),
    )
    before = make_message(domain, to="before@inbox.test")
    bounces = create_endpoint(domain.organization, hooks.url("/ok"), event_types=["bounced"])
    of_other = create_endpoint(domain.organization, hooks.url("/no-content"), domain_id=other.pk)
    theirs = create_endpoint(stranger.organization, hooks.url("/chunked"))
    for sending in (domain, other, stranger):
        make_message(sending, to="gone@inbox.test", state="bounced", reason="no_such_address")

    send_due_now()

    told = [(one.endpoint_id, one.type) for one in WebhookDelivery.objects.order_by("id")]
    assert sorted(told) == sorted([
        (bounces.pk, "email.bounced"), (bounces.pk, "email.bounced"),
        (of_other.pk, "email.sent"), (of_other.pk, "email.bounced"),
        (theirs.pk, "email.sent"), (theirs.pk, "email.bounced"),
    ])  # fmt: skip
    assert not WebhookDelivery.objects.filter(message_id=before.pk).exists()
    bounce = json.loads(hooks.of("/ok")[0].body)["data"]["bounce"]
    assert (bounce["type"], bounce["subType"]) == ("Permanent", "no_such_address")
    assert {one.organization_id for one in WebhookDelivery.objects.filter(endpoint_id=theirs.pk)} == {
        stranger.organization_id
    }
    send_due_now()  # once each
    assert len(hooks.received) == 6


# ---- Receivers that fail in every way --------------------------------------------------------------------------------

TAKEN = {"/ok", "/no-content", "/huge", "/breaks-off", "/chunked", "/zipped", "/binary"}
SAID = {
    "/error": (500, "the answer was 500 Internal Server Error"),
    "/forbidden": (403, "the answer was 403 Forbidden"),
    "/moved": (307, "it redirects (307)"),
    "/gone": (410, "the answer was 410 Gone"),
    "/busy": (429, "the answer was 429 Too Many Requests"),
    "/away": (503, "the answer was 503 Service Unavailable"),
    "/garbage": (None, "the answer was “I am no HTTP server”"),
    "/cut": (None, "127.0.0.1: 10 bytes read on a total of"),
    "/endless-head": (None, "127.0.0.1: "),
    "/nothing": (None, "127.0.0.1: 0 bytes read on a total of"),
    "/silent": (None, "127.0.0.1 took more than 4 seconds"),
    "/closed": (None, "127.0.0.1 (127.0.0.1): "),
}


def test_whatever_a_receiver_does_is_told_and_tried_again(
    hooks: Receiver, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", 4.0)
    urls = {path: hooks.url(path) for path in hooks.answers} | {"/closed": f"http://127.0.0.1:{free_port()}/"}
    monkeypatch.setattr(endpoints, "ENDPOINTS_MOST", len(urls))
    made = {path: create_endpoint(domain.organization, url) for path, url in urls.items()}
    for endpoint in made.values():
        endpoints.send_test(endpoint)

    send_due_now()

    for path, endpoint in made.items():
        one = WebhookDelivery.objects.get(endpoint_id=endpoint.pk)
        [attempt] = one.log
        endpoint.refresh_from_db()
        if path in TAKEN:
            assert (one.state, one.next_attempt_at, attempt["error"]) == (DeliveryState.DELIVERED, None, ""), path
            assert endpoint.failures == 0
            continue
        status, error = SAID[path]
        assert (attempt["status"], attempt["error"][: len(error)]) == (status, error), path
        assert endpoint.failures == 1
        assert endpoint.last_result.startswith(error)
        if path == "/gone":
            assert (one.state, endpoint.state) == (DeliveryState.FAILED, EndpointState.GONE)
            continue
        assert one.state == DeliveryState.WAITING, path
        wait_s = (one.next_attempt_at - timezone.now()).total_seconds()
        assert (100 < wait_s <= 120) if path == "/busy" else wait_s < 6
    logged = {
        path: WebhookDelivery.objects.get(endpoint_id=made[path].pk).log[0]["response"]
        for path in ("/huge", "/binary", "/chunked")
    }
    assert logged == {"/huge": "x" * 2048, "/binary": "\ufffd\ufffd\ufffd[1m", "/chunked": "yes"}


def test_it_is_tried_for_three_days_and_then_given_up(hooks: Receiver, domain: SendingDomain) -> None:
    endpoint = create_endpoint(domain.organization, hooks.url("/error"))
    endpoints.send_test(endpoint)
    waits = []
    for _ in range(20):
        send_due_now()
        one = WebhookDelivery.objects.get()
        if one.next_attempt_at is None:
            break
        waits.append((one.next_attempt_at - timezone.now()).total_seconds())
        due_again()

    assert one.state == DeliveryState.FAILED
    assert one.attempts == len(one.log) == len(waits) + 1 == 13
    assert waits == sorted(waits)
    assert waits[0] < 6
    assert 55 * 3600 < sum(waits) < 72 * 3600
    assert {one.headers["webhook-id"] for one in hooks.received} == {str(one.webhook_id)}


def test_what_nobody_could_send_is_given_up_after_three_days(domain: SendingDomain) -> None:
    endpoint = create_endpoint(domain.organization, "https://example.com/")
    old = first_id_at(timezone.now() - timedelta(hours=73))
    WebhookDelivery.objects.create(
        id=old, organization=domain.organization, endpoint_id=endpoint.pk, webhook_id=old, type="webhook.test", body="{}",
        next_attempt_at=timezone.now(),
    )  # fmt: skip
    endpoints.send_test(endpoint)
    assert queue.give_up_old() == 1
    assert list(WebhookDelivery.objects.order_by("id").values_list("state", flat=True)) == ["failed", "waiting"]


def test_events_of_one_recipient_arrive_in_order(hooks: Receiver, domain: SendingDomain) -> None:
    """Until the first was tried three times; events of others do not wait."""
    create_endpoint(domain.organization, hooks.url("/ok"))
    waiting, other = (make_message(domain, to=f"{name}@inbox.test") for name in ("waiting", "other"))
    hooks.decide = lambda one: plain("500 No" if b'"email.sent"' in one.body and b"waiting@" in one.body else "200 OK")

    def came(message: Message) -> list[str]:
        return [json.loads(one.body)["type"] for one in hooks.received if str(message.pk).encode() in one.body]

    send_due_now()
    assert (came(waiting), came(other)) == (["email.sent"], ["email.sent", "email.delivered"])
    send_due_now()  # the second waits until the first is due
    assert came(waiting) == ["email.sent"]
    due_again()
    send_due_now()
    assert came(waiting) == ["email.sent"] * 2
    due_again()
    send_due_now()
    assert came(waiting)[:3] == ["email.sent"] * 3
    due_again()
    send_due_now()
    assert came(waiting).count("email.delivered") == 1
    hooks.decide = None
    due_again()
    send_due_now()
    assert not WebhookDelivery.objects.exclude(state=DeliveryState.DELIVERED).exists()


def test_an_endpoint_that_only_fails_is_paused_and_its_events_wait(hooks: Receiver, domain: SendingDomain) -> None:
    endpoint = create_endpoint(domain.organization, hooks.url("/error"))
    for _ in range(attempts.PAUSED_AFTER_FAILURES):
        endpoints.send_test(endpoint)
    send_due_now()
    endpoint.refresh_from_db()
    assert endpoint.state == EndpointState.ENABLED
    assert endpoint.failures == 20
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(hours=25))
    endpoints.send_test(endpoint)
    send_due_now()

    endpoint.refresh_from_db()
    assert endpoint.state == EndpointState.PAUSED
    assert "500 Internal Server Error" in endpoint.state_reason
    assert AuditEntry.objects.get(action="webhook.paused").actor_kind == "system"
    assert Notice.objects.get().template == "webhook_paused"
    make_message(domain)
    asked = len(hooks.received)
    send_due_now()
    assert len(hooks.received) == asked
    assert WebhookDelivery.objects.filter(type="email.delivered").count() == 1
    hooks.answers["/error"] = plain("200 OK")
    endpoints.enable(endpoint)
    due_again()
    send_due_now()
    assert not WebhookDelivery.objects.exclude(state=DeliveryState.DELIVERED).exists()


@pytest.mark.parametrize("has_another", [False, True])
def test_what_happens_while_it_is_disabled_is_not_for_it(
    hooks: Receiver, domain: SendingDomain, has_another: bool
) -> None:
    endpoint = create_endpoint(domain.organization, hooks.url("/ok"), event_types=["delivered"])
    if has_another:  # for which the log is read meanwhile
        create_endpoint(domain.organization, hooks.url("/no-content"))
    endpoints.disable(endpoint)
    make_message(domain, to="meanwhile@inbox.test")
    send_due_now()
    endpoints.enable(endpoint)
    after = make_message(domain, to="after@inbox.test")
    send_due_now()
    told = WebhookDelivery.objects.filter(endpoint_id=endpoint.pk).values_list("message_id", "type")
    assert list(told) == [(after.pk, "email.delivered")]


def test_410_disables_and_owners_are_told(hooks: Receiver, domain: SendingDomain) -> None:
    endpoint = create_endpoint(domain.organization, hooks.url("/gone"))
    make_message(domain)
    make_message(domain, to="eve@inbox.test")
    send_due_now()
    send_due_now()

    endpoint.refresh_from_db()
    assert endpoint.state == EndpointState.GONE
    states = list(WebhookDelivery.objects.values_list("state", flat=True))
    assert DeliveryState.WAITING not in states
    assert DeliveryState.CANCELLED in states
    send_due()
    assert len(mail.outbox) == 1
    assert hooks.url("/gone") in mail.outbox[0].body
    make_message(domain)
    send_due_now()
    assert len(states) == WebhookDelivery.objects.count()


def test_what_waits_for_an_endpoint_that_is_removed_or_disabled_is_cancelled(
    hooks: Receiver, domain: SendingDomain
) -> None:
    removed, disabled = (create_endpoint(domain.organization, hooks.url("/error")) for _ in range(2))
    make_message(domain)
    send_due_now()
    endpoints.remove_endpoint(removed)
    endpoints.disable(disabled)
    send_due_now()
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"cancelled"}


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://example.com/", "must begin with https://"),
        ("https://10.0.0.1/", "10.0.0.1 is not a public address"),
        ("https://[::ffff:127.0.0.1]/", "is not a public address"),
        ("https://ada:secret@example.com/", "must not hold a user name"),
        ("https://example.com:22/", "port 22"),
        ("nonsense", "must begin with https://"),
    ],
)
def test_events_go_to_public_addresses_only(url: str, problem: str, domain: SendingDomain, settings: Settings) -> None:
    settings.SANDBOX = False
    with pytest.raises(Refused, match="webhook_url_invalid") as refused:
        create_endpoint(domain.organization, url)
    assert problem in refused.value.detail


def test_a_name_that_leads_into_our_network_is_not_asked(
    hooks: Receiver, domain: SendingDomain, settings: Settings
) -> None:
    settings.SANDBOX = False
    endpoints.send_test(create_endpoint(domain.organization, f"https://localhost:{hooks.port}/ok"))
    send_due_now()
    assert "not a public address" in WebhookDelivery.objects.get().log[0]["error"]
    assert not hooks.received


def test_there_are_so_many_endpoints_and_no_more(domain: SendingDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "ENDPOINTS_MOST", 1)
    create_endpoint(domain.organization, "https://example.com/")
    with pytest.raises(Refused, match="too_many_webhooks"):
        create_endpoint(domain.organization, "https://example.com/")


def test_deliveries_are_forgotten_with_their_message(hooks: Receiver, domain: SendingDomain) -> None:
    create_endpoint(domain.organization, hooks.url("/ok"))
    forgotten, kept = make_message(domain), make_message(domain)
    send_due_now()
    [deletion] = [one for one in deletions(domain.organization_id, [forgotten.pk]) if one.model is WebhookDelivery]
    with connection.cursor() as cursor:
        cursor.execute(deletion.statement, deletion.terms)
    assert set(WebhookDelivery.objects.values_list("message_id", flat=True)) == {kept.pk}


# ---- Sending again ---------------------------------------------------------------------------------------------------


def test_sending_again_keeps_the_id_and_the_body(
    hooks: Receiver, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "AT_ONCE", 3)
    endpoint = create_endpoint(domain.organization, hooks.url("/ok"))
    since = timezone.now() - timedelta(seconds=5)
    for number in range(4):
        make_message(domain, to=f"{number}@inbox.test")
    send_due_now()
    first = WebhookDelivery.objects.earliest("id")

    replays.replay(first)
    send_due_now()
    assert (hooks.received[-1].body, hooks.received[-1].headers["webhook-id"]) == (
        first.body.encode(),
        str(first.webhook_id),
    )

    replays.request_replay(endpoint, since=since, type_="email.delivered")
    send_due_now()
    again = WebhookDelivery.objects.filter(cause=Cause.REPLAY, type="email.delivered")
    assert again.count() == 4
    assert len({one.webhook_id for one in again}) == 4
    assert len(hooks.received) == 8 + 1 + 4
    assert not endpoint.replays.filter(ended_at=None).exists()


HEARD = {
    "127.0.0.1 (127.0.0.1): [Errno 111] Connection refused": "Nothing takes connections",
    "h.test (192.0.2.1): [Errno 111] Connect call failed ('192.0.2.1', 443)": "Nothing takes connections",
    "h.test has no address": "name of the host was not found",
    "h.test is at 10.0.0.1, not a public address": "private network",
    "there is no route from here to h.test at 2001:db8::1": "no way from here",
    "h.test (192.0.2.1) did not answer": "No connection came about",
    "h.test took more than 15 seconds": "took too long",
    "h.test (192.0.2.1): [SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired": "has expired",
    "h.test (192.0.2.1): [SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, c": "another name",
    "h.test (192.0.2.1): [SSL: CERTIFICATE_VERIFY_FAILED] self-signed": "cannot be trusted",
    "h.test (192.0.2.1): [SSL: WRONG_VERSION_NUMBER] wrong version number": "encrypted connection",
    "h.test: 0 bytes read on a total of undefined expected bytes": "ended before there was an answer",
    "it redirects (301), which is not followed; give the final address": "leads on to another",
    "the answer was 401 Unauthorized": "wants a login",
    "the answer was 404 Not Found": "nothing at this address",
    "the answer was 418 I'm a teapot": "did not take the event",
    "the answer was 502 Bad Gateway": "behind your server",
    "the answer was 500 Internal Server Error": "failed at this event",
    "the answer was “SSH-2.0-OpenSSH”": "does not speak HTTP",
    "our own error: KeyError": "PlugSend itself",
    "something that nobody has heard of": "did not get through",
}


def test_why_an_attempt_failed_is_told_in_words() -> None:
    assert trouble_of("200, in 12 ms") is None
    for heard, what in HEARD.items():
        trouble = trouble_of(heard)
        assert trouble, heard
        assert what in trouble.what, heard
        assert trouble.advice
        assert trouble.heard == heard


def test_pages_follow_what_moves_and_are_silent_otherwise(hooks: Receiver) -> None:
    """htmx asks with a mark of what is shown; the secret, once shown, and what somebody types are not in what comes."""
    tenant = make_tenant()
    browser, endpoint = tenant.client, create_endpoint(tenant.organization, hooks.url("/error"))
    delivery = endpoints.send_test(endpoint)

    def ask(path: str, seen: str) -> tuple[int, str]:
        answer = browser.get(path, {"seen": seen}, headers={"HX-Request": "true"})
        return answer.status_code, answer.content.decode()

    def mark(shown: str) -> str:
        return shown.partition("?seen=")[2].partition('"')[0]

    pages = {path: browser.get(path).content.decode() for path in (
        "/webhooks/", f"/webhooks/{endpoint.pk}/", f"/webhooks/deliveries/{delivery.pk}/",
    )}  # fmt: skip
    assert {ask(path, mark(shown)) for path, shown in pages.items()} == {(204, "")}
    assert "appears here" in pages[f"/webhooks/deliveries/{delivery.pk}/"]

    send_due_now()

    for path, shown in pages.items():
        status, part = ask(path, mark(shown))
        assert status == 200
        assert "<html" not in part
        assert "Your program failed at this event." in part, path
        assert "Signing secret" not in part
        assert ask(path, mark(part)) == (204, "")
    status, part = ask(f"/webhooks/{endpoint.pk}/", mark(pages[f"/webhooks/{endpoint.pk}/"]))
    assert 'id="standing"' in part
    assert 'id="acts"' not in part  # the state is the same, and so are its buttons
    endpoints.disable(endpoint)
    assert 'id="acts"' in ask(f"/webhooks/{endpoint.pk}/", mark(part))[1]


def test_a_member_does_all_of_it_on_pages(hooks: Receiver) -> None:
    tenant = make_tenant()
    domain, browser = make_domain(tenant.organization), tenant.client
    refused = browser.post("/webhooks/create/", {"url": "ftp://example.com/"}).content.decode()
    assert "must begin with" in refused
    made = browser.post("/webhooks/create/", {"url": hooks.url("/ok"), "event_types": ["delivered"]})
    endpoint = WebhookEndpoint.objects.get()
    page = f"/webhooks/{endpoint.pk}/"
    assert made.headers["Location"] == page
    secret = secrets_of(endpoint)[0]
    assert secret not in browser.get(page).content.decode()
    assert secret in browser.post(page).content.decode()
    message = make_message(domain)
    browser.post(f"{page}test/")
    send_due_now()
    assert [json.loads(one.body)["type"] for one in hooks.received] == ["webhook.test", "email.delivered"]
    assert "email.delivered" in browser.get(f"/messages/{message.pk}/").content.decode()
    shown = browser.get(f"{page}?state=delivered&type=email.delivered&hours=24").content.decode()
    assert shown.count("/webhooks/deliveries/") == 1
    terms = {"hours": "1", "state": "delivered", "type": "email.delivered"}
    assert "Send 1 again" in browser.get(f"{page}replay/", terms).content.decode()
    browser.post(f"{page}replay/", terms)
    send_due_now()
    assert len(hooks.received) == 3
    delivery = WebhookDelivery.objects.latest("id")
    assert "by sending it again" in browser.get(f"/webhooks/deliveries/{delivery.pk}/").content.decode()
    assert browser.post(f"{page}remove/").headers["Location"] == "/webhooks/"
    assert not WebhookEndpoint.objects.exists()
    assert browser.get(f"/webhooks/deliveries/{delivery.pk}/").status_code == 200


# ---- Fair between organizations --------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=60),
    st.integers(0, fair.IN_FLIGHT),
    st.integers(0, fair.IN_TROUBLE),
)
def test_shares_are_within_all_limits_and_leave_nobody_out(
    rows: list[tuple[int, int, bool]], in_flight: int, in_trouble: int
) -> None:
    waiting = [Waiting(uuid7(), UUID(int=org), busy, trouble) for org, busy, trouble in rows]
    shares = share_out(waiting, in_flight, in_trouble)

    by_id = {one.endpoint_id: one for one in waiting}
    assert all(by_id[key].in_flight + number <= by_id[key].most for key, number in shares.items())
    assert sum(shares.values()) + in_flight <= fair.IN_FLIGHT or not shares
    troubled = sum(number for key, number in shares.items() if by_id[key].is_in_trouble)
    assert troubled + in_trouble <= fair.IN_TROUBLE or not troubled
    if sum(shares.values()) + in_flight < fair.IN_FLIGHT:  # there was room: all healthy ones have what they may
        for one in waiting:
            if not one.is_in_trouble:
                assert shares.get(one.endpoint_id, 0) == max(0, one.most - one.in_flight)


def test_dead_endpoints_of_one_do_not_delay_another(
    hooks: Receiver, domain: SendingDomain, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.RETRY_SCALE = 10.0
    monkeypatch.setattr(sender, "TIMEOUT_S", 5.0)
    other = make_domain(make_tenant("Umbrella").organization, "umbrella.test")
    for _ in range(endpoints.ENDPOINTS_MOST):
        endpoints.send_test(create_endpoint(domain.organization, hooks.url("/silent")))
    create_endpoint(other.organization, hooks.url("/ok"))
    for number in range(30):
        make_message(other, to=f"{number}@inbox.test")
    began = time.monotonic()
    send_due_now()
    assert len(hooks.of("/silent")) == endpoints.ENDPOINTS_MOST
    assert len(hooks.of("/ok")) == 60
    assert max(one.at for one in hooks.of("/ok")) < began + 5.0  # all, before the first dead one was given up


# ---- The log is the outbox -------------------------------------------------------------------------------------------

Wanted = tuple[int, frozenset[str], int | None]  # organization, types, domain


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.frozensets(st.sampled_from(["submitted", "delivered", "bounced"]), max_size=2),
            st.sampled_from([None, 0, 1]),
        ),
        max_size=4,
    ),
    mails=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from(["delivered", "bounced"])), max_size=8
    ),
    at_once=st.integers(1, 5),
    crashes=st.lists(st.integers(5, 12), max_size=6),
)
def test_each_event_is_handed_out_once_to_whom_it_concerns_whatever_crashes(
    wanted: list[Wanted], mails: list[tuple[int, int, str]], at_once: int, crashes: list[int]
) -> None:
    mark = uuid7().hex[-8:]
    domains = [
        [make_domain(organization, f"{n}.{which}.{mark}.test") for n in range(2)]
        for which in range(2)
        for organization in [make_tenant(f"{mark}{which}").organization]
    ]
    made = [
        create_endpoint(domains[org][0].organization, "https://hooks.example/", event_types=types,
                        domain_id=None if domain is None else domains[org][domain].pk)
        for org, types, domain in wanted
    ]  # fmt: skip
    for org, number, state in mails:
        make_message(domains[org][number], state=state, reason="policy" if state == "bounced" else "")
    top = uuid7()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fanout, "EVENTS_AT_ONCE", at_once)
        for statement in crashes:
            with crash_at(statement):
                fanout.hand_out_next(top)
        while fanout.hand_out_next(top):
            pass

    expected = Counter(
        (endpoint.pk, event.pk)
        for event in Event.objects.filter(id__lt=top)
        for endpoint, (org, types, number) in zip(made, wanted, strict=True)
        if event.organization_id == endpoint.organization_id
        and (not types or event.type in types)
        and (number is None or Message.objects.get(pk=event.message_id).domain_id == domains[org][number].pk)
    )
    found = WebhookDelivery.objects.filter(endpoint_id__in=[one.pk for one in made])
    assert Counter(found.values_list("endpoint_id", "webhook_id")) == expected
    WebhookEndpoint.objects.all().delete()


class Crash(Exception):
    pass


@contextmanager
def crash_at(statement: int) -> Iterator[None]:
    """The process dies before this statement; the database takes back what is open."""
    count = 0

    def count_down(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal count
        count += 1
        if count == statement:
            raise Crash
        return execute(sql, params, many, context)

    with suppress(Crash), connection.execute_wrapper(count_down):
        yield


SENDING = """
import django
django.setup()
from datetime import timedelta
from relay.webhooks import fanout, queue, worker
fanout.EVENTS_AT_ONCE, queue.LEASE = 7, timedelta(seconds=1)
while True:
    worker.send_due()
"""


def test_nothing_is_lost_or_invented_when_senders_are_killed(hooks: Receiver, domain: SendingDomain) -> None:
    made = [create_endpoint(domain.organization, hooks.url(path)) for path in ("/ok", "/no-content")]
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "plugsend.settings", "DATABASE_URL": database_url(),
        "FIELD_ENCRYPTION_KEY": django_settings.FIELD_ENCRYPTION_KEY,
    }  # fmt: skip
    chance = random.Random(7)
    for number in range(40):
        make_message(domain, to=f"{number}@inbox.test", raw=None)
    came = 0
    for _ in range(4):
        senders = [subprocess.Popen([sys.executable, "-c", SENDING], env=environment) for _ in range(2)]
        deadline = time.monotonic() + 20
        while len(hooks.received) < came + chance.randint(5, 30) and time.monotonic() < deadline:
            time.sleep(0.01)  # polls what the receiver has
        for one in senders:
            one.kill()
            one.wait()
        came = len(hooks.received)

    deadline = time.monotonic() + 60
    while WebhookDelivery.objects.count() < 160 or WebhookDelivery.objects.exclude(state="delivered").exists():
        assert time.monotonic() < deadline
        worker.send_due()
    rows = Counter(WebhookDelivery.objects.values_list("endpoint_id", "webhook_id"))
    events = list(Event.objects.values_list("pk", flat=True))
    assert rows == Counter((endpoint.pk, event) for endpoint in made for event in events)
    for path in ("/ok", "/no-content"):
        assert {one.headers["webhook-id"] for one in hooks.of(path)} == set(map(str, events))
