"""The audit finds every kind of disagreement between states and events, and nothing where there is none."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts.ids import first_id_at, uuid7
from events.models import Event
from events.partitions import make_partitions
from relay.audit import AFTER_THE_END, disagreements
from relay.database import database_url
from relay.expiry import expire
from relay.models import Message, Recipient, ScheduledMessage
from tests.factories import add_recipient, make_domain, make_message, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def course(*events: tuple[str, dict[str, Any]], state: str = "delivered") -> Recipient:
    """A recipient with such a course."""
    domain = make_domain(make_tenant().organization)
    message = make_message(domain, state=state, events=list(events))
    return Recipient.objects.get(message_id=message.pk)


def found() -> list[str]:
    with psycopg.connect(database_url()) as connection:
        return [line.split(" ", 2)[2] for line in disagreements(connection)]


def add_event(recipient: Recipient, type_: str, attempt: int = 0, detail: dict[str, Any] | None = None) -> None:
    Event.objects.create(
        organization_id=recipient.organization_id, message_id=recipient.message_id, recipient_id=recipient.pk,
        address=recipient.address, type=type_, occurred_at=timezone.now(), attempt=attempt,
        detail=detail or {},
    )  # fmt: skip


def test_what_happens_in_the_ordinary_way_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    recipient = course(("deferred", {}), ("in_doubt", {}), ("deferred", {}), state="deferred")
    add_event(recipient, "held")
    add_event(recipient, "released")
    add_event(recipient, "retry_requested")
    assert found() == []
    Recipient.objects.update(leased_by=uuid7(), attempts=4)  # being tried
    assert found() == []
    Recipient.objects.update(leased_by=None, attempts=3, expires_at=timezone.now() - timedelta(seconds=1))
    assert expire() == 1
    assert found() == []
    call_command("audit_timelines")
    assert "agree" in capsys.readouterr().out


@pytest.mark.parametrize("type_", AFTER_THE_END)
def test_a_complaint_changes_no_state(type_: str) -> None:
    recipient = course(("delivered", {}))
    add_event(recipient, type_)
    assert found() == []


def test_what_came_back_ends_a_recipient_once_more_and_once_only() -> None:
    recipient = course(("delivered", {}))
    came_back = {"reported_by": "mx.far.test"}
    add_event(recipient, "bounced", detail=came_back)
    assert found() == [
        "is delivered, its last event is bounced",
        "is delivered, came back 1 times and has 1 other final events",
    ]
    Recipient.objects.update(state="bounced")
    assert found() == []
    add_event(recipient, "bounced", detail=came_back)
    assert found() == ["is bounced, came back 2 times and has 1 other final events"]


def test_it_goes_through_all_messages_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one message alone is more than is looked at together."""
    monkeypatch.setattr("relay.audit.EVENTS_AT_ONCE", 3)
    domain = make_domain(make_tenant().organization)
    messages = [make_message(domain) for _ in range(5)]
    for n in range(4):
        add_recipient(messages[2], f"r{n}@inbox.test", "delivered")
    Message.objects.filter(pk=messages[2].pk).update(recipient_count=5)
    assert found() == []
    Recipient.objects.filter(message_id__in=[messages[0].pk, messages[4].pk]).update(attempts=2)
    assert len(found()) == 2


def test_what_remains_of_a_day_that_was_dropped_is_no_disagreement() -> None:
    """Events of the next day, and a recipient made a moment after midnight (relay.retention)."""
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=100)
    course(("delivered", {}))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event DISABLE TRIGGER USER")
        Event.objects.filter(type="submitted").delete()
        Event.objects.update(message_id=first_id_at(day))
        cursor.execute("ALTER TABLE events_event ENABLE TRIGGER USER")
        Recipient.objects.update(message_id=first_id_at(day))
        Message.objects.all().delete()
        assert found() == []
        made = make_partitions([day])
        assert found() == ["has 0 submitted events"]
        cursor.execute(f"DROP TABLE {', '.join(made)}")


Change = Callable[[Recipient], object]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: Recipient.objects.update(state="bounced"), "is bounced, its last event is delivered"),
        (lambda r: Recipient.objects.update(attempts=2), "has ended 2 attempts; events tell of 1"),
        (
            lambda r: add_event(r, "delivered", 1),
            "has ended 1 attempts; events tell of 1, the latest of them 1, repeating 1",
        ),
        (lambda r: add_event(r, "delivered", 2), "has ended 1 attempts; events tell of 2"),
        (lambda r: add_event(r, "released"), "is delivered, its last event is released"),
        (lambda r: add_event(r, "delivered"), "is delivered and has 2 final events"),
        (lambda r: add_event(r, "delivered"), "has 1 events of attempts without their number"),
        (lambda r: add_event(r, "in_doubt"), "has 1 events of attempts without their number"),
        (lambda r: add_event(r, "bounced"), "is delivered and has 2 final events"),
        (lambda r: add_event(r, "retry_requested"), "is delivered, and retry_requested came after that"),
        (
            lambda r: Recipient.objects.update(state="deferred", next_attempt_at=timezone.now()),
            "is deferred and has 1 final events",
        ),
        (
            lambda r: (add_event(r, "in_doubt", 3), Recipient.objects.update(attempts=3)),
            "has ended 3 attempts; events tell of 2, the latest of them 3",
        ),
        (
            lambda r: Recipient.objects.update(next_attempt_at=timezone.now()),
            "is delivered, and its next attempt is at 2",
        ),
        (lambda r: Recipient.objects.update(id=uuid7()), "has events and no row"),
        (lambda r: Message.objects.update(recipient_count=2), "was for 2 recipients and has 1"),
    ],
    ids=[
        "state",
        "attempts",
        "twice",
        "not counted",
        "released",
        "ended twice",
        "end without number",
        "doubt without number",
        "two ends",
        "after the end",
        "open again",
        "hole",
        "still due",
        "stray",
        "lost",
    ],
)
def test_a_disagreement_is_told(change: Change, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(course(("delivered", {})))
    assert any(line.startswith(told) for line in found()), found()
    with pytest.raises(SystemExit):
        call_command("audit_timelines")
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: ScheduledMessage.objects.all().delete(), "is missing"),
        (lambda: Recipient.objects.update(next_attempt_at=timezone.now()), "names a later time"),
    ],
)
def test_a_scheduled_message_that_no_engine_would_find_is_told(change: Callable[[], object], told: str) -> None:
    course(("scheduled", {}), state="scheduled")
    assert found() == []
    change()
    assert [line.endswith(told) for line in found()] == [True]


def test_a_row_that_was_not_logged_is_told() -> None:
    recipient = course(state="submitted")
    assert found() == []
    Recipient.objects.update(id=uuid7())
    assert sorted(found()) == ["has 0 submitted events", "has events and no row"], recipient
