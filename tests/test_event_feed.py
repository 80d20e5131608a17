"""A consumer of the feed misses no event and sees none twice, whatever commits when, and however long a writer is frozen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID

import psycopg
import pytest
from django.db import connections
from psycopg import AsyncConnection

from accounts.ids import first_id_at, time_of, uuid7
from accounts.models import Organization
from events import log
from events.feed import feed
from events.margin import OLDEST, moved
from events.models import Event, EventType
from events.rows import insert_rows
from relay.database import database_url
from relay.delivery.queue import Claimed, Outcome, Queue
from relay.models import Recipient, RecipientState
from tests.factories import make_domain, make_message
from tests.platform import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
FROZEN = timedelta(hours=1)


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture(autouse=True)
def _no_spare_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is for a database's clock that is set back."""
    monkeypatch.setattr("events.feed.MARGIN", OLDEST)


@pytest.fixture(autouse=True)
def _frozen_before_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writer here was frozen, or has such a clock; its events are visible as soon as nobody writes."""
    monkeypatch.setattr("events.log.uuid7", old_id)


def old_id(ago: timedelta = FROZEN) -> UUID:
    return moved(uuid7(), -ago)


class Writer:
    """A connection that writes with the statements of the doors and the workers."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.connection = self._runner.run(AsyncConnection.connect(database_url()))

    def execute(self, statement: str) -> None:
        self._runner.run(self.connection.execute(statement.encode()))

    def write(self, organization: Organization, count: int = 1) -> list[UUID]:
        """Events in the transaction that is open or opened by it. Returns their recipients."""
        events = [new_event(organization) for _ in range(count)]
        self._runner.run(self._write(events))
        return [event.recipient_id for event in events]

    async def _write(self, events: list[log.NewEvent]) -> None:
        async with self.connection.cursor() as cursor:
            await insert_rows(cursor, (log.TABLE, [log.as_row(event) for event in events]))

    def commit(self) -> None:
        self._runner.run(self.connection.commit())

    def rollback(self) -> None:
        self._runner.run(self.connection.rollback())

    def close(self) -> None:
        self._runner.run(self.connection.close())
        self._runner.close()


def new_event(organization: Organization) -> log.NewEvent:
    now = datetime.now(UTC)
    return log.NewEvent(organization.pk, uuid7(), uuid7(), "a@b.test", EventType.DELIVERED, now, attempt=1)


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    opened = [Writer() for _ in range(2)]
    yield opened
    for one in opened:
        one.close()


def read(organization: Organization, after: UUID | None = None) -> tuple[list[UUID], UUID]:
    """Recipients of the events, and where to go on."""
    wait_past_this_millisecond()
    page = feed(organization, limit=100, after=after)
    return [event.recipient_id for event in page.events], page.next


