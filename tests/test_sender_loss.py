"""Mail of a domain that was removed or taken over ends, wherever it waits; that of a stopped one is delivered still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.ids import uuid7
from domains.models import SendingDomain
from domains.services import remove_domain
from events.models import Event
from relay import tasks
from relay.audit import disagreements
from relay.database import database_url
from relay.delivery.engine import Engine, EngineLimits
from relay.delivery.outcome import SenderGone
from relay.delivery.senders import Senders, StandingUnknown
from relay.lanes import Lane
from relay.models import Message, Recipient
from relay.sender_loss import end_mail_of
from relay.submission.accept import Submission
from relay.submission.desk import Desk
from tests.factories import add_recipient, make_domain, make_message, make_tenant
from tests.peer import Peer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]

CONTENT = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"
LARGE = CONTENT + b"x" * 70 + (b"\r\n" + b"y" * 70) * 5000 + b"\r\n"
WAYS = {
    "UPDATE domains_sendingdomain SET status = 'taken_over'": "domain_taken_over",
    "DELETE FROM domains_sendingdomain": "sender_gone",
}


@pytest.fixture
def domain() -> SendingDomain:
    domain = make_domain(make_tenant().organization)
    domain.records.all().delete()  # so that a DELETE is one statement
    domain.dkim_keys.exclude(state="active").delete()
    return domain


def lose(statement: str) -> None:
    with psycopg.connect(database_url(), autocommit=True) as database:
        if statement.startswith("DELETE"):
            database.execute("DELETE FROM domains_dkimkey")
        database.execute(statement.encode())


Scene = Callable[[Desk, Engine], Awaitable[None]]


def play(settings: Settings, peer: Peer, scene: Scene) -> None:
    async def main() -> None:
        desk = Desk(database_url())
        await desk.open()
        async with peer:
            settings.RELAY_SMARTHOST = f"127.0.0.1:{peer.port}"
            engine = Engine(database_url(), EngineLimits(lease=timedelta(seconds=30), look_every_s=100))
            await engine.start()
            await scene(desk, engine)
            await engine.stop(5)
        await desk.close()

    asyncio.run(main())


async def submit(desk: Desk, domain: SendingDomain, address: str, content: bytes = CONTENT) -> None:
    credential = Credential(domain.organization_id, False, None, None, frozenset({"send"}), "")
    content = content.replace(b"acme.test", domain.name.encode())
    await desk.submit(Submission(credential, "smtp", "ESMTPSA", f"ada@{domain.name}", (address,), content))


async def until_all_ended() -> None:
    async with asyncio.timeout(20):
        while await Recipient.objects.filter(next_attempt_at__isnull=False).aexists():
            await asyncio.sleep(0.01)


def ends() -> list[tuple[str, str]]:
    return sorted(Recipient.objects.values_list("state", "reason"))


def assert_agreed() -> None:
    with psycopg.connect(database_url()) as connection:
        assert disagreements(connection) == []


# ---- In an engine's hands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("statement", "reason"), WAYS.items(), ids=WAYS.values())
@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
def test_what_is_being_handed_over_is_broken_off_before_the_final_dot(
    domain: SendingDomain, settings: Settings, statement: str, reason: str, content: bytes
) -> None:
    """The domain is lost while the exchanger thinks about DATA, for longer than is known for sure."""

    def behave(verb: bytes, _: int) -> None:
        if verb == b"DATA":
            lose(statement)
            engines[0]._senders._standings.clear()

    engines: list[Engine] = []
    peer = Peer(behave)

    async def scene(desk: Desk, engine: Engine) -> None:
        engines.append(engine)
        await submit(desk, domain, "bob@inbox.test", content)
        engine.wake({Lane(domain.organization_id, "inbox.test")})
        await until_all_ended()

    play(settings, peer, scene)
    assert peer.messages == []
    assert ends() == [("bounced", reason)]
    event = Event.objects.get(type="bounced")
    assert event.reason == reason
    assert "DATA" in event.transcript
    assert_agreed()


@pytest.mark.parametrize(("statement", "reason"), WAYS.items(), ids=WAYS.values())
def test_what_waits_in_memory_ends_without_an_attempt(
    domain: SendingDomain, settings: Settings, statement: str, reason: str
) -> None:
    """All is claimed; with the first message that the exchanger has taken, the domain is lost."""

    def behave(verb: bytes, _: int) -> None:
        if verb == b"." and len(peer.messages) == 1:
            lose(statement)
            engines[0]._senders._standings.clear()

    engines: list[Engine] = []
    peer = Peer(behave)

    async def scene(desk: Desk, engine: Engine) -> None:
        engines.append(engine)
        await asyncio.gather(*(submit(desk, domain, f"r{n}@inbox.test") for n in range(20)))
        engine.wake({Lane(domain.organization_id, "inbox.test")})
        await until_all_ended()

    play(settings, peer, scene)
    assert 1 <= len(peer.messages) <= peer.connections
    assert Event.objects.filter(reason=reason, transcript="").count() >= 10  # the others were being handed over
    assert ends().count(("bounced", reason)) == 20 - len(peer.messages)
    assert_agreed()


def test_a_connection_on_which_a_message_was_broken_off_is_not_used_again(
    domain: SendingDomain, settings: Settings
) -> None:
    other = make_domain(domain.organization, "other.test")
    engines: list[Engine] = []

    def behave(verb: bytes, _: int) -> None:
        if verb == b"DATA":
            lose("UPDATE domains_sendingdomain SET status = 'taken_over' WHERE name = 'acme.test'")
            engines[0]._senders._standings.clear()

    peer = Peer(behave)

    async def scene(desk: Desk, engine: Engine) -> None:
        engines.append(engine)
        lane = Lane(domain.organization_id, "inbox.test")
        for sender in (domain, other):
            await submit(desk, sender, f"to-{sender.name}@inbox.test")
            engine.wake({lane})
            await until_all_ended()

    play(settings, peer, scene)
    assert ends() == [("bounced", "domain_taken_over"), ("delivered", "")]
    [message] = peer.messages
    assert b"From: ada@other.test" in message
    assert b"MAIL FROM" not in message


def test_what_was_accepted_just_after_a_takeover_ends_the_same_way(domain: SendingDomain, settings: Settings) -> None:
    peer = Peer()

    async def scene(desk: Desk, engine: Engine) -> None:
        lane = Lane(domain.organization_id, "inbox.test")
        await submit(desk, domain, "first@inbox.test")
        engine.wake({lane})
        await until_all_ended()
        lose("UPDATE domains_sendingdomain SET status = 'taken_over'")
        await submit(desk, domain, "second@inbox.test")  # the door does not know yet
        engine._senders._standings.clear()
        engine.wake({lane})
        await until_all_ended()

    play(settings, peer, scene)
    assert ends() == [("bounced", "domain_taken_over"), ("delivered", "")]
    assert len(peer.messages) == 1


def test_there_need_be_no_way_to_the_destination(
    domain: SendingDomain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DNS_NAMESERVERS = ["127.0.0.1:9"]
    monkeypatch.setattr("domains.dns.resolver.LIFETIME_S", 0.2)
    lose("UPDATE domains_sendingdomain SET status = 'taken_over'")
    message = make_message(domain, state="submitted")
    Recipient.objects.update(next_attempt_at=message.submitted_at)

    async def main() -> None:
        engine = Engine(database_url(), EngineLimits(lease=timedelta(seconds=30), look_every_s=100))
        await engine.start()
        engine.wake({Lane(domain.organization_id, "inbox.test")})
        await until_all_ended()
        await engine.stop(5)

    asyncio.run(main())
    assert ends() == [("bounced", "domain_taken_over")]


def test_mail_accepted_before_a_stop_is_delivered(domain: SendingDomain, settings: Settings) -> None:
    peer = Peer()

    async def scene(desk: Desk, engine: Engine) -> None:
        await submit(desk, domain, "bob@inbox.test")
        lose("UPDATE domains_sendingdomain SET status = 'stopped'")
        engine.wake({Lane(domain.organization_id, "inbox.test")})
        await until_all_ended()

    play(settings, peer, scene)
    assert ends() == [("delivered", "")]


def test_the_door_says_what_a_stopped_domain_lacks(settings: Settings) -> None:
    domain = make_domain(make_tenant().organization)
    domain.records.filter(purpose__in=["return_path", "dmarc"]).update(status="missing")
    domain.records.filter(purpose="ownership").update(status="different")
    lose("UPDATE domains_sendingdomain SET status = 'stopped'")

    async def main() -> None:
        desk = Desk(database_url())
        await desk.open()
        with pytest.raises(Refused) as refused:
            await submit(desk, domain, "bob@inbox.test")
        assert refused.value.code == "sender_domain_stopped"
        assert "are missing or different: TXT _plugsend.acme.test, CNAME psrp.acme.test." in refused.value.detail
        await desk.close()

    asyncio.run(main())


def test_nothing_leaves_five_seconds_after_a_takeover(domain: SendingDomain, settings: Settings) -> None:
    """With the times as they are: a door and an engine that has more in its hands than the exchanger takes in that time."""
    arrivals: list[float] = []
    refusals: list[str] = []
    taken_at: list[float] = []
    peer = Peer(lambda verb, _: arrivals.append(time.monotonic()) if verb == b"." else None, delay_s=0.3)
    settings.CONNECTIONS_PER_EXCHANGER = 1

    async def scene(desk: Desk, engine: Engine) -> None:
        await asyncio.gather(*(submit(desk, domain, f"r{n}@inbox.test") for n in range(40)))
        engine.wake({Lane(domain.organization_id, "inbox.test")})
        async with asyncio.timeout(20):
            while not arrivals:
                await asyncio.sleep(0.01)
        lose("UPDATE domains_sendingdomain SET status = 'taken_over'")
        taken_at.append(time.monotonic())
        async with asyncio.timeout(5):
            while not refusals:
                await asyncio.sleep(0.1)
                try:
                    await submit(desk, domain, "late@inbox.test")
                except Refused as refused:
                    refusals.append(refused.code)
        await until_all_ended()

    play(settings, peer, scene)
    assert refusals == ["sender_domain_taken_over"]
    assert arrivals
    assert max(arrivals) <= taken_at[0] + 5
    assert set(ends()) == {("delivered", ""), ("bounced", "domain_taken_over")}
    assert_agreed()


# ---- Whether it may leave --------------------------------------------------------------------------------------------


class Database:
    """Counts who asks; away, it lets nobody in."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.asked, self.is_away = 0, is_away

    @asynccontextmanager
    async def __call__(self) -> Any:
        self.asked += 1
        if self.is_away:
            raise psycopg.OperationalError("away")
        async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as connection:
            yield connection


