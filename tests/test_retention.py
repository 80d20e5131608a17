"""Retention: whole days are dropped, the rest goes row by row, what is under way stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.ids import first_id_at, uuid7
from accounts.models import Organization, Plan
from domains.models import SendingDomain
from events.models import Event
from events.partitions import ensure_partitions, make_partitions
from relay import retention
from relay.database import database_url
from relay.models import Content, KeptLonger, Message, Recipient, Retention, ReturnedMessage
from tests.factories import make_domain, make_tenant
from tests.rest import make_api, refused

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
NUMBERS = count()
PARTITIONED = ("relay_message", "relay_recipient", "events_event", "relay_content")


def day(days_ago: int) -> datetime:
    return TODAY - timedelta(days=days_ago)


@pytest.fixture(autouse=True)
def days_with_partitions(transactional_db: None) -> Iterator[None]:
    """All but the 9th, whose rows are in the default partitions."""
    made = make_partitions([day(days_ago) for days_ago in (2, 3, 4, 5, 8, 10)])
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {', '.join(made)}")


def forget_due(seconds: float = 60) -> bool:
    return retention.forget_due(seconds, NOW)


def a_domain(name: str, content_days: int, event_days: int) -> SendingDomain:
    organization = make_tenant(name).organization
    plan = Plan.objects.create(name=name, content_days=content_days, event_days=event_days)
    Organization.objects.filter(pk=organization.pk).update(plan=plan)
    return make_domain(organization, f"{name.lower()}.test")


def a_mail(
    domain: SendingDomain, days_ago: int, *, state: str = "delivered", hour: float = 12, recipients: int = 1
) -> Message:
    """With all that belongs to it, as it was stored on that day."""
    moment, whose = day(days_ago) + timedelta(hours=hour), {"organization_id": domain.organization_id}

    def identifier() -> UUID:
        return UUID(int=first_id_at(moment).int + next(NUMBERS))

    message = Message.objects.create(
        id=identifier(), domain_id=domain.pk, subject="Hi", submitted_at=moment, door="smtp", size_bytes=2,
        envelope_sender="a@a.test", header_from="a@a.test", recipient_count=recipients, **whose,
    )  # fmt: skip
    Content.objects.create(id=message.pk, raw=b"Hi")
    ReturnedMessage.objects.create(
        message_id=message.pk, kind="auto_reply", outcome="noted", size_bytes=2, fingerprint=message.pk.bytes,
        received_at=moment, **whose,
    )  # fmt: skip
    for _ in range(recipients):
        recipient = Recipient.objects.create(
            id=identifier(), message_id=message.pk, address="b@b.test", destination="b.test", state=state, state_at=moment,
            next_attempt_at=timezone.now() + timedelta(days=1) if state == "scheduled" else None,
            expires_at=timezone.now() + timedelta(days=2), **whose,
        )  # fmt: skip
        for kind in ("submitted", state):
            Event.objects.create(
                id=identifier(), message_id=message.pk, recipient_id=recipient.pk, address="b@b.test", type=kind,
                occurred_at=moment, **whose,
            )  # fmt: skip
    return message


def is_whole(message: Message) -> bool:
    """False: nothing is left of it but perhaps its content."""
    of_it = {"message_id": message.pk}
    parts = [Message.objects.filter(pk=message.pk).exists(), Recipient.objects.filter(**of_it).exists(),
             Event.objects.filter(**of_it).exists(), ReturnedMessage.objects.filter(**of_it).exists()]  # fmt: skip
    assert len(set(parts)) == 1, parts
    return parts[0]


def has_content(message: Message) -> bool:
    return Content.objects.filter(pk=message.pk).exists()


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        return {row[0] for row in cursor.fetchall()}


def named(table: str, days_ago: int) -> str:
    return f"{table}_{day(days_ago):%Y%m%d}"


def test_each_plan_keeps_contents_and_messages_for_its_days_and_what_is_under_way_for_longer() -> None:
    short, long = a_domain("Short", 2, 5), a_domain("Long", 4, 8)
    mails = {(domain, age): a_mail(domain, age) for domain in (short, long) for age in (0, 2, 3, 4, 5, 8, 9, 10)}
    late = a_mail(short, 8, state="scheduled")
    assert forget_due()
    for (domain, age), message in mails.items():
        contents, messages = (2, 5) if domain is short else (4, 8)
        assert (is_whole(message), has_content(message)) == (age <= messages, age <= contents), (domain, age)
    assert is_whole(late)
    assert has_content(late)


def test_days_that_are_over_for_all_are_dropped(settings: Settings) -> None:
    settings.CONTENT_DAYS, settings.EVENT_DAYS = 2, 4
    domain = a_domain("Acme", 3, 4)
    waiting = a_mail(domain, 8, state="scheduled")
    gone, bare, kept = a_mail(domain, 10), a_mail(domain, 4), a_mail(domain, 3)
    with psycopg.connect(database_url()) as reader:
        reader.execute("SELECT 1 FROM relay_message WHERE id = %s", [kept.pk])
        assert forget_due()  # somebody reads: no waiting for the lock, rows go all the same
    assert named("relay_message", 10) in partitions()
    assert not is_whole(gone)

    assert forget_due()
    left = partitions()
    for table in PARTITIONED:
        assert named(table, 10) not in left
        assert named(table, 8) in left
    assert named("relay_content", 4) not in left
    assert named("relay_message", 4) in left
    assert [is_whole(one) for one in (waiting, bare, kept)] == [True] * 3
    assert [has_content(one) for one in (waiting, bare, kept)] == [True, False, True]

    Recipient.objects.filter(message_id=waiting.pk).update(state="delivered", next_attempt_at=None)
    assert forget_due()
    assert not is_whole(waiting)
    assert named("relay_message", 8) not in partitions()
    ensure_partitions()  # upkeep makes none of the past anew
    assert named("relay_message", 8) not in partitions()


def test_what_was_under_way_is_forgotten_once_it_has_ended() -> None:
    short, _ = a_domain("Short", 2, 4), a_domain("Long", 10, 10)
    waiting = [a_mail(short, age, state="scheduled") for age in (9, 3, 3)]
    assert forget_due()
    assert [(is_whole(one), has_content(one)) for one in waiting] == [(True, True)] * 3
    Recipient.objects.filter(message_id__in=[one.pk for one in waiting[:2]]).update(
        state="delivered", next_attempt_at=None
    )
    assert forget_due()
    assert [(is_whole(one), has_content(one)) for one in waiting] == [(False, False), (True, False), (True, True)]
    assert list(KeptLonger.objects.values_list("message_id", flat=True)) == [waiting[2].pk]


def test_of_a_day_nothing_is_left_in_later_ones(settings: Settings) -> None:
    settings.CONTENT_DAYS = settings.EVENT_DAYS = 5
    domain = a_domain("Acme", 5, 5)
    late, other = a_mail(domain, 10, hour=23.9999, recipients=2), a_mail(domain, 3)
    moved = UUID(int=first_id_at(day(9)).int + next(NUMBERS))  # over midnight
    Recipient.objects.filter(pk=Recipient.objects.filter(message_id=late.pk).earliest("pk").pk).update(id=moved)
    for days_ago in (3, 0):
        Event.objects.create(
            id=UUID(int=first_id_at(day(days_ago)).int + next(NUMBERS)), organization_id=domain.organization_id,
            message_id=late.pk, recipient_id=moved, address="b@b.test", type="deferred", occurred_at=NOW,
        )  # fmt: skip
    assert forget_due()
    assert named("relay_message", 10) not in partitions()
    assert not is_whole(late)
    assert is_whole(other)


def test_a_recipient_made_after_midnight_keeps_its_day(settings: Settings) -> None:
    settings.CONTENT_DAYS = settings.EVENT_DAYS = 3
    domain = a_domain("Acme", 3, 3)
    message = a_mail(domain, 5, state="scheduled", hour=23.9999)
    recipient = Recipient.objects.get(message_id=message.pk)
    Recipient.objects.filter(pk=recipient.pk).update(id=UUID(int=first_id_at(day(4)).int + 1))
    assert forget_due()
    assert is_whole(message)
    assert named("relay_recipient", 4) in partitions()


def test_one_organization_does_not_stand_in_the_way_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.retention.MESSAGES_AT_ONCE", 1)
    large, small, _ = a_domain("Large", 2, 2), a_domain("Small", 2, 2), a_domain("Long", 10, 10)
    mails = [a_mail(large, 9, hour=hour) for hour in range(20)]
    last = a_mail(small, 9)
    ticks = count()
    monkeypatch.setattr(
        "relay.retention.time", SimpleNamespace(monotonic=lambda: float(next(ticks)), sleep=lambda _: None)
    )
    assert not forget_due(20)
    assert not is_whole(last)
    assert any(is_whole(one) for one in mails)


def test_what_fails_for_one_organization_is_done_for_the_others(caplog: pytest.LogCaptureFixture) -> None:
    odd, good, _ = a_domain("Odd", 2, 2), a_domain("Good", 2, 2), a_domain("Long", 10, 10)
    kept, gone = a_mail(odd, 5), a_mail(good, 5)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF OLD.organization_id = '{odd.organization_id}' THEN RAISE EXCEPTION 'odd'; END IF; RETURN OLD; END $$;"
            " CREATE TRIGGER odd BEFORE DELETE ON relay_message FOR EACH ROW EXECUTE FUNCTION odd()"
        )
        try:
            assert forget_due()
        finally:
            cursor.execute("DROP FUNCTION odd CASCADE")
    assert (is_whole(kept), is_whole(gone)) == (True, False)
    assert "could not be forgotten" in caplog.text


def test_it_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.retention.MESSAGES_AT_ONCE", 4)
    monkeypatch.setattr("relay.mail_rows.RECIPIENTS_AT_ONCE", 3)
    short, _ = a_domain("Short", 2, 2), a_domain("Long", 10, 10)
    mails = [a_mail(short, age, hour=hour, recipients=1 + hour % 5) for age in (10, 9, 4) for hour in range(6)]
    ticks, calls = count(), 0
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)), sleep=lambda seconds: None)
    monkeypatch.setattr("relay.retention.time", clock)
    left = [len(mails)]
    while not forget_due(4):
        calls += 1
        left.append(sum(is_whole(one) for one in mails))
    assert calls > 3
    assert left == sorted(left, reverse=True)
    assert not any(is_whole(one) or has_content(one) for one in mails)
    mark = Retention.objects.get(organization_id=short.organization_id)
    assert mark.messages_before == first_id_at(day(2))


def test_one_process_at_a_time() -> None:
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT pg_advisory_lock(7210, 0)")
        assert not forget_due()
        other.execute("SELECT pg_advisory_unlock(7210, 0)")
    assert forget_due()


@pytest.mark.parametrize(("forgetting", "gives"), [("", False), ("another", False), ("its own", True), ("a day", True)])
def test_the_event_log_gives_away_only_what_is_old_and_named(forgetting: str, gives: bool) -> None:
    domain = a_domain("Acme", 2, 2)
    old, new = a_mail(domain, 5), a_mail(domain, 0, hour=0)
    whose = {"another": str(uuid7()), "its own": str(domain.organization_id)}.get(forgetting, forgetting)

    def delete(message: Message) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('plugsend.forgetting', %s, true)", [whose])
            cursor.execute("DELETE FROM events_event WHERE message_id = %s", [message.pk])
            return int(cursor.rowcount)

    if gives:
        assert delete(old) == 2
    else:
        with pytest.raises(DatabaseError, match="append-only"):
            delete(old)
    with pytest.raises(DatabaseError, match="append-only"):
        delete(new)


def test_doors_and_pages_tell_that_a_content_is_not_kept() -> None:
    domain = a_domain("Acme", 2, 8)
    message = a_mail(domain, 4)
    assert forget_due()
    api = make_api(domain.organization, "full")
    assert api.get(f"emails/{message.pk}").json()["text"] is None
    refused(api.get(f"emails/{message.pk}/raw"), 410, "content_expired")
