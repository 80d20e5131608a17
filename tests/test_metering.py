"""Limits counted where messages are stored, on real PostgreSQL: what is accepted is what is counted."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.catalogue import Refused
from accounts.ids import uuid7
from accounts.models import Organization
from relay import usage
from relay.database import database_url
from relay.models import IdempotencyKey, Message, Period, UsageCounter
from relay.submission.accept import Accepted, Parcel
from relay.submission.directory import organization_allowance, smtp_user_allowance
from relay.submission.intake import Intake
from relay.submission.once import Once, by_batch_key, by_key
from relay.submission.repeats import Receipt
from relay.usage import end_of, settle, start_of, usage_of, used_by
from tests.test_intake import NobodyAwake, make_accepted, run_intake, submit_all

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]

NOW = datetime.now(UTC)  # one hour for all


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


def limited(
    organization: Organization,
    subject_id: UUID,
    *,
    at: datetime | None = None,
    subject: str = "Hi",
    once: Once | None = None,
    **limits: int,
) -> Accepted:
    """A message by an SMTP user with these limits, as `hour=100`."""
    message = make_accepted(organization, subject=subject, once=once)
    credential = replace(
        message.submission.credential,
        smtp_user_id=subject_id,
        allowances=(smtp_user_allowance(subject_id, "admin@acme.test", limits.get("hour"), limits.get("day")),)
        if limits
        else (),
    )
    return replace(
        message,
        submission=replace(message.submission, credential=credential),
        submitted_at=at or NOW,
    )


def counts(subject_id: UUID) -> dict[str, int]:
    """By period; of the last one of each."""
    rows = UsageCounter.objects.filter(subject_id=subject_id).order_by("starts_at")
    used = used_by([(row.subject_id, row.period, row.starts_at) for row in rows])
    return {row.period: used[row.subject_id, row.period, row.starts_at] for row in rows}


def stored(subject_id: UUID) -> int:
    return Message.objects.filter(smtp_user_id=subject_id).count()


def codes(answers: list[object]) -> list[str]:
    return [answer.code if isinstance(answer, Refused) else type(answer).__name__ for answer in answers]


@pytest.mark.parametrize("intakes", [1, 4])
def test_exactly_as_many_are_accepted_as_may_be_whoever_comes_at_once(organization: Organization, intakes: int) -> None:
    user, other = uuid7(), uuid7()
    now = datetime.now(UTC)
    messages = [limited(organization, user, at=now, hour=37, day=1000) for _ in range(100)]
    neighbours = [limited(organization, other, at=now, hour=1000, day=5) for _ in range(20)]
    free = [make_accepted(organization) for _ in range(30)]
    mixed = [one for three in zip(messages[:20], neighbours, free[:20], strict=True) for one in three]
    answers = submit_all([*mixed, *messages[20:], *free[20:]], intakes)

    assert codes(answers).count("smtp_user_limit_reached") == 63 + 15
    assert codes(answers).count("Receipt") == 37 + 5 + 30
    assert (stored(user), counts(user)) == (37, {"hour": 37, "day": 37})
    assert (stored(other), counts(other)) == (5, {"hour": 5, "day": 5})


def test_many_from_many_processes_do_not_wait_for_each_other_in_a_circle(organization: Organization) -> None:
    users = [uuid7() for _ in range(40)]
    messages = [limited(organization, user, hour=1000, day=1000) for user in users for _ in range(15)]
    shuffled = sorted(messages, key=lambda message: message.id.bytes[::-1])
    assert set(codes(submit_all(shuffled, 6))) == {"Receipt"}
    assert {stored(user) for user in users} == {15}


def test_who_has_no_limit_is_not_counted(organization: Organization) -> None:
    submit_all([limited(organization, uuid7()), make_accepted(organization)])
    assert not UsageCounter.objects.exists()


def test_a_batch_is_counted_whole_or_not_at_all(organization: Organization) -> None:
    user = uuid7()

    def batch(size: int, key: str = "") -> Parcel:
        messages = tuple(limited(organization, user, hour=10) for _ in range(size))
        return Parcel(messages, by_batch_key(key, b"f" * 32) if key else None, {"data": []} if key else None)

    assert codes(submit_all([batch(6), batch(5, "big"), batch(4)])) == ["Receipt", "smtp_user_limit_reached", "Receipt"]
    assert (stored(user), counts(user)["hour"]) == (10, 10)
    assert not IdempotencyKey.objects.exists()  # the refused one's is free


def test_repeats_are_not_counted_and_not_refused(organization: Organization) -> None:
    user, once = uuid7(), by_key("order-42", b"f" * 32)
    first = limited(organization, user, once=once, hour=1)
    repeats = [limited(organization, user, once=once, hour=1) for _ in range(3)]
    assert codes(submit_all([first, *repeats])) == ["Receipt"] * 4
    assert codes(submit_all(repeats)) == ["Receipt"] * 3
    assert codes(submit_all([limited(organization, user, hour=1)])) == ["smtp_user_limit_reached"]
    assert (stored(user), counts(user)["hour"]) == (1, 1)


def test_repeats_beside_a_first_one_that_is_over_the_limit_are_refused_too(organization: Organization) -> None:
    """None of them is stored: none may be told that the first is."""
    user, once = uuid7(), by_key("order-42", b"f" * 32)
    submit_all([limited(organization, user, hour=1)])
    answers = submit_all([limited(organization, user, once=once, hour=1) for _ in range(3)])
    assert codes(answers) == ["smtp_user_limit_reached"] * 3
    [later] = submit_all([limited(organization, user, once=once, hour=2)])  # the limit was raised; the key is free
    assert isinstance(later, Receipt)
    assert not later.is_repeat


def test_what_cannot_be_stored_is_not_counted(organization: Organization) -> None:
    user = uuid7()
    answers = submit_all([limited(organization, user, subject=s, hour=3) for s in ("one", "nul\0", "three")])
    assert codes(answers) == ["Receipt", "internal_error", "Receipt"]
    assert (stored(user), counts(user)["hour"]) == (2, 2)


def test_a_refusal_says_what_is_used_and_when_it_may_be_tried_again(organization: Organization) -> None:
    user, now = uuid7(), datetime.now(UTC)
    submit_all([limited(organization, user, at=now, hour=1)])
    [refused] = submit_all([limited(organization, user, at=now, hour=1)])
    assert isinstance(refused, Refused)
    ends_at = end_of("hour", start_of("hour", now))
    assert refused.retry_after_s
    assert abs(refused.retry_after_s - (ends_at - now).total_seconds()) < 10 or refused.retry_after_s == 1
    assert "admin@acme.test may send 1 messages in each hour (UTC); 1 are sent, and this is 1 more." in refused.detail
    assert f"{ends_at:%H:%M} UTC" in refused.detail
    assert refused.smtp_reply().startswith("451 4.7.1 smtp_user_limit_reached: ")


def test_of_two_limits_the_one_that_lasts_longer_is_told(organization: Organization) -> None:
    user = uuid7()
    submit_all([limited(organization, user, hour=1, day=1)])
    [refused] = submit_all([limited(organization, user, hour=1, day=1)])
    assert isinstance(refused, Refused)
    assert "in each day (UTC)" in refused.detail


def test_each_hour_begins_anew_and_the_day_goes_on(organization: Organization) -> None:
    user, noon = uuid7(), datetime(2026, 3, 1, 12, 59, 59, 999_999, tzinfo=UTC)
    at_noon = [limited(organization, user, at=noon, hour=2, day=3) for _ in range(3)]
    assert codes(submit_all(at_noon)) == ["Receipt", "Receipt", "smtp_user_limit_reached"]
    at_one = [limited(organization, user, at=noon + timedelta(microseconds=1), hour=2, day=3) for _ in range(2)]
    assert codes(submit_all(at_one)) == ["Receipt", "smtp_user_limit_reached"]
    rows = UsageCounter.objects.filter(subject_id=user).order_by("period", "starts_at")
    assert [(row.period, row.starts_at, row.count) for row in rows] == [
        ("day", datetime(2026, 3, 1, tzinfo=UTC), 3),
        ("hour", datetime(2026, 3, 1, 12, tzinfo=UTC), 2),
        ("hour", datetime(2026, 3, 1, 13, tzinfo=UTC), 1),
    ]


def test_what_was_sent_before_a_limit_was_set_counts(organization: Organization) -> None:
    user = uuid7()
    submit_all([limited(organization, user) for _ in range(3)])
    assert codes(submit_all([limited(organization, user, day=4) for _ in range(2)])) == [
        "Receipt",
        "smtp_user_limit_reached",
    ]
    assert counts(user)["day"] == 4


def test_a_limit_lowered_below_what_is_used_refuses_and_one_raised_lets_in(organization: Organization) -> None:
    user = uuid7()
    submit_all([limited(organization, user, day=5) for _ in range(5)])
    assert codes(submit_all([limited(organization, user, day=2)])) == ["smtp_user_limit_reached"]
    assert codes(submit_all([limited(organization, user, day=6)])) == ["Receipt"]
    [usage] = usage_of(user, {Period.DAY: 6})
    assert (usage.used, usage.percent, usage.is_full) == (6, 100, True)


def test_a_process_that_stands_still_with_the_counters_holds_up_only_those_who_are_counted(
    organization: Organization,
) -> None:
    user = uuid7()
    submit_all([limited(organization, user, hour=10)])
    message = limited(organization, user, hour=10)
    free = [make_accepted(organization) for _ in range(10)]

    async def work(intake: Intake) -> None:
        with contextlib.suppress(psycopg.Error):  # PostgreSQL ends its connection
            async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as frozen:
                await frozen.execute(
                    "SET idle_in_transaction_session_timeout = '1s'"
                )  # as the committers' own, but 3 s
                await frozen.execute("BEGIN")
                await frozen.execute("SELECT FROM relay_usagecounter WHERE subject_id = %s FOR UPDATE", (user,))
                waiting = asyncio.ensure_future(intake.commit(message))
                for one in free:
                    await intake.commit(one)
                assert not waiting.done()
                assert await waiting == Receipt(message.id)

    run_intake(work)
    assert counts(user)["hour"] == 2


def test_the_committers_do_not_stand_still_with_the_counters_themselves(organization: Organization) -> None:
    async def work(intake: Intake) -> None:
        async with await intake._connect() as connection:
            cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
            assert await cursor.fetchone() == ("3s",)

    run_intake(work)


def of_plan(organization: Organization, day: int | None, month: int | None, *, at: datetime | None = None) -> Accepted:
    """A message counted against an organization's plan."""
    message = make_accepted(organization)
    allowance = organization_allowance(organization.pk, day, month)
    credential = replace(message.submission.credential, allowances=(allowance,))
    return replace(message, submission=replace(message.submission, credential=credential), submitted_at=at or NOW)


