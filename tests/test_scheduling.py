"""Mail that is to be delivered later: stored, found when it is due however old it is, rescheduled, cancelled."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.api_keys import create_api_key
from accounts.audit import Actor
from accounts.credentials import Credential
from accounts.ids import first_id_at, uuid7
from accounts.models import Organization, Scope
from domains.models import SendingDomain
from events.models import Event
from events.partitions import make_partitions
from relay import scheduled
from relay.acting.actions import Acted, Action, act_on_message, reschedule
from relay.audit import disagreements
from relay.database import database_url
from relay.delivery.engine import Engine, EngineLimits
from relay.delivery.queue import Claimed, Queue
from relay.expiry import expire
from relay.lanes import Lane
from relay.models import Content, Message, Recipient, ScheduledMessage
from relay.submission.accept import Accepted, AcceptedRecipient, Submission
from relay.submission.desk import Desk, shared_desk
from relay.submission.intake import Intake
from relay.submission.options import Options
from tests.factories import make_domain, make_message, make_tenant
from tests.peer import Peer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]

LEASE = timedelta(seconds=60)
CONTENT = b"From: ada@acme.test\r\nSubject: Hi\r\n\r\nHello\r\n"
LONG_AGO = timedelta(days=20)
WHO = Actor("user", None, "ada@people.test")


@pytest.fixture
def domain() -> SendingDomain:
    return make_domain(make_tenant().organization)


@pytest.fixture
def organization(domain: SendingDomain) -> Organization:
    return domain.organization


@pytest.fixture(autouse=True)
def _no_partitions_stay() -> Iterator[None]:
    """Partitions made for a test are detached and dropped, for the sake of those that count them."""
    yield
    day = f"{timezone.now() - LONG_AGO:%Y%m%d}"
    with connection.cursor() as cursor:
        for table in ("relay_message", "relay_content", "relay_recipient"):
            cursor.execute(f"DROP TABLE IF EXISTS {table}_{day}")


@pytest.fixture(autouse=True)
def _agreement(_no_partitions_stay: None) -> Iterator[None]:
    """Whatever is done, states and events tell the same story, and the engines will find all that is open."""
    yield
    with psycopg.connect(database_url()) as looking:
        assert disagreements(looking) == []


def id_of(moment: datetime) -> UUID:
    """An id as it was given then."""
    return UUID(int=first_id_at(moment).int | uuid7().int & ((1 << 80) - 1))


def make(domain: SendingDomain, send_at: datetime | None, *addresses: str, age: timedelta = timedelta(0)) -> Accepted:
    """Accepted so long ago, for that time."""
    then = timezone.now() - age
    credential = Credential(domain.organization_id, False, None, None, frozenset({"send"}), "")
    addresses = addresses or ("bob@b.test",)
    return Accepted(
        id=id_of(then),
        submission=Submission(credential, "rest", "HTTP", "ada@acme.test", addresses, CONTENT),
        domain_id=domain.pk,
        header_from="ada@acme.test",
        subject="Hi",
        message_id_header="x@y",
        content=CONTENT,
        recipients=tuple(
            AcceptedRecipient(id_of(then + timedelta(milliseconds=1)), a, a.partition("@")[2]) for a in addresses
        ),
        options=Options(),
        once=None,
        submitted_at=then,
        expires_at=(send_at or then) + timedelta(hours=72),
        scheduled_at=send_at,
    )


def store(*messages: Accepted) -> list[set[Lane]]:
    """Commits them; returns what workers were to be woken for, or nudged."""
    told: list[set[Lane]] = []

    class Told:
        def is_awake(self, lane: Lane) -> bool:
            told.append({lane})
            return True

        def send(self, lanes: set[Lane]) -> set[Lane]:
            told.append(lanes)
            return set()

    async def main() -> None:
        intake = Intake(database_url(), Told())
        intake.start()
        for message in messages:  # one by one, so that each may be nudged by the statement that stores it
            await intake.commit(message)
        await intake.stop()

    asyncio.run(main())
    return told


def store_scheduled(domain: SendingDomain, send_at: datetime, *addresses: str, age: timedelta = timedelta(0)) -> UUID:
    message = make(domain, send_at, *addresses, age=age)
    if age:
        day = (timezone.now() - age).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        make_partitions([day])
    store(message)
    return message.id


def recipient() -> Recipient:
    return Recipient.objects.get()


def events() -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, event.detail) for event in Event.objects.order_by("id")]


def types() -> list[str]:
    return [kind for kind, _ in events()]


def claim(organization: Organization, *, looks: bool = True, destination: str = "b.test") -> list[Claimed]:
    """What a worker gets, that has looked at the queue before or not. Gives it back."""

    async def main() -> list[Claimed]:
        queue = Queue(uuid7(), LEASE)
        async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as own:
            if looks:
                await queue.open_lanes(own, timedelta(seconds=15))
            claimed = (await queue.claim(own, {Lane(organization.pk, destination): 100})).recipients
            await queue.release(own, claimed)
            return claimed

    return asyncio.run(main())


def lanes(ahead: timedelta = timedelta(seconds=15)) -> dict[str, float]:
    async def main() -> dict[Lane, float]:
        async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as own:
            return await Queue(uuid7(), LEASE).open_lanes(own, ahead)

    return {lane.destination: in_s for lane, in_s in asyncio.run(main()).items()}


def near(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < timedelta(seconds=10)


# ---- Taken -----------------------------------------------------------------------------------------------------------


def test_a_scheduled_message_is_stored_with_its_time_and_wakes_nobody(domain: SendingDomain) -> None:
    send_at = timezone.now() + timedelta(hours=3)
    message = make(domain, send_at, "bob@b.test", "eve@e.test")

    assert store(message) == []

    assert bytes(Content.objects.get().raw) == CONTENT
    assert Message.objects.get().scheduled_at == send_at
    for one in Recipient.objects.all():
        assert (one.state, one.next_attempt_at, one.expires_at) == ("scheduled", send_at, send_at + timedelta(hours=72))
    row = ScheduledMessage.objects.get()
    assert (row.pk, row.organization_id, row.send_at) == (message.id, domain.organization_id, send_at)
    assert sorted(types()) == ["scheduled", "scheduled", "submitted", "submitted"]
    log = Event.objects.filter(address="bob@b.test").order_by("id")
    assert [(event.type, event.attempt) for event in log] == [("submitted", 0), ("scheduled", 0)]
    assert log[1].detail == {"send_at": send_at.isoformat()}


def test_among_others_only_the_others_wake_somebody(domain: SendingDomain) -> None:
    send_at = timezone.now() + timedelta(hours=3)
    told = store(make(domain, None, "a@now.test"), make(domain, send_at, "b@later.test"))
    assert {lane.destination for lanes in told for lane in lanes} == {"now.test"}
    assert Recipient.objects.get(destination="now.test").state == "submitted"
    assert ScheduledMessage.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "expires_in"),
    [(Options(), timedelta(hours=72)), (Options(expires=timedelta(hours=1)), timedelta(hours=1))],
)
def test_the_door_counts_the_end_from_the_time_of_sending(
    domain: SendingDomain, options: Options, expires_in: timedelta
) -> None:
    send_at = timezone.now() + timedelta(days=10)
    credential = Credential(domain.organization_id, False, None, None, frozenset({"send"}), "")

    async def main() -> None:
        desk = Desk(database_url())
        await desk.open()
        await desk.submit(
            Submission(credential, "rest", "HTTP", "ada@acme.test", ("bob@b.test",), CONTENT,
                       options=replace(options, send_at=send_at))
        )  # fmt: skip
        await desk.close()

    asyncio.run(main())
    assert recipient().state == "scheduled"
    assert recipient().expires_at == send_at + expires_in


# ---- Found when it is due --------------------------------------------------------------------------------------------


def test_it_is_claimed_when_its_time_has_come_and_not_before(domain: SendingDomain, organization: Organization) -> None:
    store_scheduled(domain, timezone.now() + timedelta(seconds=10))
    assert claim(organization) == []
    assert 5 < lanes()["b.test"] <= 10
    assert lanes(timedelta(seconds=1)) == {}
    Recipient.objects.update(next_attempt_at=timezone.now())
    ScheduledMessage.objects.update(send_at=timezone.now())
    assert len(claim(organization)) == 1


def test_a_message_of_long_ago_is_found_when_it_is_due(domain: SendingDomain, organization: Organization) -> None:
    store_scheduled(domain, timezone.now(), age=LONG_AGO)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM relay_recipient")
        assert cursor.fetchone()[0] == f"relay_recipient_{timezone.now() - LONG_AGO:%Y%m%d}"
    assert claim(organization, looks=False) == []  # a worker does not look back that far, before it knows that it must
    assert lanes()["b.test"] <= 0
    [claimed] = claim(organization)
    assert claimed.message_id == Message.objects.get().pk


def test_a_message_that_waits_for_long_makes_no_claim_dearer(domain: SendingDomain, organization: Organization) -> None:
    """Its partitions are looked at while it is due or nearly so, until all its recipients have ended; not else."""
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=5), age=LONG_AGO)

    def looked_back() -> bool:
        async def main() -> UUID:
            queue = Queue(uuid7(), LEASE)
            async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as own:
                await queue.open_lanes(own, timedelta(seconds=15))
            return queue._open_days()["since"]

        return asyncio.run(main()) <= message_id

    assert not looked_back()
    Recipient.objects.update(next_attempt_at=timezone.now() + timedelta(seconds=10))
    ScheduledMessage.objects.update(send_at=timezone.now() + timedelta(seconds=10))
    assert looked_back()
    assert scheduled.tidy() == 0
    ScheduledMessage.objects.update(send_at=timezone.now())
    assert scheduled.tidy() == 0
    assert looked_back()
    act_on_message(Action.CANCEL, organization, message_id, by=WHO)
    assert not ScheduledMessage.objects.exists()
    assert not looked_back()


def test_the_register_forgets_what_has_ended_and_nothing_else(domain: SendingDomain) -> None:
    past = timezone.now() - timedelta(seconds=1)
    open_, partly, ended = (store_scheduled(domain, past, "a@b.test", "b@b.test", age=age)
                            for age in (timedelta(0), LONG_AGO, LONG_AGO))  # fmt: skip
    waiting = store_scheduled(domain, past + timedelta(days=1))
    first = Recipient.objects.filter(message_id=partly).order_by("id")[0]
    done = Recipient.objects.filter(message_id=ended) | Recipient.objects.filter(pk=first.pk)
    for one in done:
        Event.objects.create(organization_id=one.organization_id, message_id=one.message_id, recipient_id=one.pk,
                             address=one.address, type="cancelled", occurred_at=past)  # fmt: skip
    done.update(next_attempt_at=None, state="cancelled")

    assert scheduled.oldest_day() == (timezone.now() - LONG_AGO).date()
    assert scheduled.tidy() == 1
    assert set(ScheduledMessage.objects.values_list("pk", flat=True)) == {open_, partly, waiting}


def test_an_attempt_at_a_message_of_long_ago_that_lapsed_is_taken_over(
    domain: SendingDomain, organization: Organization
) -> None:
    store_scheduled(domain, timezone.now(), age=LONG_AGO)

    async def main() -> int:
        queue = Queue(uuid7(), timedelta(0))
        async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as own:
            await queue.open_lanes(own, timedelta(0))
            assert len((await queue.claim(own, {Lane(organization.pk, "b.test"): 9})).recipients) == 1
            lapsed = await Queue(uuid7(), LEASE).take_lapsed(own, 9)
            return len(lapsed)

    assert asyncio.run(main()) == 1


def test_a_message_of_long_ago_ends_as_expired_when_its_own_time_is_over(domain: SendingDomain) -> None:
    store_scheduled(domain, timezone.now() - timedelta(hours=71), age=LONG_AGO)
    assert expire() == 0
    Recipient.objects.update(expires_at=timezone.now())
    assert expire() == 1
    assert (recipient().state, recipient().reason) == ("bounced", "expired")


def run_engine(settings: Settings, work: Any, peer: Peer) -> None:
    """With one look at the queue, at the start; its own timers must do the rest."""

    async def main() -> None:
        async with peer:
            settings.RELAY_SMARTHOST = f"127.0.0.1:{peer.port}"
            engine = Engine(database_url(), EngineLimits(lease=LEASE, look_every_s=100))
            await engine.start()
            await work(engine)
            async with asyncio.timeout(30):
                while engine.held or await Recipient.objects.filter(next_attempt_at__isnull=False).aexists():
                    await asyncio.sleep(0.01)
            await engine.stop(5)

    asyncio.run(main())


def in_thread(work: Callable[[], Any]) -> Any:
    """Awaitable; closes the thread's connection."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return asyncio.to_thread(run)


