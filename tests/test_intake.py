"""Group commit and the queue on real PostgreSQL."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.ids import uuid7
from accounts.models import Organization
from events.models import Event, EventType
from relay.database import database_url
from relay.delivery.outcome import Chances, lapsed
from relay.delivery.queue import Claimed, Outcome, Queue
from relay.expiry import expire
from relay.lanes import Lane
from relay.models import Content, IdempotencyKey, Message, Recipient, RecipientState, Suppression
from relay.nudges import nudges
from relay.submission import intake as intake_module
from relay.submission import storing
from relay.submission.accept import Accepted, AcceptedRecipient, Parcel, Submission
from relay.submission.intake import Intake
from relay.submission.once import Once, by_batch_key, by_key
from relay.submission.options import Options
from relay.submission.repeats import Receipt, recognise
from relay.tasks import forget_idempotency_keys

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]

LEASE = timedelta(seconds=60)


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


def make_accepted(
    organization: Organization, *addresses: str, subject: str = "Hi", once: Once | None = None
) -> Accepted:
    credential = Credential(organization.pk, False, None, None, frozenset({"send"}), "example.test")
    content = b"From: ada@example.test\r\n\r\nHello\r\n"
    now = datetime.now(UTC)
    addresses = addresses or ("bob@b.test",)
    return Accepted(
        id=uuid7(),
        submission=Submission(credential, "smtp", "ESMTPSA", "ada@example.test", addresses, content),
        domain_id=uuid7(),
        header_from="ada@example.test",
        subject=subject,
        message_id_header="x@y",
        content=content,
        recipients=tuple(AcceptedRecipient(uuid7(), a, a.partition("@")[2]) for a in addresses),
        options=Options(),
        once=once,
        submitted_at=now,
        expires_at=now + timedelta(hours=72),
    )


class NobodyAwake:
    """Wakers that reach nobody."""

    def is_awake(self, lane: Lane) -> bool:
        return False

    def send(self, lanes: set[Lane]) -> set[Lane]:
        return set()


def run_intake(work: Callable[[Intake], Awaitable[object]], url: str = "") -> list[set[str]]:
    """Runs `work` with an intake; returns what it told of committed destinations."""
    told: list[set[str]] = []

    async def main() -> None:
        class Told(NobodyAwake):
            def send(self, lanes: set[Lane]) -> set[Lane]:
                told.append({lane.destination for lane in lanes})
                return set()

        intake = Intake(url or database_url(), Told())
        intake.start()
        await work(intake)
        await intake.stop()

    asyncio.run(main())
    return told


def transactions() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM relay_message")
        return int(cursor.fetchone()[0])


def test_a_committed_message_has_its_content_recipients_and_events(organization: Organization) -> None:
    accepted = make_accepted(organization, "bob@b.test", "eve@e.test")
    told = run_intake(lambda intake: intake.commit(accepted))
    assert told == [{"b.test", "e.test"}]
    assert bytes(Content.objects.get(id=accepted.id).raw) == accepted.content
    assert Message.objects.of(organization).get(id=accepted.id).recipient_count == 2
    assert list(Recipient.objects.filter(message_id=accepted.id).values_list("address", "state").order_by("id")) == [
        ("bob@b.test", "submitted"),
        ("eve@e.test", "submitted"),
    ]
    assert list(Event.objects.filter(message_id=accepted.id).values_list("type", flat=True)) == ["submitted"] * 2


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_batch_is_stored_as_it_was_given(organization: Organization, large: bool) -> None:
    """Tags of different number, metadata, absent keys: each way of writing rows has its own form for them."""
    tags = [(), ("a", "kind:b"), ('quote " and \\ and , and {}', "NULL", ""), ()]
    messages = [
        replace(
            make_accepted(organization, *(f"r{n}@b.test" for n in range(number + 1)), subject=f"Grüße {number}"),
            options=Options(tags=tags[number], metadata={"order": "4\u20ac"} if number else {}),
            content=b"From: a@b.test\r\n\r\n" + bytes(range(256)) * (4 + 2000 * large) + b"%d\r\n" % number,
        )
        for number in range(4)
    ]
    submit_all(messages)
    for message in messages:
        stored = Message.objects.get(id=message.id)
        assert (tuple(stored.tags), stored.metadata) == (message.options.tags, message.options.metadata)
        assert (stored.subject, stored.smtp_user_id, stored.size_bytes) == (message.subject, None, len(message.content))
        assert stored.submitted_at == message.submitted_at
        assert bytes(Content.objects.get(id=message.id).raw) == message.content
        recipients = Recipient.objects.filter(message_id=message.id).order_by("id")
        assert [r.address for r in recipients] == [r.address for r in message.recipients]
        assert {(r.attempts, r.leased_by, r.expires_at) for r in recipients} == {(0, None, message.expires_at)}
        assert Event.objects.filter(message_id=message.id, detail__door="smtp").count() == len(message.recipients)


def test_what_waits_together_is_committed_together(organization: Organization) -> None:
    messages = [make_accepted(organization) for _ in range(300)]

    async def work(intake: Intake) -> None:
        await asyncio.gather(*(intake.commit(message) for message in messages))

    run_intake(work)
    assert Message.objects.count() == 300
    assert transactions() <= 4


def test_a_message_that_the_database_cannot_take_fails_alone(organization: Organization) -> None:
    messages = [make_accepted(organization, subject=subject) for subject in ("one", "nul\0", "three")]
    results: list[object] = []

    async def work(intake: Intake) -> None:
        results.extend(await asyncio.gather(*(intake.commit(m) for m in messages), return_exceptions=True))

    run_intake(work)
    assert [type(result) for result in results] == [Receipt, Refused, Receipt]
    assert set(Message.objects.values_list("subject", flat=True)) == {"one", "three"}


def test_without_a_database_the_answer_is_try_later(organization: Organization) -> None:
    async def work(intake: Intake) -> None:
        with pytest.raises(Refused) as caught:
            await intake.commit(make_accepted(organization))
        assert caught.value.code == "temporarily_unavailable"
        assert caught.value.smtp_reply().startswith("451 4.3.0 ")

    run_intake(work, url="postgresql:///nowhere?host=/nonexistent")
    assert not Message.objects.exists()


# ---- never twice ------------------------------------------------------------------------------------------------------


def submit_all(messages: Sequence[Accepted | Parcel], intakes: int = 1) -> list[object]:
    """Submits all at the same moment, over several intakes as several processes would."""
    parcels = [one if isinstance(one, Parcel) else Parcel((one,), one.once) for one in messages]

    async def main() -> list[object]:
        opened = [Intake(database_url(), NobodyAwake()) for _ in range(intakes)]
        for intake in opened:
            intake.start()
        answers = await asyncio.gather(
            *(opened[n % intakes].commit_together(parcel) for n, parcel in enumerate(parcels)), return_exceptions=True
        )
        for intake in opened:
            await intake.stop()
        return list(answers)

    return asyncio.run(main())


@pytest.mark.parametrize("intakes", [1, 3])
def test_one_key_at_the_same_moment_is_one_message(organization: Organization, intakes: int) -> None:
    once = by_key("order-42", b"f" * 32)
    answers = submit_all([make_accepted(organization, once=once) for _ in range(30)], intakes)
    assert all(isinstance(answer, Receipt) for answer in answers)
    [stored] = Message.objects.all()
    assert {answer.message_id for answer in answers if isinstance(answer, Receipt)} == {stored.id}
    assert sum(not answer.is_repeat for answer in answers if isinstance(answer, Receipt)) == 1
    assert Event.objects.count() == Recipient.objects.count() == 1


def test_many_keys_from_many_processes_do_not_wait_for_each_other_for_ever(organization: Organization) -> None:
    messages = [make_accepted(organization, once=by_key(f"key-{n % 40}", b"f" * 32)) for n in range(400)]
    answers = submit_all(messages[::-1] + messages, 4)
    assert all(isinstance(answer, Receipt) for answer in answers)
    assert Message.objects.count() == 40


def test_another_message_under_the_same_key_is_refused(organization: Organization) -> None:
    [first] = submit_all([make_accepted(organization, once=by_key("order-42", b"1" * 32))])
    [second, third] = submit_all(
        [
            make_accepted(organization, once=by_key("order-42", b"2" * 32)),
            make_accepted(organization, once=by_key("order-43", b"2" * 32)),
        ]
    )
    assert isinstance(first, Receipt)
    assert isinstance(second, Refused)
    assert second.code == "invalid_idempotent_request"
    assert isinstance(third, Receipt)
    assert Message.objects.count() == 2


def test_a_key_is_another_organizations_own(organization: Organization) -> None:
    other = Organization.objects.create(name="Other")
    once = by_key("order-42", b"f" * 32)
    answers = submit_all([make_accepted(organization, once=once), make_accepted(other, once=once)])
    assert [isinstance(answer, Receipt) and answer.is_repeat for answer in answers] == [False, False]


def test_a_key_is_free_again_after_a_day(organization: Organization) -> None:
    once = by_key("order-42", b"f" * 32)
    submit_all([make_accepted(organization, once=once)])
    IdempotencyKey.objects.update(created_at=datetime.now(UTC) - timedelta(hours=25))
    [again] = submit_all([make_accepted(organization, once=by_key("order-42", b"g" * 32))])
    assert isinstance(again, Receipt)
    assert not again.is_repeat
    IdempotencyKey.objects.update(created_at=datetime.now(UTC) - timedelta(hours=25))
    forget_idempotency_keys()
    assert not IdempotencyKey.objects.exists()


def test_a_message_that_cannot_be_stored_leaves_its_key_free(organization: Organization) -> None:
    once = by_key("order-42", b"f" * 32)
    [failed] = submit_all([make_accepted(organization, subject="nul\0", once=once)])
    [stored] = submit_all([make_accepted(organization, once=once)])
    assert isinstance(failed, Refused)
    assert stored == Receipt(Message.objects.get().id)


@asynccontextmanager
async def holding(parcel: Parcel) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A transaction of another process that has taken the parcel's key and gets no further."""
    async with connected() as connection, connection.transaction(), connection.cursor() as cursor:
        assert await recognise(cursor, [parcel]) == {}
        yield connection


