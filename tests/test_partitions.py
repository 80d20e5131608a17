"""The growing tables are partitioned by day, and the event log is append-only."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.ids import first_id_at, time_of, uuid7
from accounts.models import Organization
from events.models import Event
from events.partitions import ensure_partitions, partitioned_tables

pytestmark = pytest.mark.django_db


def make_event() -> Event:
    organization = Organization.objects.create(name="Acme")
    return Event.objects.create(
        organization=organization,
        message_id=uuid7(),
        recipient_id=uuid7(),
        address="ada@example.test",
        type="submitted",
        occurred_at=datetime.now(UTC),
    )


def table_of(event: Event) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM events_event WHERE id = %s", [event.id])
        return str(cursor.fetchone()[0])


def test_the_growing_tables_are_partitioned() -> None:
    growing = ["events_event", "relay_content", "relay_message", "relay_recipient", "webhooks_webhookdelivery"]
    assert partitioned_tables() == growing


def test_a_row_lands_in_the_partition_of_its_day() -> None:
    ensure_partitions(1)
    assert table_of(make_event()) == f"events_event_{datetime.now(UTC):%Y%m%d}"


def test_a_row_without_partition_is_kept_in_the_default_one_and_upkeep_goes_on() -> None:
    event = make_event()
    assert table_of(event) == "events_event_default"
    made = ensure_partitions(1)
    assert f"events_event_{datetime.now(UTC):%Y%m%d}" not in made
    assert f"events_event_{datetime.now(UTC) + timedelta(days=1):%Y%m%d}" in made
    assert ensure_partitions(1) == []


@pytest.mark.parametrize("change", ["UPDATE events_event SET reason = 'x'", "DELETE FROM events_event"])
def test_events_cannot_be_changed(change: str) -> None:
    make_event()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)


def test_ids_grow_and_carry_their_time() -> None:
    before = datetime.now(UTC)
    ids = [uuid7() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert abs(time_of(ids[0]) - before) < timedelta(seconds=1)
    assert first_id_at(before - timedelta(seconds=1)) < ids[0]
