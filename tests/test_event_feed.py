"""A consumer of the feed misses no event and sees none twice, whatever commits when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import connections
from psycopg import Connection

from accounts.ids import uuid7
from accounts.models import Organization
from events.feed import feed
from relay.database import database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture(autouse=True)
def _no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the margin is for does not happen here: ids are made inside of transactions, by one clock."""
    monkeypatch.setattr("events.feed.MARGIN", timedelta(0))


@pytest.fixture
def writers() -> Iterator[list[Connection]]:
    opened = [psycopg.connect(database_url()) for _ in range(2)]
    yield opened
    for one in opened:
        one.close()


def write(connection: Connection, organization: Organization) -> UUID:
    """An event, in the transaction that is open or opened by it."""
    connection.execute("SELECT 1")  # the transaction begins before the id is made
    identifier = uuid7()
    connection.execute(
        "INSERT INTO events_event (id, organization_id, message_id, recipient_id, address, type, occurred_at, attempt,"
        " reason, detail, transcript) VALUES (%s, %s, %s, %s, 'a@b.test', 'delivered', now(), 1, '', '{}', '')",
        [identifier, organization.pk, uuid7(), uuid7()],
    )
    return identifier


def read(organization: Organization, after: UUID | None = None) -> tuple[list[UUID], UUID]:
    wait_past_this_millisecond()
    page = feed(organization, limit=100, after=after)
    return [event.pk for event in page.events], page.next


def wait_past_this_millisecond() -> None:
    """An id's time is whole milliseconds, and the horizon is before the present one."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now:
        pass


def test_a_younger_event_waits_for_an_older_one_to_be_committed(
    organization: Organization, writers: list[Connection]
) -> None:
    slow, quick = writers
    before = write(quick, organization)
    quick.commit()
    older = write(slow, organization)
    younger = write(quick, organization)
    quick.commit()
    assert older < younger

    first, cursor = read(organization)
    assert first == [before]
    slow.commit()
    assert read(organization, cursor)[0] == [older, younger]


def test_a_rollback_lets_the_feed_go_on(organization: Organization, writers: list[Connection]) -> None:
    slow, quick = writers
    write(slow, organization)
    younger = write(quick, organization)
    quick.commit()
    assert read(organization)[0] == []
    slow.rollback()
    assert read(organization)[0] == [younger]


def test_a_long_report_does_not_hold_up_the_feed(organization: Organization, writers: list[Connection]) -> None:
    reader, writer = writers
    reader.execute("SELECT count(*) FROM events_event")  # and its transaction stays open
    written = write(writer, organization)
    writer.commit()
    assert read(organization)[0] == [written]


def test_a_transaction_that_waits_for_a_lock_is_waited_for(
    organization: Organization, writers: list[Connection]
) -> None:
    holder, waiter = writers
    holder.execute("SELECT pg_advisory_lock(7)")
    holder.commit()
    older: list[UUID] = []

    def wait_and_write() -> None:
        waiter.execute("SELECT pg_advisory_xact_lock(7)")
        older.append(write(waiter, organization))
        waiter.commit()

    thread = threading.Thread(target=wait_and_write)
    thread.start()
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(database_url(), autocommit=True) as other:
        deadline = time.monotonic() + 20
        while not other.execute(blocked).fetchone()[0] and time.monotonic() < deadline:  # type: ignore[index]
            time.sleep(0.01)
        younger = write(other, organization)
        assert read(organization)[0] == []
        holder.execute("SELECT pg_advisory_unlock(7)")
        holder.commit()
        thread.join(20)
    assert read(organization)[0] == [younger, *older]


def test_a_consumer_among_many_writers_gets_each_event_once_and_in_order(organization: Organization) -> None:
    written: list[UUID] = []

    def work(number: int) -> None:
        with psycopg.connect(database_url()) as connection:
            for step in range(40):
                made = [write(connection, organization) for _ in range(1 + (step + number) % 3)]
                if (step + number) % 5 == 0:
                    time.sleep(0.01)  # some commit late
                connection.commit()
                written.extend(made)
        connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    consumed: list[UUID] = []
    cursor: UUID | None = None
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    while datetime.now(UTC) < deadline:
        is_over = not any(thread.is_alive() for thread in threads)
        found, cursor = read(organization, cursor)
        consumed += found
        if is_over and not found:
            break
    assert len(written) == sum(1 + (step + number) % 3 for step in range(40) for number in range(4))
    assert consumed == sorted(written, key=lambda one: one.bytes)