def wait_past_this_millisecond() -> None:
    """An id's time is whole milliseconds, and the horizon is before the present one."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now:
        pass


def test_a_younger_event_waits_for_an_older_one_to_be_committed(
    organization: Organization, writers: list[Writer]
) -> None:
    slow, quick = writers
    before = quick.write(organization)
    quick.commit()
    wait_past_this_millisecond()
    older = slow.write(organization)
    wait_past_this_millisecond()
    younger = quick.write(organization)
    quick.commit()

    first, cursor = read(organization)
    assert first == before
    slow.commit()
    assert read(organization, cursor)[0] == [*older, *younger]


def test_a_rollback_lets_the_feed_go_on(organization: Organization, writers: list[Writer]) -> None:
    slow, quick = writers
    slow.write(organization)
    younger = quick.write(organization)
    quick.commit()
    assert read(organization)[0] == []
    slow.rollback()
    assert read(organization)[0] == younger


@pytest.mark.parametrize("what", ["a long report", "a wait for a lock"])
def test_who_has_written_nothing_does_not_hold_up_the_feed(
    what: str, organization: Organization, writers: list[Writer]
) -> None:
    other, writer = writers
    if what == "a long report":
        other.execute("SELECT count(*) FROM events_event")  # and its transaction stays open
    else:
        writer.execute("SELECT pg_advisory_lock(7)")
        thread = threading.Thread(target=other.execute, args=["SELECT pg_advisory_xact_lock(7)"])
        thread.start()
        wait_for(someone_waits_for_a_lock, "it waits")
    written = writer.write(organization)
    writer.commit()
    found, cursor = read(organization)
    assert found == written
    if what == "a wait for a lock":
        writer.execute("SELECT pg_advisory_unlock(7)")
        thread.join(20)
    written = other.write(organization)  # now its ids are of long ago, and its transaction is
    other.commit()
    assert read(organization, cursor)[0] == written


def someone_waits_for_a_lock() -> bool:
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(database_url(), autocommit=True) as other:
        return bool(other.execute(blocked).fetchone()[0])  # type: ignore[index]


def test_a_writer_that_is_stopped_between_looking_at_the_clock_and_its_first_row_is_waited_for(
    organization: Organization, writers: list[Writer]
) -> None:
    writer, holder = writers
    with psycopg.connect(database_url()) as other:
        for [leaf] in other.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events_event'::regclass"
        ).fetchall():
            holder.execute(f"LOCK TABLE {leaf} IN SHARE MODE")  # a row is routed to its partition after it was made
    thread = threading.Thread(target=lambda: (writer.write(organization), writer.commit()))
    thread.start()
    wait_for(someone_waits_for_a_lock, "it waits")
    found, cursor = read(organization)
    assert found == []
    holder.rollback()
    thread.join(20)
    assert len(read(organization, cursor)[0]) == 1


def doors_one(organization: Organization) -> list[UUID]:
    return _in_a_transaction(organization, 1)


def doors_many(organization: Organization) -> list[UUID]:
    return _in_a_transaction(organization, 5)


def _in_a_transaction(organization: Organization, count: int) -> list[UUID]:
    writer = Writer()
    written = writer.write(organization, count)
    writer.commit()
    writer.close()
    return written


def orm(organization: Organization) -> list[UUID]:
    events = Event.objects.bulk_create(
        Event(
            id=old_id(), organization=organization, message_id=uuid7(), recipient_id=uuid7(), address="a@b.test",
            type=EventType.HELD, occurred_at=datetime.now(UTC),
        )
        for _ in range(3)
    )  # fmt: skip
    return [event.recipient_id for event in events]


def settling(organization: Organization) -> list[UUID]:
    domain = make_domain(organization)
    rows = []
    for n in range(3):
        message = make_message(domain, to=f"r{n}@inbox.test", state="submitted", events=[])
        rows.append(Recipient.objects.get(message_id=message.pk))
    queue = Queue(uuid7(), timedelta(minutes=1))
    Recipient.objects.update(leased_by=queue.worker, attempts=1)
    now = datetime.now(UTC)
    outcomes = [
        Outcome(
            Claimed(row.pk, row.message_id, organization.pk, domain.pk, row.address, row.destination, 1, now, False, 1),
            RecipientState.DELIVERED,
            EventType.DELIVERED,
            now,
        )
        for row in rows
    ]

    async def settle() -> None:
        async with await AsyncConnection.connect(database_url(), autocommit=True) as connection:
            assert await queue.settle(connection, outcomes) == {row.pk for row in rows}

    asyncio.run(settle())
    return [row.pk for row in rows]


@pytest.mark.parametrize("write", [doors_one, doors_many, orm, settling])
def test_no_reader_misses_what_a_frozen_writer_brings(
    write: Callable[[Organization], list[UUID]], organization: Organization
) -> None:
    _, cursor = read(organization)
    assert time_of(cursor) > datetime.now(UTC) - FROZEN
    written = write(organization)

    def shown() -> list[Event]:
        return feed(organization, limit=100, after=cursor, types=["delivered", "held"]).events

    # They were made within some milliseconds, and are shown so long after each other.
    wait_for(lambda: len(shown()) == len(written), "all are shown")
    events = shown()
    assert [event.recipient_id for event in events] == written
    assert all(event.pk.version == 7 for event in events)
    assert len({event.pk.int & (1 << 64) - 1 for event in events}) == len(written)


def test_a_young_id_stays_as_it_was_made(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[UUID] = []
    monkeypatch.setattr("events.log.uuid7", lambda: made.append(uuid7()) or made[-1])  # type: ignore[func-returns-value]
    doors_many(organization)
    assert list(Event.objects.order_by("id").values_list("id", flat=True)) == made
    assert made[-1] < first_id_at(datetime.now(UTC) + OLDEST)


def test_a_consumer_among_many_writers_gets_each_event_once_and_in_order(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some ids are young, some are not, and some transactions commit late."""
    ages = cycle([timedelta(0), OLDEST * 0.9, OLDEST, OLDEST * 1.1, FROZEN])
    monkeypatch.setattr("events.log.uuid7", lambda: old_id(next(ages)))
    consumed: list[UUID] = []

    def work(number: int) -> None:
        writer = Writer()
        for step in range(40):
            for _ in range(1 + (step + number) % 3):
                writer.write(organization)
            if (step + number) % 5 == 0:
                time.sleep(0.01)
            writer.commit()
        writer.close()
        connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    written = sum(1 + (step + number) % 3 for step in range(40) for number in range(4))
    cursor: UUID | None = None

    def read_on() -> bool:
        nonlocal cursor
        wait_past_this_millisecond()
        page = feed(organization, limit=100, after=cursor)
        consumed.extend(event.pk for event in page.events)
        cursor = page.next
        is_over = not any(thread.is_alive() for thread in threads)
        return is_over and not Event.objects.filter(id__gt=cursor).exists()

    wait_for(read_on, "all is read", 60)
    assert consumed == list(Event.objects.order_by("id").values_list("id", flat=True))
    assert len(consumed) == written