async def nothing(engine: Engine) -> None:
    pass


def test_an_engine_delivers_each_at_its_time_in_one_lane_or_many(domain: SendingDomain, settings: Settings) -> None:
    now = timezone.now()
    for number, after in enumerate([0.4, 0.8, 0.8, 1.2, 1.6]):
        store_scheduled(domain, now + timedelta(seconds=after), f"r{number}@b.test")
    store_scheduled(domain, now + timedelta(seconds=1), "r@old.test", age=LONG_AGO)

    run_engine(settings, nothing, Peer())

    assert set(Recipient.objects.values_list("state", flat=True)) == {"delivered"}
    for one in Message.objects.all():
        delivered = Event.objects.get(message_id=one.pk, type="delivered")
        assert one.scheduled_at is not None
        assert delivered.occurred_at >= one.scheduled_at
    assert scheduled.tidy() == 6


def test_what_is_found_due_does_not_hide_what_comes_next(domain: SendingDomain, settings: Settings) -> None:
    store_scheduled(domain, timezone.now() - timedelta(seconds=1), "a@b.test")
    store_scheduled(domain, timezone.now() + timedelta(seconds=1), "b@b.test")
    run_engine(settings, nothing, Peer())
    assert set(Recipient.objects.values_list("state", flat=True)) == {"delivered"}