class RollBack(Exception):
    pass


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_who_finds_the_key_in_other_hands_waits_for_them(organization: Organization, ends: str) -> None:
    once = by_key("order-42", b"f" * 32)
    held, message = Parcel((make_accepted(organization),), once), make_accepted(organization, once=once)

    async def work(intake: Intake) -> None:
        with contextlib.suppress(RollBack):
            async with holding(held):
                waiting = asyncio.ensure_future(intake.commit(message))
                await intake.commit(make_accepted(organization, subject="after"))  # the key has been looked at by now
                assert not waiting.done()
                if ends == "rollback":
                    raise RollBack
        is_repeat = ends == "commit"
        assert await waiting == Receipt(held.id if is_repeat else message.id, is_repeat=is_repeat)

    run_intake(work)
    assert Message.objects.filter(id=message.id).exists() == (ends == "rollback")


def test_a_key_that_is_held_open_holds_up_nobody_else(organization: Organization) -> None:
    """More repeats than there are committers, all refused in the end; others are committed before that."""
    other, once = Organization.objects.create(name="Other"), by_key("order-42", b"f" * 32)
    repeats = [make_accepted(organization, once=once) for _ in range(5)]
    others = [make_accepted(other, once=by_key(f"key-{n}", b"f" * 32) if n % 2 else None) for n in range(20)]

    async def work(intake: Intake) -> None:
        async with holding(Parcel((make_accepted(organization),), once)):
            waiting = [asyncio.ensure_future(intake.commit(message)) for message in repeats]
            async with asyncio.timeout(10):
                for one in others:
                    assert await intake.commit(one) == Receipt(one.id)
            assert not any(one.done() for one in waiting)
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert {a.code for a in answers if isinstance(a, Refused)} == {"concurrent_idempotent_requests"}
            assert len(answers) == 5

    run_intake(work)
    assert set(Message.objects.values_list("id", flat=True)) == {one.id for one in others}


