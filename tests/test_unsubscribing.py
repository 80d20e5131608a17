"""Streams: List-Unsubscribe in what arrives, one click, the page, and what it stops and does not stop."""

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from email import message_from_bytes
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from accounts.credentials import Credential
from accounts.ids import uuid7
from accounts.models import AuditEntry, Organization
from domains.models import DnsRecord, DomainStatus
from domains.services import add_domain
from events.models import Event
from relay.database import database_url
from relay.delivery.engine import Engine, EngineLimits
from relay.lanes import Lane
from relay.models import Message, Recipient, Suppression
from relay.returns.server import ReturnsServer
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from relay.suppressing.suppressions import suppress
from relay.suppressing.unsubscribe_tokens import (
    Wish,
    read_token,
    read_unsubscribe_address,
    token_of,
    unsubscribe_address,
)
from tests.dkim_verifiers import by_dkimpy
from tests.factories import make_domain, make_message, make_tenant
from tests.peer import Peer
from tests.returning import bring, running_returns

NEWS = b"From: ada@acme.test\r\nTo: all@acme.test\r\nSubject: Hi\r\nX-PlugSend-Stream: news\r\n\r\nHello\r\n"


@pytest.fixture
def organization(transactional_db: None) -> Organization:
    organization = Organization.objects.create(name="Acme")
    domain = add_domain(organization, "acme.test")
    domain.status = DomainStatus.VERIFIED
    domain.save()
    return organization


def arrived(
    organization: Organization,
    settings: Settings,
    *mails: tuple[tuple[str, ...], bytes],
    meanwhile: Callable[[], object] = lambda: None,
) -> list[bytes]:
    """What a real exchanger got of these submissions, at inbox.test. `meanwhile`: before the first attempt."""
    credential = Credential(organization.pk, False, None, None, frozenset({"send"}), "")

    async def main() -> list[bytes]:
        desk = Desk(database_url())
        await desk.open()
        async with Peer() as peer:
            settings.RELAY_SMARTHOST = f"127.0.0.1:{peer.port}"
            engine = Engine(database_url(), EngineLimits(lease=timedelta(seconds=30), look_every_s=100))
            await engine.start()
            for recipients, content in mails:
                await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", recipients, content))
            await asyncio.to_thread(meanwhile)
            engine.wake({Lane(organization.pk, "inbox.test")})
            async with asyncio.timeout(20):
                while engine.held or await Recipient.objects.filter(state="submitted").aexists():
                    await asyncio.sleep(0.01)
            await engine.stop(5)
            messages = [message.removesuffix(b".\r\n") for message in peer.messages]
        await desk.close()
        return messages

    return asyncio.run(main())


def records(organization: Organization) -> dict[str, str]:
    found = DnsRecord.objects.filter(domain__organization=organization, name__contains="._domainkey.")
    return dict(found.values_list("name", "value"))


@pytest.mark.usefixtures("timelines_agree")
def test_each_recipient_of_a_stream_gets_a_signed_link_of_their_own(
    organization: Organization, settings: Settings
) -> None:
    theirs = NEWS.replace(b"Subject", b"List-Unsubscribe: <mailto:no@acme.test>\r\nSubject")
    mails = arrived(
        organization,
        settings,
        (("Ada@inbox.test", "bob@inbox.test"), NEWS),
        (("cy@inbox.test",), NEWS.replace(b"X-PlugSend-Stream: news\r\n", b"")),
        (("dan@inbox.test",), theirs),
    )
    with_ours = [mail for mail in mails if b"\r\nList-Unsubscribe-Post:" in mail]
    assert (len(mails), len(with_ours)) == (4, 2)
    wished = {}
    keys = records(organization)
    for mail in with_ours:
        parsed = message_from_bytes(mail)
        [field], [post] = parsed.get_all("List-Unsubscribe", []), parsed.get_all("List-Unsubscribe-Post", [])
        url, mailto = re.fullmatch(r"<(http[^>]+/u/[^>]+)>,\s+<mailto:([^?>]+)\?subject=unsubscribe>", field).groups()
        assert post == "List-Unsubscribe=One-Click"
        assert all(one.holds for one in by_dkimpy(mail, keys))
        signed = re.sub(r"\s", "", parsed["DKIM-Signature"].partition("h=")[2].partition(";")[0]).split(":")
        assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(signed)
        changed = mail.replace(b"/u/", b"/v/", 1)
        assert not any(one.holds for one in by_dkimpy(changed, keys))
        wish = read_token(urlsplit(url).path.removeprefix("/u/"))
        assert wish is not None
        recipient = Recipient.objects.get(pk=read_unsubscribe_address(mailto.partition("@")[0]))
        assert recipient.address.lower() == wish.address
        assert mailto.endswith("@psrp.acme.test")
        wished[wish.address] = wish.stream
    assert wished == {"ada@inbox.test": "news", "bob@inbox.test": "news"}
    assert set(Message.objects.values_list("stream", flat=True)) == {"news", ""}