def test_all_that_wait_for_a_domain_ask_once(domain: SendingDomain) -> None:
    database = Database()

    async def main() -> None:
        senders = Senders(database)
        await asyncio.gather(*(senders.check(domain.pk) for _ in range(50)))
        for _ in range(50):
            await senders.check(domain.pk)
        with pytest.raises(SenderGone):
            await senders.check(uuid4())

    asyncio.run(main())
    assert database.asked == 2


def test_without_an_answer_nothing_may_leave(domain: SendingDomain) -> None:
    database = Database(is_away=True)

    async def main() -> None:
        senders = Senders(database)
        for _ in range(2):
            with pytest.raises(StandingUnknown):
                await senders.check(domain.pk)
        database.is_away = False
        await senders.check(domain.pk)

    asyncio.run(main())


def test_what_may_not_leave_as_far_as_we_know_waits_in_the_queue(
    domain: SendingDomain, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer fails to come while the message is being handed over; then the database is back."""
    peer = Peer(lambda verb, _: lose_sight() if verb == b"DATA" and not peer.messages else None)
    database = Database(is_away=True)
    engines: list[Engine] = []

    def lose_sight() -> None:
        senders = engines[0]._senders
        if database.is_away:
            senders._standings.clear()
            senders._ask = database
        database.is_away = database.asked == 0

    async def scene(desk: Desk, engine: Engine) -> None:
        engines.append(engine)
        await submit(desk, domain, "bob@inbox.test")
        engine.wake({Lane(domain.organization_id, "inbox.test")})
        async with asyncio.timeout(20):
            while not database.asked:
                await asyncio.sleep(0.01)
        database.is_away = False
        await until_all_ended()

    play(settings, peer, scene)
    assert ends() == [("delivered", "")]
    assert len(peer.messages) == 1
    assert Recipient.objects.get().attempts == 1  # the first one did not count
    assert_agreed()


# ---- Wherever it waits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["submitted", "scheduled", "deferred", "held", "in_doubt"])
def test_what_waits_in_the_queue_ends_at_once(domain: SendingDomain, state: str) -> None:
    others = make_domain(domain.organization, "other.test")
    make_message(others, state=state)
    message = make_message(domain, state=state)
    add_recipient(message, "leased@inbox.test", "submitted")
    add_recipient(message, "done@inbox.test", "delivered")
    Message.objects.filter(pk=message.pk).update(recipient_count=3)
    Recipient.objects.filter(address="leased@inbox.test").update(
        leased_by=uuid7(), next_attempt_at=timezone.now() + timedelta(hours=4)
    )
    SendingDomain.objects.filter(pk=domain.pk).update(status="taken_over")
    assert end_mail_of(domain.pk, "domain_taken_over") == 1
    assert end_mail_of(domain.pk, "domain_taken_over") == 0
    ended = Recipient.objects.get(reason="domain_taken_over")
    assert (ended.message_id, ended.state, ended.next_attempt_at) == (message.pk, "bounced", None)
    assert Event.objects.filter(reason="domain_taken_over", type="bounced", recipient_id=ended.pk).count() == 1
    assert Recipient.objects.exclude(next_attempt_at=None).count() == 2  # another domain's, and what is leased
    Recipient.objects.filter(address="leased@inbox.test").update(leased_by=None)
    assert_agreed()


def test_late_word_of_a_loss_ends_nothing_of_who_has_the_domain_again(domain: SendingDomain) -> None:
    make_message(domain, state="deferred")
    assert end_mail_of(domain.pk, "domain_taken_over") == 0
    SendingDomain.objects.filter(pk=domain.pk).update(status="taken_over")
    assert end_mail_of(domain.pk, "domain_taken_over") == 1


def test_a_removed_domains_mail_is_ended_when_that_is_committed(
    domain: SendingDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[str]] = []
    monkeypatch.setattr(tasks.end_mail_of, "apply_async", lambda arguments, **_: sent.append(arguments))
    make_message(domain, state="deferred")
    key: UUID = domain.pk
    remove_domain(domain)
    assert sent == [[str(key), "sender_gone"]]
    tasks.end_mail_of(*sent[0])
    assert ends() == [("bounced", "sender_gone")]