def test_many_due_at_one_moment_go_out_in_batches_and_in_turn(domain: SendingDomain, settings: Settings) -> None:
    rival = make_domain(make_tenant("Rival").organization, "rival.test")
    send_at = timezone.now() + timedelta(seconds=2)
    flood = [make(domain, send_at, *(f"r{n}.{m}@b.test" for m in range(100))) for n in range(6)]
    store(*flood, make(rival, send_at, "one@b.test"))
    peer = Peer(delay_s=0.05)

    run_engine(settings, nothing, peer)

    assert Event.objects.filter(type="delivered").count() == 601
    firsts = Event.objects.filter(type="delivered").order_by("id").values_list("organization_id", flat=True)
    assert rival.organization_id in set(firsts[:400])  # it does not wait until the others' are through


# ---- Acts ------------------------------------------------------------------------------------------------------------


def test_sending_now_makes_it_due_and_counts_its_end_anew(domain: SendingDomain, organization: Organization) -> None:
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=9), age=LONG_AGO)

    assert act_on_message(Action.RETRY, organization, message_id, by=WHO) == Acted(1)

    assert near(recipient().next_attempt_at, timezone.now())
    assert near(recipient().expires_at, timezone.now() + timedelta(hours=72))
    assert types() == ["submitted", "scheduled", "retry_requested"]
    assert len(claim(organization)) == 1