def test_an_intake_that_stops_does_not_forget_who_waits_for_a_key(organization: Organization) -> None:
    once = by_key("order-42", b"f" * 32)
    waiting: list[asyncio.Future[Receipt]] = []

    async def main() -> None:
        async with holding(Parcel((make_accepted(organization),), once)):

            async def work(intake: Intake) -> None:
                waiting.append(asyncio.ensure_future(intake.commit(make_accepted(organization, once=once))))
                await intake.commit(make_accepted(organization))

            intake = Intake(database_url(), NobodyAwake())
            intake.start()
            await work(intake)
            await intake.stop()
            with pytest.raises(Refused):
                await asyncio.wait_for(waiting[0], 5)

    asyncio.run(main())


# ---- parcels ----------------------------------------------------------------------------------------------------------


def make_parcel(organization: Organization, *subjects: str, once: Once | None = None, answer: object = None) -> Parcel:
    return Parcel(tuple(make_accepted(organization, subject=subject) for subject in subjects), once, answer)


def subjects() -> list[str]:
    return sorted(Message.objects.values_list("subject", flat=True))


def test_a_parcel_is_never_divided(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "BATCH_MESSAGES", 3)
    parcels = [make_parcel(organization, *(f"p{p}m{m}" for m in range(7))) for p in range(4)]
    assert submit_all(parcels) == [Receipt(parcel.id) for parcel in parcels]
    assert len(subjects()) == Content.objects.count() == Recipient.objects.count() == Event.objects.count() == 28
    assert transactions() == 4
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM relay_message GROUP BY substr(subject, 1, 2)")
        assert cursor.fetchall() == [(1,)] * 4