async def intakes_at_work(number: int) -> list[Intake]:
    intakes = [Intake(database_url(), NobodyAwake()) for _ in range(number)]
    for intake in intakes:
        intake.start()
    return intakes


async def die(intake: Intake) -> None:
    """As a process does: nothing is given back."""
    for task in intake._committers:
        task.get_coro().cr_frame.f_locals["meter"].forget_all()  # type: ignore[union-attr]
    await intake.stop()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30)), min_size=1, max_size=8),  # (intake, messages)
            st.sampled_from(["", "dies", "restarts"]),
            st.integers(20, 400),  # the day's limit
        ),
        min_size=1,
        max_size=4,
    ),
    month=st.integers(50, 600),
)
def test_any_load_over_several_processes_is_counted_as_a_plain_model_counts(
    rounds: list[tuple[list[tuple[int, int]], str, int]], month: int
) -> None:
    """One parcel after the other it is known which fit; processes that die or restart in between, and limits that are
    changed, make no difference: what they had reserved is there for the others."""
    organization = Organization.objects.create(name="Acme")
    accepted, wanted = 0, list[tuple[bool, object]]()

    async def work() -> None:
        nonlocal accepted
        intakes = await intakes_at_work(3)
        for parcels, fate, day in rounds:
            for number, size in parcels:
                parcel = Parcel(tuple(of_plan(organization, day, month) for _ in range(size)))
                fits = accepted + size <= min(day, month)
                accepted += size if fits else 0
                [answer] = await asyncio.gather(intakes[number].commit_together(parcel), return_exceptions=True)
                wanted.append((fits, answer))
            if fate:
                await (die(intakes[0]) if fate == "dies" else intakes[0].stop())
                intakes[0] = (await intakes_at_work(1))[0]
        for intake in intakes:
            await intake.stop()

    asyncio.run(work())
    assert [isinstance(answer, Receipt) for _, answer in wanted] == [fits for fits, _ in wanted]
    assert {answer.code for _, answer in wanted if isinstance(answer, Refused)} <= {
        "quota_day_reached",
        "quota_month_reached",
    }
    assert Message.objects.of(organization).count() == accepted
    assert set(counts(organization.pk).values()) == {accepted}