def test_an_engine_sends_a_message_of_long_ago_now_when_it_is_told(
    domain: SendingDomain, organization: Organization, settings: Settings
) -> None:
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=9), age=LONG_AGO)

    async def send_now(engine: Engine) -> None:
        await in_thread(lambda: act_on_message(Action.RETRY, organization, message_id, by=WHO))
        while not engine.held and await Recipient.objects.filter(state="scheduled").aexists():
            await engine.look()  # what the wake-up makes it do
            await asyncio.sleep(0.05)

    run_engine(settings, send_now, Peer())
    assert recipient().state == "delivered"


def test_a_released_one_waits_for_its_time_again(domain: SendingDomain, organization: Organization) -> None:
    send_at = timezone.now() + timedelta(days=2)
    message_id = store_scheduled(domain, send_at)
    act_on_message(Action.HOLD, organization, message_id, by=WHO)
    assert (recipient().state, recipient().next_attempt_at) == ("held", send_at + timedelta(hours=72))

    assert act_on_message(Action.RELEASE, organization, message_id, by=WHO).changed == 1

    assert (recipient().state, recipient().next_attempt_at) == ("scheduled", send_at)
    assert events()[-1] == ("released", {"by": WHO.name, "send_at": send_at.isoformat()})
    assert claim(organization) == []