@pytest.mark.usefixtures("timelines_agree")
def test_who_unsubscribes_while_a_message_waits_gets_nothing_of_that_stream(
    organization: Organization, settings: Settings
) -> None:
    def unsubscribe() -> None:
        suppress(organization, "ada@inbox.test", reason="unsubscribe", stream="news")

    plain = NEWS.replace(b"X-PlugSend-Stream: news\r\n", b"")
    mails = [(("ADA@inbox.test",), content) for content in (NEWS, plain, NEWS.replace(b"news", b"codes"))]
    assert len(arrived(organization, settings, *mails, meanwhile=unsubscribe)) == 2
    states = dict(
        zip(("news", "", "codes"), Recipient.objects.order_by("id").values_list("state", flat=True), strict=True)
    )
    assert states == {"news": "suppressed", "": "delivered", "codes": "delivered"}


@given(
    st.uuids(),
    st.uuids(),
    st.emails() | st.just("ünal@bücher.example"),
    st.from_regex(r"[a-z0-9_-]{1,40}", fullmatch=True),
    st.integers(0, 400),
)
def test_a_token_says_what_it_was_made_of_and_cannot_be_changed(
    organization_id: UUID, message_id: UUID, address: str, stream: str, at: int
) -> None:
    wish = Wish(organization_id, message_id, address, stream)
    token = token_of(wish)
    assert read_token(token) == wish
    at %= len(token) - 1  # the last character may hold bits that say nothing
    assert read_token(token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]) is None
    assert read_token(token[:at]) is None
    local, _, domain = unsubscribe_address(message_id, "acme.test").partition("@")
    assert len(local) <= 64
    assert domain == "psrp.acme.test"
    assert read_unsubscribe_address(local.upper()) == message_id
    assert read_unsubscribe_address(local[:-1] + ("a" if local[-1] != "a" else "b")) is None


@pytest.mark.django_db
def test_one_click_stops_the_stream_and_nothing_else_and_can_be_taken_back() -> None:
    tenant = make_tenant()
    message = make_message(make_domain(tenant.organization), to="Bob@inbox.test", stream="news")
    wish = Wish(tenant.organization.pk, message.pk, "bob@inbox.test", "news")
    path, client = f"/u/{token_of(wish)}", Client(enforce_csrf_checks=True)

    asked = client.get(path)
    assert "Acme will send no more “news” mail" in asked.content.decode()
    assert (asked.headers["Referrer-Policy"], asked.cookies) == ("no-referrer", {})
    assert not Suppression.objects.exists()

    assert client.post(path).status_code == 400
    for _ in range(2):
        answer = client.post(path, {"List-Unsubscribe": "One-Click"})
        assert (answer.status_code, answer.cookies) == (200, {})
    [made] = Suppression.objects.all()
    assert (made.address, made.stream, made.reason, made.message_id) == (
        "bob@inbox.test", "news", "unsubscribe", message.pk,
    )  # fmt: skip
    [event] = Event.objects.filter(type="unsubscribed")
    assert (event.recipient_id, event.detail) == (
        Recipient.objects.get(message_id=message.pk).pk,
        {"stream": "news", "how": "one_click"},
    )
    assert "You are unsubscribed" in client.get(path).content.decode()

    suppress(tenant.organization, "bob@inbox.test")
    assert "You are subscribed again" in client.post(path, {"resubscribe": "1"}).content.decode()
    assert list(Suppression.objects.values_list("reason", "stream")) == [("manual", "")]
    assert AuditEntry.objects.filter(action="suppression.removed", actor_name="The recipient").count() == 1


@pytest.mark.django_db
def test_a_link_outlives_its_message_and_no_other_organization_learns_of_it() -> None:
    tenant, rival = make_tenant(), make_tenant("Rival")
    wish = Wish(tenant.organization.pk, uuid7(), "bob@inbox.test", "news")
    assert Client().post(f"/u/{token_of(wish)}", {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert Suppression.objects.get().organization_id == tenant.organization.pk
    assert not Suppression.objects.of(rival.organization).exists()
    assert Client().get(f"/u/{token_of(Wish(uuid7(), uuid7(), 'bob@inbox.test', 'news'))}").status_code == 410
    assert Client().get(f"/u/{token_of(wish)[:-5]}").status_code == 404


@pytest.fixture
def returns(transactional_db: None) -> Iterator[ReturnsServer]:
    with running_returns() as running:
        yield running


def test_mail_to_the_address_unsubscribes_too(returns: ReturnsServer) -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    of_stream = make_message(domain, to="bob@inbox.test", stream="news")
    plain = make_message(domain, to="cy@inbox.test")
    recipient = Recipient.objects.get(message_id=of_stream.pk)
    address = unsubscribe_address(recipient.pk, "acme.test")
    assert b"550 5.1.1" in b"%d %s" % bring(returns, address.replace("u+", "b+"), b"Subject: unsubscribe\r\n\r\n")
    for to, outcome in (
        (address, "recorded"),
        (address.upper(), "repeated"),
        (unsubscribe_address(Recipient.objects.get(message_id=plain.pk).pk, "acme.test"), "forgotten"),
        (unsubscribe_address(uuid7(), "acme.test"), "forgotten"),
    ):
        assert bring(returns, to, b"Subject: unsubscribe\r\n\r\n")[1].decode().endswith(outcome)
    assert list(Suppression.objects.values_list("address", "stream")) == [("bob@inbox.test", "news")]
    assert Event.objects.get(type="unsubscribed").detail["how"] == "mail"