def test_a_parcel_is_committed_by_how_large_it_is_as_a_whole(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "BATCH_OCTETS", 100)
    parcels = [make_parcel(organization, "a", "b", "c", "d") for _ in range(3)]  # of 120 octets each
    submit_all(parcels)
    assert transactions() == 3


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_parcel_with_a_message_that_the_database_cannot_take_fails_whole_and_alone(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(storing, "COPIED_OCTETS", 1)
    once = by_batch_key("order-42", b"f" * 32)
    answers = submit_all(
        [
            make_parcel(organization, "one", "two"),
            make_parcel(organization, "three", "nul\0", "four", once=once),
            make_accepted(organization, subject="five"),
        ]
    )
    assert [type(answer) for answer in answers] == [Receipt, Refused, Receipt]
    assert isinstance(answers[1], Refused)
    assert answers[1].code == "internal_error"
    assert subjects() == ["five", "one", "two"]
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("intakes", [1, 3])
def test_one_key_of_a_batch_at_the_same_moment_is_one_batch(organization: Organization, intakes: int) -> None:
    once = by_batch_key("order-42", b"f" * 32)
    parcels = [make_parcel(organization, "one", "two", once=once, answer={"data": [n]}) for n in range(20)]
    answers = submit_all(parcels, intakes)
    [new] = [n for n, answer in enumerate(answers) if answer == Receipt(parcels[n].id)]
    again = Receipt(parcels[new].id, is_repeat=True, answer={"data": [new]})
    assert [answer for n, answer in enumerate(answers) if n != new] == [again] * 19
    assert subjects() == ["one", "two"]
    assert IdempotencyKey.objects.get().message_id == parcels[new].id


def test_an_old_key_takes_the_new_answer(organization: Organization) -> None:
    once = by_batch_key("order-42", b"f" * 32)
    submit_all([make_parcel(organization, "old", once=once, answer=["old"])])
    IdempotencyKey.objects.update(created_at=datetime.now(UTC) - timedelta(hours=25))
    new = make_parcel(organization, "new", once=once, answer=["new"])
    assert submit_all([new]) == [Receipt(new.id)]
    assert submit_all([make_parcel(organization, "again", once=once)]) == [Receipt(new.id, True, ["new"])]


def test_a_key_of_a_single_message_is_not_that_of_a_batch(organization: Organization) -> None:
    messages = make_accepted(organization, once=by_key("order-42", b"1" * 32))
    parcel = make_parcel(organization, "one", once=by_batch_key("order-42", b"2" * 32))
    assert submit_all([messages, parcel]) == [Receipt(messages.id), Receipt(parcel.id)]


def test_the_lanes_of_all_messages_are_told(organization: Organization) -> None:
    parcel = Parcel((make_accepted(organization, "a@a.test"), make_accepted(organization, "b@b.test")))
    assert run_intake(lambda intake: intake.commit_together(parcel)) == [{"a.test", "b.test"}]


# ---- the queue --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected() -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    connection = await psycopg.AsyncConnection.connect(database_url(), autocommit=True)
    try:
        yield connection
    finally:
        await connection.close()


def fill(organization: Organization, count: int, destination: str = "b.test") -> None:
    async def work(intake: Intake) -> None:
        await asyncio.gather(*(intake.commit(make_accepted(organization, f"r{n}@{destination}")) for n in range(count)))

    run_intake(work)


def outcome(claimed: Claimed, state: RecipientState = RecipientState.DELIVERED) -> Outcome:
    return Outcome(claimed=claimed, state=state, event=EventType(state.value), at=datetime.now(UTC), reply="250 Ok")


def types_of(recipient_id: UUID) -> list[str]:
    return list(Event.objects.filter(recipient_id=recipient_id).order_by("id").values_list("type", flat=True))


def test_two_workers_never_claim_the_same_recipient(organization: Organization) -> None:
    fill(organization, 200)

    async def drain(queue: Queue) -> list[UUID]:
        taken: list[UUID] = []
        async with connected() as connection:
            while claimed := (await queue.claim(connection, {Lane(organization.pk, "b.test"): 7})).recipients:
                taken += [one.id for one in claimed]
        return taken

    async def main() -> list[list[UUID]]:
        return await asyncio.gather(*(drain(Queue(uuid7(), LEASE)) for _ in range(4)))

    taken = [one for part in asyncio.run(main()) for one in part]
    assert len(taken) == len(set(taken)) == 200


def test_a_settled_recipient_has_its_state_and_one_event_and_is_not_due(organization: Organization) -> None:
    fill(organization, 1)
    queue = Queue(uuid7(), LEASE)

    async def main() -> None:
        async with connected() as connection:
            [claimed] = (await queue.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients
            assert claimed.attempt == 1
            assert await queue.settle(connection, [outcome(claimed)]) == {claimed.id}
            assert await queue.settle(connection, [outcome(claimed)]) == set()  # a second time changes nothing
            assert await queue.open_lanes(connection, timedelta(0)) == {}

    asyncio.run(main())
    recipient = Recipient.objects.get()
    assert (recipient.state, recipient.next_attempt_at, recipient.leased_by) == ("delivered", None, None)
    assert types_of(recipient.id) == ["submitted", "delivered"]


def test_a_lease_that_ran_out_is_in_doubt_and_the_late_worker_cannot_settle(organization: Organization) -> None:
    fill(organization, 1)
    late, next_one = Queue(uuid7(), timedelta(0)), Queue(uuid7(), LEASE)

    async def main() -> None:
        async with connected() as connection:
            [lost] = (await late.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients
            assert (await next_one.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients == []
            [one] = await next_one.take_lapsed(connection, 10)
            assert (one.claimed.id, one.claimed.attempt) == (lost.id, 1)
            assert await late.settle(connection, [outcome(lost)]) == set()
            in_doubt = lapsed(one, Chances(lambda: 0.5, scale=0))
            assert await next_one.settle(connection, [in_doubt]) == {lost.id}
            [claimed] = (await next_one.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients
            assert (claimed.id, claimed.attempt) == (lost.id, 2)
            assert await next_one.settle(connection, [outcome(claimed)]) == {claimed.id}

    asyncio.run(main())
    assert types_of(Recipient.objects.get().id) == ["submitted", "in_doubt", "delivered"]


def test_an_organization_that_wants_nothing_twice_ends_with_the_outcome_unknown(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(never_twice=True)
    fill(organization, 1)

    async def main() -> None:
        async with connected() as connection:
            await Queue(uuid7(), timedelta(0)).claim(connection, {Lane(organization.pk, "b.test"): 10})
            queue = Queue(uuid7(), LEASE)
            [one] = await queue.take_lapsed(connection, 10)
            await queue.settle(connection, [lapsed(one, Chances(lambda: 0.5, scale=0))])
            assert await queue.open_lanes(connection, timedelta(days=1)) == {}

    asyncio.run(main())
    recipient = Recipient.objects.get()
    assert (recipient.state, recipient.reason) == ("unknown_outcome", "outcome_unknown")
    assert types_of(recipient.id) == ["submitted", "unknown_outcome"]


def test_a_renewed_lease_does_not_run_out(organization: Organization) -> None:
    fill(organization, 1)
    short = Queue(uuid7(), timedelta(0))

    async def main() -> None:
        async with connected() as connection:
            [claimed] = (await short.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients
            await replace(short, lease=LEASE).renew(connection, [claimed.id])
            assert await short.take_lapsed(connection, 10) == []

    asyncio.run(main())


def test_what_is_given_back_is_due_at_once_and_not_counted_as_an_attempt(organization: Organization) -> None:
    fill(organization, 3)
    queue = Queue(uuid7(), LEASE)

    async def main() -> None:
        async with connected() as connection:
            claimed = (await queue.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients
            await queue.release(connection, claimed)
            again = (await queue.claim(connection, {Lane(organization.pk, "b.test"): 10})).recipients
            assert [one.attempt for one in again] == [1, 1, 1]

    asyncio.run(main())
    assert not Event.objects.filter(type="in_doubt").exists()


def test_giving_back_an_attempt_that_lapsed_does_not_free_the_next_one(organization: Organization) -> None:
    fill(organization, 1)
    lane = Lane(organization.pk, "b.test")
    queue = Queue(uuid7(), timedelta(0))

    async def main() -> None:
        async with connected() as connection:
            old = (await queue.claim(connection, {lane: 1})).recipients
            [one] = await queue.take_lapsed(connection, 1)
            await queue.settle(connection, [lapsed(one, Chances(lambda: 0.5, scale=0))])
            [new] = (await queue.claim(connection, {lane: 1})).recipients
            await queue.release(connection, old)
            assert await queue.renew(connection, [new.id]) == {new.id}

    asyncio.run(main())
    assert Recipient.objects.get().attempts == 2


def test_open_lanes_are_named_once_with_the_time_until_they_are_due(organization: Organization) -> None:
    for destination in ("a.test", "b.test", "c.test", "d.test"):
        fill(organization, 5, destination)
    Recipient.objects.filter(destination="b.test").update(next_attempt_at=datetime.now(UTC) + timedelta(hours=1))
    Recipient.objects.filter(destination="c.test").update(next_attempt_at=datetime.now(UTC) + timedelta(seconds=20))

    async def main() -> dict[Lane, float]:
        async with connected() as connection:
            return await Queue(uuid7(), LEASE).open_lanes(connection, timedelta(seconds=60))

    lanes = asyncio.run(main())
    assert [lane.destination for lane in lanes] == ["a.test", "c.test", "d.test"]
    assert lanes[Lane(organization.pk, "a.test")] <= 0
    assert 10 < lanes[Lane(organization.pk, "c.test")] <= 20


def test_one_claim_serves_many_lanes_each_with_its_own_number(organization: Organization) -> None:
    for destination in ("a.test", "b.test", "c.test"):
        fill(organization, 5, destination)

    async def main() -> Counter[str]:
        wanted = {Lane(organization.pk, "a.test"): 2, Lane(organization.pk, "b.test"): 9, Lane(uuid7(), "c.test"): 9}
        async with connected() as connection:
            claim = await Queue(uuid7(), LEASE).claim(connection, wanted)
            return Counter(claimed.destination for claimed in claim.recipients)

    assert asyncio.run(main()) == {"a.test": 2, "b.test": 5}


def test_a_suppressed_address_is_told_apart_whatever_its_case(organization: Organization) -> None:
    fill(organization, 1)
    Recipient.objects.update(address="ADA@B.test")
    Suppression.objects.create(organization=organization, address="ada@b.test", reason="manual")

    async def main() -> list[bool]:
        async with connected() as connection:
            claim = await Queue(uuid7(), LEASE).claim(connection, {Lane(organization.pk, "b.test"): 9})
            return [claimed.is_suppressed for claimed in claim.recipients]

    assert asyncio.run(main()) == [True]


def test_a_hard_bounce_suppresses_the_address_together_with_its_state(organization: Organization) -> None:
    fill(organization, 1)

    async def main() -> None:
        async with connected() as connection:
            queue = Queue(uuid7(), LEASE)
            [claimed] = (await queue.claim(connection, {Lane(organization.pk, "b.test"): 9})).recipients
            bounced = replace(outcome(claimed, RecipientState.BOUNCED), reason="no_such_address", suppresses=True)
            await queue.settle(connection, [bounced])
            await queue.settle(connection, [bounced])  # a late one changes nothing

    asyncio.run(main())
    suppression = Suppression.objects.get()
    assert (suppression.address, suppression.reason) == (Recipient.objects.get().address.lower(), "no_such_address")


def test_what_waits_beyond_its_time_ends_as_expired(organization: Organization) -> None:
    fill(organization, 3)
    Recipient.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    first = Recipient.objects.order_by("id")[0]
    Recipient.objects.filter(pk=first.pk).update(leased_by=uuid7(), attempts=1)  # in somebody's hands

    assert expire() == 2
    assert expire() == 0

    assert sorted(Recipient.objects.values_list("state", "reason")) == [
        ("bounced", "expired"), ("bounced", "expired"), ("submitted", ""),
    ]  # fmt: skip
    assert Event.objects.filter(type="bounced", reason="expired").count() == 2


def test_a_lane_at_work_is_nudged_by_the_very_statement_that_stores_the_message(organization: Organization) -> None:
    heard: list[Lane] = []

    class AllAwake(NobodyAwake):
        def is_awake(self, lane: Lane) -> bool:
            return True

    async def main() -> None:
        intake = Intake(database_url(), AllAwake())
        intake.start()
        async with contextlib.aclosing(nudges(database_url())) as lanes:
            listening = asyncio.ensure_future(anext(lanes))
            while not listening.done():  # until it listens
                await intake.commit(make_accepted(organization))
                await asyncio.wait([listening], timeout=0.1)
            heard.extend(await listening)
        await intake.stop()

    asyncio.run(main())
    assert heard == [Lane(organization.pk, "b.test")]