def test_one_that_is_released_after_its_time_is_due_at_once(domain: SendingDomain, organization: Organization) -> None:
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=2), age=LONG_AGO)
    act_on_message(Action.HOLD, organization, message_id, by=WHO)
    Message.objects.update(scheduled_at=timezone.now())
    assert act_on_message(Action.RELEASE, organization, message_id, by=WHO).changed == 1
    assert recipient().state == "submitted"
    assert len(claim(organization)) == 1


def test_one_that_was_sent_before_its_time_does_not_go_back_to_it(
    domain: SendingDomain, organization: Organization
) -> None:
    """It would expire before."""
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=9))
    for action in (Action.RETRY, Action.HOLD, Action.RELEASE):
        assert act_on_message(action, organization, message_id, by=WHO).changed == 1
    assert recipient().state == "submitted"
    assert len(claim(organization)) == 1


def test_a_cancelled_one_is_never_sent(domain: SendingDomain, organization: Organization) -> None:
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=2), "a@b.test", "b@b.test")
    first = Recipient.objects.order_by("id")[0]
    act_on_message(Action.CANCEL, organization, message_id, by=WHO, recipient_id=first.pk)
    assert ScheduledMessage.objects.exists()
    act_on_message(Action.CANCEL, organization, message_id, by=WHO)
    assert set(Recipient.objects.values_list("state", "next_attempt_at")) == {("cancelled", None)}
    assert not ScheduledMessage.objects.exists()


@pytest.mark.parametrize("days", [1, 20])
def test_another_time_moves_all_that_wait(domain: SendingDomain, organization: Organization, days: int) -> None:
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=9), "a@b.test", "held@b.test", "gone@b.test")
    held = Recipient.objects.get(address="held@b.test")
    act_on_message(Action.HOLD, organization, message_id, by=WHO, recipient_id=held.pk)
    gone = Recipient.objects.get(address="gone@b.test")
    act_on_message(Action.CANCEL, organization, message_id, by=WHO, recipient_id=gone.pk)
    moment = timezone.now() + timedelta(days=days)

    assert reschedule(organization, message_id, moment, by=WHO) == Acted(1, not_applicable=2)

    moved = Recipient.objects.get(address="a@b.test")
    assert (moved.state, moved.next_attempt_at) == ("scheduled", moment)
    assert moved.expires_at == moment + timedelta(hours=72)
    assert Message.objects.get().scheduled_at == ScheduledMessage.objects.get().send_at == moment
    assert events()[-1] == ("scheduled", {"by": WHO.name, "send_at": moment.isoformat()})
    act_on_message(Action.RELEASE, organization, message_id, by=WHO)
    held.refresh_from_db()
    assert (held.state, held.next_attempt_at, held.expires_at) == ("scheduled", moment, moment + timedelta(hours=72))


