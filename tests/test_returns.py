"""What comes back by real SMTP becomes what it means, once, for the right recipient; all else is refused or only counted."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import AuditEntry
from domains.models import SendingDomain
from events.models import Event
from relay.audit import disagreements
from relay.database import database_url
from relay.delivery.return_path import message_return_path, return_path
from relay.models import Message, Recipient, ReturnCount, ReturnedMessage, ReturnOutcome, Suppression
from relay.reading.timeline_links import share
from relay.returns import record as record_module
from relay.returns import server as server_module
from relay.returns.parts import READ_MOST
from relay.returns.record import TOLD_MOST, Arrival, forget_old, record
from relay.returns.server import ReturnsLimits, ReturnsServer
from relay.statistics.audit import disagreements as number_disagreements
from relay.statistics.models import Rollup
from relay.statistics.rollup import count_again
from tests.factories import Tenant, add_recipient, make_domain, make_message, make_tenant
from tests.platform import wait_for
from tests.returning import AUTO_REPLY, bounce, bring, client_of, complaint, running_returns

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[ReturnsServer]:
    with running_returns() as running:
        yield running


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def message(tenant: Tenant) -> Iterator[Message]:
    """Delivered to bob@inbox.test. Whatever a test does to it, states and events agree."""
    yield make_message(make_domain(tenant.organization))
    with psycopg.connect(database_url()) as database:
        assert disagreements(database) == []


def only(message: Message) -> Recipient:
    return Recipient.objects.get(message_id=message.pk)


def path_of(recipient: Recipient) -> str:
    return return_path(recipient.pk, "acme.test")


def course(recipient: Recipient) -> list[str]:
    return list(Event.objects.filter(recipient_id=recipient.pk).order_by("id").values_list("type", flat=True))


def counted() -> dict[tuple[str, str], int]:
    return {(one.kind, one.outcome): one.count for one in ReturnCount.objects.all()}


# ---- What it means ---------------------------------------------------------------------------------------------------


def test_a_late_bounce_is_recorded_once_with_its_reason_and_suppresses(server: ReturnsServer, message: Message) -> None:
    recipient = only(message)
    for _ in range(2):  # once more, as after a lost 250
        assert bring(server, path_of(recipient), bounce("bob@inbox.test"))[0] == 250
    # Another server's report, or another text, of the same.
    assert bring(server, path_of(recipient), bounce("bob@inbox.test", "smtp; 552 5.2.2 Mailbox full"))[0] == 250
    recipient.refresh_from_db()
    assert (recipient.state, recipient.reason, recipient.last_reply) == (
        "bounced",
        "no_such_address",
        "550 5.1.1 User unknown",
    )
    assert course(recipient) == ["submitted", "delivered", "bounced"]
    event = Event.objects.get(type="bounced")
    assert event.detail["reply"] == {"code": 550, "enhanced": "5.1.1", "text": "User unknown"}
    assert event.detail["reported_by"] == "mx.far.test"
    assert event.detail["exchanger"]["host"] == "mx1.inbox.test"
    suppression = Suppression.objects.get()
    assert (suppression.address, suppression.reason, suppression.message_id) == (
        "bob@inbox.test",
        "no_such_address",
        message.pk,
    )
    assert AuditEntry.objects.filter(action="suppression.added").count() == 1
    assert counted() == {("bounce", "recorded"): 1, ("bounce", "repeated"): 2}
    assert list(ReturnedMessage.objects.values_list("outcome", "raw")) == [("recorded", None), ("repeated", None)]


def test_a_soft_bounce_suppresses_nobody(server: ReturnsServer, message: Message) -> None:
    bring(server, path_of(only(message)), bounce("bob@inbox.test", "smtp; 552 5.2.2 Mailbox full", status="5.2.2"))
    assert (only(message).state, only(message).reason) == ("bounced", "mailbox_full")
    assert not Suppression.objects.exists()


def test_return_path_tells_whom_it_is_about_whatever_the_report_says(server: ReturnsServer, message: Message) -> None:
    """Of a recipient who has his mail passed on, and by servers that spell the path otherwise (a CNAME's target, capitals)."""
    recipient = only(message)
    local = path_of(recipient).partition("@")[0]
    assert bring(server, f"{local.upper()}@{settings.RETURN_PATH_TARGET}", bounce("robert@elsewhere.test"))[0] == 250
    assert course(recipient) == ["submitted", "delivered", "bounced"]
    assert Event.objects.get(type="bounced").detail["passed_on_to"] == "robert@elsewhere.test"
    assert Suppression.objects.get().address == "bob@inbox.test"


def test_of_several_who_share_a_return_path_those_named_bounce(server: ReturnsServer, message: Message) -> None:
    add_recipient(message, "Eve@inbox.test", "delivered")
    Message.objects.filter(pk=message.pk).update(recipient_count=2)
    path = message_return_path(message.pk, "acme.test")
    assert bring(server, path, bounce("stranger@inbox.test"))[0] == 250
    assert bring(server, path, bounce("eve@INBOX.test"))[0] == 250
    states = dict(Recipient.objects.values_list("address", "state"))
    assert states == {"bob@inbox.test": "delivered", "Eve@inbox.test": "bounced"}
    assert counted() == {("bounce", "unattributed"): 1, ("bounce", "recorded"): 1}
    bring(server, path, AUTO_REPLY)  # bob's own
    assert ReturnedMessage.objects.get(kind="auto_reply").address == "bob@inbox.test"
    kept = ReturnedMessage.objects.get(outcome="unattributed")
    assert kept.organization_id == message.organization_id
    assert bytes(kept.raw or b"").startswith(b"From: MAILER-DAEMON")


def test_a_complaint_by_redacted_report_is_one_event_and_a_suppression(server: ReturnsServer, message: Message) -> None:
    recipient, [feedback] = only(message), settings.FEEDBACK_ADDRESSES
    for kind in ("abuse", "fraud"):
        assert bring(server, feedback, complaint(path_of(recipient), kind=kind), "fbl@provider.test")[0] == 250
    assert bring(server, feedback, complaint(path_of(recipient), kind="not-spam"), "fbl@provider.test")[0] == 250
    assert course(recipient) == ["submitted", "delivered", "complained"]
    assert only(message).state == "delivered"
    assert Event.objects.get(type="complained").detail == {"reported_by": "Provider-FBL", "feedback": "abuse"}
    assert Suppression.objects.get().reason == "complaint"
    assert counted() == {("complaint", "recorded"): 1, ("complaint", "repeated"): 1, ("feedback", "noted"): 1}
    # And what bounces after it was complained of.
    bring(server, path_of(recipient), bounce("bob@inbox.test"))
    assert course(recipient)[-1] == "bounced"
    assert Suppression.objects.get().reason == "complaint"


def test_complaint_about_a_message_to_several_needs_a_name(server: ReturnsServer, message: Message) -> None:
    add_recipient(message, "eve@inbox.test", "delivered")
    Message.objects.filter(pk=message.pk).update(recipient_count=2)
    [feedback], path = settings.FEEDBACK_ADDRESSES, message_return_path(message.pk, "acme.test")
    bring(server, feedback, complaint(path))
    assert not Event.objects.filter(type="complained").exists()
    bring(server, feedback, complaint(path, "eve@inbox.test"))
    assert Event.objects.get(type="complained").address == "eve@inbox.test"


@pytest.mark.parametrize(
    ("mail", "kind"),
    [
        (bounce("bob@inbox.test", "smtp; 250 2.1.5 Ok", action="delivered", status="2.0.0"), "delivered"),
        (b"Subject: Lottery\r\n\r\nYou have won.\r\n", "unknown"),
    ],
)
def test_what_changes_nothing_is_kept_to_be_looked_at(
    server: ReturnsServer, message: Message, mail: bytes, kind: str
) -> None:
    recipient = only(message)
    assert bring(server, path_of(recipient), mail)[0] == 250
    assert course(recipient) == ["submitted", "delivered"]
    kept = ReturnedMessage.objects.get()
    assert (kept.kind, kept.outcome, kept.recipient_id) == (kind, "noted", recipient.pk)
    assert (bytes(kept.raw) == mail if kept.raw else None) == (True if kind == "unknown" else None)


@pytest.mark.parametrize(
    ("mail", "kind", "type_", "detail"),
    [
        (AUTO_REPLY, "auto_reply", "auto_replied", {"reported_by": "bob@inbox.test"}),
        (bounce("bob@inbox.test", "smtp; 451 4.4.1 Connection timed out", action="delayed", status="4.4.1"), "delay",
         "delayed", {"reported_by": "mx.far.test", "error": "451 4.4.1 Connection timed out"}),
    ],
)  # fmt: skip
def test_what_changes_no_state_is_an_event_once_a_mail_and_not_without_end(
    server: ReturnsServer, message: Message, mail: bytes, kind: str, type_: str, detail: dict[str, str]
) -> None:
    recipient = only(message)
    for _ in range(2):  # once more, as after a lost 250
        assert bring(server, path_of(recipient), mail)[0] == 250
    assert course(recipient) == ["submitted", "delivered", type_]
    event = Event.objects.get(type=type_)
    assert (event.detail, event.reason, event.attempt) == (detail, "", 0)
    for number in range(TOLD_MOST):
        assert bring(server, path_of(recipient), mail + b"%d\r\n" % number)[0] == 250
    assert course(recipient) == ["submitted", "delivered", *[type_] * TOLD_MOST]
    assert counted() == {(kind, "recorded"): TOLD_MOST, (kind, "repeated"): 1, (kind, "noted"): 1}
    waiting = make_message(SendingDomain.objects.get(), state="submitted", events=[])
    bring(server, path_of(only(waiting)), mail)
    assert course(only(waiting)) == ["submitted"]
    assert counted()[kind, "unexpected"] == 1


# ---- In which state it meets the recipient ---------------------------------------------------------------------------

IN_DOUBT: list[tuple[str, dict[str, Any]]] = [("in_doubt", {})]


@pytest.mark.parametrize(
    ("state", "events", "becomes", "outcome"),
    [
        ("unknown_outcome", [("unknown_outcome", {})], "bounced", "recorded"),
        ("in_doubt", IN_DOUBT, "bounced", "recorded"),
        ("deferred", [*IN_DOUBT, ("deferred", {})], "bounced", "recorded"),  # a copy may have arrived before
        ("deferred", [("deferred", {})], "deferred", "unexpected"),
        ("submitted", [], "submitted", "unexpected"),
        ("scheduled", None, "scheduled", "unexpected"),
        ("suppressed", None, "suppressed", "unexpected"),
        ("cancelled", None, "cancelled", "unexpected"),
        ("bounced", None, "bounced", "repeated"),
    ],
)
def test_a_bounce_meets_each_state(
    server: ReturnsServer,
    tenant: Tenant,
    state: str,
    events: list[tuple[str, dict[str, Any]]] | None,
    becomes: str,
    outcome: str,
) -> None:
    message = make_message(
        make_domain(tenant.organization), state=state, events=events, reason="policy" if state == "bounced" else ""
    )
    recipient = only(message)
    assert bring(server, path_of(recipient), bounce("bob@inbox.test"))[0] == 250
    recipient.refresh_from_db()
    assert (recipient.state, recipient.next_attempt_at is None) == (
        becomes,
        becomes in ("bounced", "suppressed", "cancelled"),
    )
    assert counted() == {("bounce", outcome): 1}
    assert Suppression.objects.exists() == (outcome == "recorded")


def test_a_bounce_that_comes_before_its_outcome_is_settled_waits(
    server: ReturnsServer, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = make_message(make_domain(tenant.organization), state="submitted")
    recipient = only(message)
    Recipient.objects.update(leased_by=uuid7(), attempts=1)
    monkeypatch.setattr(server_module, "BUSY_TRIES", 2)
    assert bring(server, path_of(recipient), bounce("bob@inbox.test"))[0] == 451
    assert not ReturnedMessage.objects.exists()
    monkeypatch.setattr(server_module, "BUSY_TRIES", 200)
    said: list[int] = []
    thread = threading.Thread(
        target=lambda: said.append(bring(server, path_of(recipient), bounce("bob@inbox.test"))[0])
    )
    thread.start()
    Event.objects.create(
        organization_id=recipient.organization_id, message_id=message.pk, recipient_id=recipient.pk, address=recipient.address,
        type="delivered", occurred_at=timezone.now(), attempt=1,
    )  # fmt: skip
    Recipient.objects.update(leased_by=None, state="delivered", next_attempt_at=None)
    thread.join(20)
    assert said == [250]
    assert course(recipient) == ["submitted", "delivered", "bounced"]


def test_message_that_is_no_longer_kept_is_counted_and_nothing_else(server: ReturnsServer) -> None:
    assert bring(server, return_path(uuid7(), "acme.test"), bounce("bob@inbox.test"))[0] == 250
    assert bring(server, message_return_path(uuid7(), "acme.test"), bounce("bob@inbox.test"))[0] == 250
    assert counted() == {("bounce", "forgotten"): 2}
    assert not ReturnedMessage.objects.exists()


# ---- The door --------------------------------------------------------------------------------------------------------


def test_all_but_authentic_addresses_are_refused_at_rcpt(server: ReturnsServer, message: Message) -> None:
    genuine = path_of(only(message))
    local, _, domain = genuine.partition("@")
    forged = f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}"
    refused = [
        f"{forged}@{domain}", f"{local}@acme.test", "postmaster@psrp.acme.test", "bob@inbox.test", f"b+.@{domain}",
        f"b+ä.ö@{domain}", f"b+{'a' * 60}@{domain}", "fbl@acme.test", f"{'b+' + 'a' * 26}.{'a' * 8}@{domain}",
    ]  # fmt: skip
    with client_of(server) as client:
        client.ehlo()
        assert client.mail("", ["SMTPUTF8"])[0] == 250
        for address in refused:
            client.command_encoding = "utf-8"
            assert client.docmd(f"RCPT TO:<{address}>")[0] == 550, address
        assert client.rcpt(genuine)[0] == 250
    assert not Event.objects.filter(type="bounced").exists()


def test_whoever_guesses_is_hung_up_on_and_counted(message: Message) -> None:
    with running_returns() as server:
        with client_of(server) as client:
            client.ehlo()
            client.mail("")
            codes = [client.rcpt("b+guess.guess@psrp.acme.test")[0] for _ in range(server_module.REFUSED_MOST)]
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()
        assert codes == [550] * (server_module.REFUSED_MOST - 1) + [421]
    assert counted() == {("", "refused"): server_module.REFUSED_MOST}


def test_over_starttls_with_pipelining_and_several_recipients(
    server: ReturnsServer, tenant: Tenant, message: Message
) -> None:
    other = make_message(make_domain(tenant.organization, "other.test"), to="eve@inbox.test")
    with client_of(server) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.ehlo()
        assert {"pipelining", "size", "8bitmime", "smtputf8"} <= client.esmtp_features.keys()
        assert "starttls" not in client.esmtp_features
        assert "auth" not in client.esmtp_features
        client.mail("")
        for recipient in (only(message), only(other)):
            assert client.rcpt(path_of(recipient))[0] == 250
        assert client.data(bounce("bob@inbox.test"))[0] == 250
        client.mail("")
        assert client.docmd("DATA")[0] == 503
    assert set(Recipient.objects.values_list("state", flat=True)) == {"bounced"}


def test_commands_and_mail_in_one_packet(server: ReturnsServer, message: Message) -> None:
    """RFC 2920; a dot alone on a line, and one at a line's beginning that is no more than that (RFC 5321, 4.5.2)."""
    path = path_of(only(message)).encode()
    transaction = b"MAIL FROM:<>\r\nRCPT TO:<%b>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n" % path
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        replies = raw.makefile("rb")
        raw.sendall(b"EHLO mx.far.test\r\n")
        while not replies.readline().startswith(b"250 "):
            pass
        raw.sendall(transaction)
        assert [replies.readline()[:3] for _ in range(4)] == [b"250", b"250", b"550", b"354"]
        raw.sendall(b".\r\n" + transaction)  # nothing at all
        assert [replies.readline()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"550", b"354"]
        raw.sendall(b"Subject: Hm\r\n\r\n..\r\n..dots\r\n\n.\n\r\n.\r\nQUIT\r\n")
        assert [replies.readline()[:3] for _ in range(2)] == [b"250", b"221"]
    raws = ReturnedMessage.objects.order_by("id").values_list("raw", flat=True)
    assert [bytes(one or b"") for one in raws] == [b"", b"Subject: Hm\r\n\r\n.\r\n.dots\r\n\n.\n\r\n"]


def test_what_is_kept_is_bounded(server: ReturnsServer, message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "RAW_MOST", 2)
    monkeypatch.setattr(record_module, "ROWS_OF_A_MESSAGE", 3)
    [feedback], path = settings.FEEDBACK_ADDRESSES, path_of(only(message))
    for number in range(5):
        assert bring(server, path, b"Subject: Hm %d\r\n\r\nHm\r\n" % number)[0] == 250
        assert (
            bring(server, feedback, b"Subject: Welcome to the feedback loop %d\r\n\r\nHm\r\n" % number, "fbl@far.test")[
                0
            ]
            == 250
        )
    kept = Counter((one.organization_id, one.raw is None) for one in ReturnedMessage.objects.all())
    whose = message.organization_id
    assert kept == {(whose, False): 2, (whose, True): 1, (None, False): 2}
    assert counted() == {("unknown", "noted"): 5, ("unknown", "unattributed"): 5}


def test_large_mail_is_read_from_its_beginning_and_too_large_refused(
    message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def note(arrival: Arrival) -> ReturnOutcome:
        held.append(len(arrival.raw))
        return record(arrival)

    monkeypatch.setattr(server_module, "record", note)
    with running_returns(ReturnsLimits(size=3 * READ_MOST)) as server:
        path = path_of(only(message))
        with client_of(server) as client:
            client.ehlo()
            assert client.docmd(f"MAIL FROM:<> SIZE={4 * READ_MOST}")[0] == 552
        report = bounce("bob@inbox.test").removesuffix(b"--B--\r\n")
        line = b"." + b"x" * 70 + b"\r\n"
        assert bring(server, path, report + line * (4 * READ_MOST // len(line)))[0] == 552
        assert only(message).state == "delivered"
        assert bring(server, path, report + line * (2 * READ_MOST // len(line)))[0] == 250
        assert only(message).state == "bounced"
        assert ReturnedMessage.objects.get().size_bytes > 2 * READ_MOST - 1000
        assert READ_MOST * 0.9 < held[0] <= READ_MOST  # without the transparency dots


def test_connections_are_limited(message: Message) -> None:
    with running_returns(ReturnsLimits(connections_per_address=2)) as server:
        with client_of(server), client_of(server):
            with pytest.raises(smtplib.SMTPConnectError) as refused:
                client_of(server)
            assert refused.value.smtp_code == 421
        wait_for(lambda: not server.open, "both are gone")
        assert bring(server, path_of(only(message)), bounce("bob@inbox.test"))[0] == 250


def test_nothing_is_said_to_be_taken_that_is_not_committed(
    server: ReturnsServer, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies anywhere before its commit: nothing has happened, and the sender, who got no 250, comes again. It dies
    after: the report comes again, too, and makes nothing twice."""
    recipient = only(message)
    for name in ("_keep", "_write", "_suppress", "count"):
        with monkeypatch.context() as patch:
            genuine = getattr(record_module, name)

            def fail(*arguments: object, of: Any = genuine, **more: object) -> None:
                of(*arguments, **more)
                raise psycopg.OperationalError("the database went away") from None

            patch.setattr(record_module, name, fail)
            with client_of(server) as client:
                client.ehlo()
                client.mail("")
                client.rcpt(path_of(recipient))
                assert client.data(bounce("bob@inbox.test"))[0] == 451, name
        assert course(recipient) == ["submitted", "delivered"]
        assert not any(model.objects.exists() for model in (ReturnedMessage, Suppression, ReturnCount))
    with connection.cursor() as cursor:  # and when it is really away
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    codes = [bring(server, path_of(recipient), bounce("bob@inbox.test"))[0] for _ in range(5)]
    assert codes[-1] == 250
    assert course(recipient) == ["submitted", "delivered", "bounced"]


def test_many_reports_of_the_same_at_once_are_one(
    server: ReturnsServer, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is about to write waits for a second one to come as far: with the row's lock held nobody can."""
    recipient, together, genuine = only(message), threading.Barrier(2, timeout=0.5), record_module._exchanger_of

    def meet(of: Recipient) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait()
        return genuine(of)

    monkeypatch.setattr(record_module, "_exchanger_of", meet)
    mails = [bounce("bob@inbox.test", f"smtp; 550 5.1.1 No such user {number}") for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda mail: bring(server, path_of(recipient), mail)[0], mails))
    assert said == [250] * 4
    assert course(recipient) == ["submitted", "delivered", "bounced"]


# ---- What others make of it ------------------------------------------------------------------------------------------


def test_statistics_count_it_as_delivered_and_as_bounced(server: ReturnsServer, message: Message) -> None:
    bring(server, path_of(only(message)), bounce("bob@inbox.test"))
    wait_for(lambda: _counted_rows(), "the horizon has passed")
    totals = Rollup.objects.get(dimension="all", step="day")
    assert (totals.submitted, totals.delivered, totals.bounced_hard) == (1, 1, 1)
    assert number_disagreements() == []


def _counted_rows() -> bool:
    count_again((timezone.now() - timedelta(days=1)).date())
    return Rollup.objects.filter(dimension="all", bounced_hard=1).exists()


def test_page_tells_that_it_bounced_after_it_had_been_delivered(
    server: ReturnsServer, tenant: Tenant, message: Message
) -> None:
    recipient = only(message)
    page = reverse("message", args=[message.pk])
    assert "came back" not in tenant.client.get(page).content.decode()
    bring(server, path_of(recipient), AUTO_REPLY)
    bring(server, settings.FEEDBACK_ADDRESSES[0], complaint(path_of(recipient)))
    shown = tenant.client.get(page).content.decode()
    assert "The recipient then reported it as spam." in shown
    bring(server, path_of(recipient), bounce("robert@elsewhere.test"))
    shown = " ".join(tenant.client.get(page).content.decode().split())
    for words in (
        "It bounced after it had been delivered", "Came back by mail, reported by mx.far.test",
        "The receiver had passed it on to robert@elsewhere.test", "“Automatic reply: Your receipt”", "Hard bounce",
    ):  # fmt: skip
        assert words in shown
    shared = share(recipient, timedelta(hours=1)).url.removeprefix(settings.WEB_URL)
    stranger = Client().get(shared).content.decode()
    assert "It bounced after it had been delivered" in stranger
    for private in ("robert@elsewhere.test", "Your receipt", "Reported by bob@", path_of(recipient).partition("@")[0]):
        assert private not in stranger


def test_operators_read_what_was_not_understood_and_that_is_in_the_audit_log(
    server: ReturnsServer, message: Message, admin_client: Client
) -> None:
    bring(server, path_of(only(message)), b"Subject: Hm\r\n\r\n<script>What is this?</script>\r\n")
    row = ReturnedMessage.objects.get()
    shown = admin_client.get(reverse("admin:relay_returnedmessage_change", args=[row.pk])).content.decode()
    assert "What is this?" not in shown
    content = reverse("admin:relay_returnedmessage_change", args=[row.pk]).replace("/change/", "/content/")
    assert "What is this?" not in admin_client.get(content).content.decode()
    read = admin_client.post(content, {"reason": "To know what it is."}).content.decode()
    assert "&lt;script&gt;What is this?" in read
    entry = AuditEntry.objects.get(action="returned_message.content_read", organization_id=message.organization_id)
    assert entry.after == {"reason": "To know what it is."}
    assert AuditEntry.objects.filter(action="returned_message.read", organization_id=message.organization_id).exists()
    assert "Not understood" in admin_client.get(reverse("admin:relay_returnedmessage_changelist")).content.decode()
    assert admin_client.get(reverse("admin:relay_returncount_changelist")).status_code == 200


def test_what_came_back_is_forgotten_after_some_days(server: ReturnsServer, message: Message) -> None:
    bring(server, path_of(only(message)), AUTO_REPLY)
    assert forget_old() == 0
    row = ReturnedMessage.objects.get()
    old = UUID(int=row.pk.int - (int(timedelta(days=8).total_seconds() * 1000) << 80))
    ReturnedMessage.objects.filter(pk=row.pk).update(id=old)
    assert forget_old() == 1