@pytest.mark.parametrize(
    ("day", "month", "code"), [(137, 5000, "quota_day_reached"), (5000, 137, "quota_month_reached")]
)
def test_a_plans_limit_is_used_to_its_last_message_by_many_at_once_and_not_passed(
    organization: Organization, day: int, month: int, code: str
) -> None:
    messages = [of_plan(organization, day, month) for _ in range(400)]
    repeat = limited(organization, uuid7(), once=by_key("k", b"f" * 32))
    repeat = replace(repeat, submission=messages[0].submission)
    submit_all([repeat])
    answers = submit_all(messages, 5)
    assert Counter(codes(answers)) == {"Receipt": 136, code: 264}
    assert (Message.objects.of(organization).count(), counts(organization.pk)) == (137, {"day": 137, "month": 137})
    assert codes(submit_all([replace(repeat, id=uuid7())])) == [
        "Receipt"
    ]  # of before; it is neither counted nor refused
    assert counts(organization.pk)["day"] == 137


def test_while_messages_come_in_what_is_shown_is_what_is_stored(organization: Organization) -> None:
    """Whatever is reserved at that moment, in one and the same snapshot."""
    key = organization.pk, "month", start_of("month", NOW)

    async def check(reader: psycopg.AsyncConnection) -> None:
        async with reader.transaction():
            shown = await (await reader.execute(usage.USED, [[part] for part in key])).fetchone()
            [kept] = await (await reader.execute("SELECT count(*) FROM relay_message")).fetchone() or (0,)
        assert int(shown[3] if shown else 0) == kept

    async def work() -> None:
        intakes = await intakes_at_work(2)
        async with await psycopg.AsyncConnection.connect(database_url(), autocommit=True) as reader:
            await reader.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            for wave in range(8):
                messages = [of_plan(organization, None, 100_000) for _ in range(100)]
                sending = [asyncio.ensure_future(intakes[n % 2].commit(message)) for n, message in enumerate(messages)]
                while not all(future.done() for future in sending):
                    await check(reader)
                await check(reader)
                if wave == 4:
                    await intakes[0].stop()
                    intakes[0] = (await intakes_at_work(1))[0]
        for intake in intakes:
            await intake.stop()

    asyncio.run(work())