def test_another_time_does_not_hide_what_of_the_message_is_under_way(
    domain: SendingDomain, organization: Organization
) -> None:
    message_id = store_scheduled(domain, timezone.now() + timedelta(days=1), "a@b.test", "b@c.test", age=LONG_AGO)
    sooner = Recipient.objects.get(destination="c.test")
    act_on_message(Action.RETRY, organization, message_id, by=WHO, recipient_id=sooner.pk)
    Recipient.objects.filter(pk=sooner.pk).update(leased_by=uuid4(), attempts=1)  # it is being tried

    assert reschedule(organization, message_id, timezone.now() + timedelta(days=9), by=WHO) == Acted(1, busy=1)

    Recipient.objects.filter(pk=sooner.pk).update(leased_by=None, attempts=0)  # and comes back untried
    assert len(claim(organization, destination="c.test")) == 1
    assert claim(organization) == []


def test_another_time_and_a_claim_do_not_both_have_it(domain: SendingDomain, organization: Organization) -> None:
    """Whoever comes first; the other sees what became of it."""
    message_id = store_scheduled(domain, timezone.now())
    later = timezone.now() + timedelta(days=1)

    async def both() -> tuple[int, Acted]:
        queue = Queue(uuid7(), LEASE)
        async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as own:
            async with own.transaction():
                claimed = (await queue.claim(own, {Lane(organization.pk, "b.test"): 9})).recipients
                other = asyncio.ensure_future(in_thread(lambda: reschedule(organization, message_id, later, by=WHO)))
                async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as looking:
                    async with asyncio.timeout(20):
                        blocked = (
                            "SELECT count(*) FROM pg_stat_activity"
                            " WHERE wait_event = 'transactionid' AND datname = current_database()"
                        )
                        while (row := await (await looking.execute(blocked)).fetchone()) is None or not row[0]:
                            await asyncio.sleep(0.01)
            acted = await other
            await queue.release(own, claimed)
            return len(claimed), acted

    assert asyncio.run(both()) == (1, Acted(0, busy=1))
    assert types() == ["submitted", "scheduled"]


# ---- REST ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its connections would keep the test database from being dropped."""
    monkeypatch.setattr("relay.submission.desk._shared", None)
    yield
    shared_desk().close()


@pytest.fixture
def call(organization: Organization, _own_desk: None) -> Any:
    key = create_api_key(organization, "App", [Scope.SEND]).secret

    def call(method: str, path: str, body: Any = None, idempotency_key: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        path = f"/api/v1/emails{path}"
        answer = Client().generic(method, path, json.dumps(body), "application/json", headers=headers)
        return answer.status_code, answer.json()

    return call


LETTER = {"from": "ada@acme.test", "to": "bob@b.test", "subject": "Hi", "text": "Hello"}


@pytest.mark.parametrize(
    ("text", "ahead"),
    [("in 1 hour", timedelta(hours=1)), ("{}", timedelta(days=3))],
    ids=["words", "a time"],
)
def test_a_program_schedules_reschedules_and_cancels(
    organization: Organization, call: Any, text: str, ahead: timedelta
) -> None:
    expected = timezone.now() + ahead
    status, sent = call("POST", "", LETTER | {"scheduled_at": text.format(expected.isoformat())})
    assert (status, recipient().state) == (202, "scheduled")
    assert near(recipient().next_attempt_at, expected)

    status, answer = call("PATCH", f"/{sent['id']}", {"scheduled_at": "in 2 days"})
    assert (status, answer) == (200, {"object": "email", "id": sent["id"]})
    assert near(recipient().next_attempt_at, timezone.now() + timedelta(days=2))

    status, answer = call("POST", f"/{sent['id']}/cancel")
    assert (status, answer["object"], answer["id"]) == (200, "email", sent["id"])
    status, answer = call("PATCH", f"/{sent['id']}", {"scheduled_at": "in 2 days"})
    assert (status, answer["code"]) == (409, "nothing_to_act_on")
    assert "reschedule applies to no recipient of this email: 1 cancelled" in answer["detail"]
    assert [event.detail.get("by") for event in Event.objects.order_by("id")] == [
        None, None, "API key App", "API key App",
    ]  # fmt: skip


def test_rescheduling_to_now_sends_it(organization: Organization, call: Any) -> None:
    _, sent = call("POST", "", LETTER | {"scheduled_at": "in 2 days"})
    status, _ = call("PATCH", f"/{sent['id']}", {"scheduled_at": "now"})
    assert status == 200
    assert len(claim(organization)) == 1


def test_a_time_that_is_past_within_a_minute_is_no_schedule(call: Any) -> None:
    past = (timezone.now() - timedelta(seconds=30)).isoformat()
    status, _ = call("POST", "", LETTER | {"scheduled_at": past})
    assert (status, recipient().state, types()) == (202, "submitted", ["submitted"])


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ("2026-11-25T10:00:00", "validation_failed", "has no zone"),
        ("soon", "validation_failed", "is not understood"),
        (3600, "validation_failed", "Must be a string"),
        ("2020-01-01T00:00:00Z", "schedule_out_of_range", "in the past"),
        ("in 31 days", "schedule_out_of_range", "more than 30 days ahead"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_bad_time_is_told_by_its_field(call: Any, method: str, value: object, code: str, says: str) -> None:
    path = ""
    if method == "PATCH":
        path = f"/{call('POST', '', LETTER | {'scheduled_at': 'in 1 h'})[1]['id']}"
    status, answer = call(method, path, (LETTER if method == "POST" else {}) | {"scheduled_at": value})
    assert (status, answer["code"]) == (422, code)
    [error] = answer["errors"]
    assert error["pointer"] == "/scheduled_at"
    assert says in error["detail"]


def test_with_a_key_a_time_that_is_past_is_now_because_it_may_be_a_repeat(call: Any) -> None:
    letter, key = LETTER | {"scheduled_at": (timezone.now() - timedelta(hours=1)).isoformat()}, "order-42"
    assert call("POST", "", letter)[0] == 422
    status, sent = call("POST", "", letter, key)
    assert (status, recipient().state) == (202, "submitted")
    assert call("POST", "", letter, key) == (202, sent)
    assert Message.objects.count() == 1


def test_of_what_has_begun_a_program_is_told_so(organization: Organization, call: Any) -> None:
    _, sent = call("POST", "", LETTER | {"scheduled_at": "in 2 days"})
    Recipient.objects.update(leased_by=uuid4(), attempts=1)
    status, answer = call("PATCH", f"/{sent['id']}", {"scheduled_at": "in 1 day"})
    assert (status, answer["code"]) == (409, "being_delivered")
    status, answer = call("PATCH", f"/{uuid4()}", {"scheduled_at": "in 1 day"})
    assert (status, answer["code"]) == (404, "not_found")


# ---- Pages -----------------------------------------------------------------------------------------------------------


def test_the_page_tells_when_it_is_sent_and_offers_to_send_it_now() -> None:
    tenant = make_tenant()
    message = make_message(make_domain(tenant.organization), state="scheduled")
    assert message.scheduled_at is not None

    page = tenant.client.get(f"/messages/{message.pk}/").content.decode()
    assert re.search(r"Sends <time [^>]*>in 2 h</time>", page)
    assert page.count(f"{message.scheduled_at:%-d %b %Y, %H:%M}") == 4  # summary, event, next step, facts
    assert "Send now" in page
    assert "Retry now" not in page

    told = tenant.client.post(f"/messages/{message.pk}/retry/", follow=True).content.decode()
    assert "1 recipient is sent now." in told
    assert "Send now requested" in told
    assert "Sends " not in told


def test_scheduled_mail_is_listed_by_its_state_and_acted_on() -> None:
    tenant = make_tenant()
    domain = make_domain(tenant.organization)
    make_message(domain, state="scheduled", subject="Later")
    make_message(domain, state="deferred", subject="Again")

    listed = tenant.client.get("/messages/?state=scheduled").content.decode()
    assert "Later" in listed
    assert "Again" not in listed
    assert "Send now" in listed
    assert "Later" in tenant.client.get("/messages/?state=open").content.decode()
    asked = tenant.client.get("/messages/retry/?state=scheduled").content.decode()
    assert "Send now to 1 recipient?" in asked
    told = tenant.client.post("/messages/retry/?state=scheduled", follow=True).content.decode()
    assert "1 recipient is sent now." in told