def test_what_was_reserved_and_not_used_is_given_back(organization: Organization) -> None:
    """At once by a process that ends; after the period what one had that died."""
    yesterday = NOW - timedelta(days=1)

    async def work() -> None:
        living, dying = await intakes_at_work(2)
        await living.commit(of_plan(organization, 5000, None))
        await dying.commit(of_plan(organization, 5000, None, at=yesterday))
        await living.stop()
        await die(dying)

    asyncio.run(work())
    today = UsageCounter.objects.get(subject_id=organization.pk, period="day", starts_at=start_of("day", NOW))
    assert today.count == 1
    days = UsageCounter.objects.filter(subject_id=organization.pk, period="day", starts_at=start_of("day", yesterday))
    assert days.get().count > 1
    assert settle() == 1
    assert settle() == 0
    assert days.get().count == 1
    months = UsageCounter.objects.filter(subject_id=organization.pk, period="month").values_list("count", flat=True)
    assert sum(months) == 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parcels=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(["", "a", "b"])), min_size=1, max_size=25
    ),
    hour=st.integers(1, 12),
    day=st.integers(1, 12),
)
def test_whatever_comes_accepted_is_counted_and_no_limit_is_passed(
    organization: Organization, parcels: list[tuple[int, int, str]], hour: int, day: int
) -> None:
    users, run = [uuid7() for _ in range(3)], uuid4().hex
    submitted = [
        Parcel(
            tuple(limited(organization, users[user], hour=hour, day=day) for _ in range(size)),
            by_batch_key(f"{run}{key}", bytes([user, size]) * 16) if key else None,
            {} if key else None,
        )
        for user, size, key in parcels
    ]
    answers = submit_all(submitted, 2)
    for user in users:
        kept = stored(user)
        assert kept <= min(hour, day)
        assert set(counts(user).values()) <= {kept}
    for parcel, answer in zip(submitted, answers, strict=True):
        if isinstance(answer, Receipt):
            assert Message.objects.filter(id=answer.message_id).exists()
        else:
            assert not Message.objects.filter(id=parcel.id).exists()


def test_stopping_commits_what_waits_to_be_counted(organization: Organization) -> None:
    user, waiting = uuid7(), list[asyncio.Future[Receipt]]()

    async def work(intake: Intake) -> None:
        waiting.extend(asyncio.ensure_future(intake.commit(limited(organization, user, day=100))) for _ in range(20))
        await asyncio.sleep(0)

    run_intake(work)
    assert stored(user) == counts(user)["day"] == 20
