"""The time of sending: what is understood, and what is refused with which words."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import Refused
from relay.submission.send_at import FARTHEST, MOST_CHARACTERS, SLACK, read_send_at, scheduled_for

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)  # a Wednesday
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1))  # noqa: DTZ001 - the zone is drawn beside it
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T11:00:00Z", "2026-11-25T11:00:00+00:00"),
        ("2026-11-25t11:00:00z", "2026-11-25T11:00:00+00:00"),
        ("2026-11-25T11:00:00.123Z", "2026-11-25T11:00:00.123000+00:00"),
        ("2026-11-25 12:00+01:00", "2026-11-25T11:00:00+00:00"),
        ("2026-11-25T06:00:00-0500", "2026-11-25T11:00:00+00:00"),
        ("now", "2026-11-25T10:00:00+00:00"),
        ("in 1 min", "2026-11-25T10:01:00+00:00"),
        ("in 90 minutes", "2026-11-25T11:30:00+00:00"),
        ("in an hour", "2026-11-25T11:00:00+00:00"),
        ("In  1  Hour", "2026-11-25T11:00:00+00:00"),
        ("in 1 hour and 30 minutes", "2026-11-25T11:30:00+00:00"),
        ("in 1h 30m", "2026-11-25T11:30:00+00:00"),
        ("in 1 day, 2 hours", "2026-11-26T12:00:00+00:00"),
        ("in 45 secs", "2026-11-25T10:00:45+00:00"),
        ("in a week", "2026-12-02T10:00:00+00:00"),
        ("today at 17:30", "2026-11-25T17:30:00+00:00"),
        ("tomorrow at 9am", "2026-11-26T09:00:00+00:00"),
        ("tomorrow at 9 AM", "2026-11-26T09:00:00+00:00"),
        ("tomorrow at 12am", "2026-11-26T00:00:00+00:00"),
        ("tomorrow at 12:15pm", "2026-11-26T12:15:00+00:00"),
        ("tomorrow at 00:00", "2026-11-26T00:00:00+00:00"),
        ("tomorrow at 9am UTC", "2026-11-26T09:00:00+00:00"),
        ("tomorrow at 9am +02:00", "2026-11-26T07:00:00+00:00"),
        ("tomorrow at 9am +14:00", "2026-11-26T19:00:00+00:00"),  # where it is the 26th already
        ("today at 9am -0500", "2026-11-25T14:00:00+00:00"),
        ("friday at 3pm", "2026-11-27T15:00:00+00:00"),
        ("on Monday at 8:05", "2026-11-30T08:05:00+00:00"),
        ("wednesday at 11am", "2026-11-25T11:00:00+00:00"),
        ("wednesday at 9am", "2026-12-02T09:00:00+00:00"),
    ],
)
def test_what_is_understood(text: str, expected: str) -> None:
    assert read_send_at(text, NOW) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write a time with its zone"),
        ("   ", "write a time with its zone"),
        ("soon", "'soon' is not understood"),
        ("2026-11-25T11:00:00", "has no zone; put Z"),
        ("2026-11-25", "has no zone"),
        ("2026-11-31T11:00:00Z", "is not a time that can be read"),
        ("1764064800", "is not a time that can be read"),
        ("1 hour", "is not a time that can be read"),
        ("in 1 month", "not understood"),
        ("in -5 minutes", "not understood"),
        ("in 1.5 hours", "not understood"),
        ("in 1234567 minutes", "not understood"),
        ("in 5", "not understood"),
        ("in 1 hour 2 hours 3 hours 4 hours 5 hours", "not understood"),
        ("tomorrow", "not understood"),
        ("tomorrow at 9", "write the time of day as 9am or 09:00"),
        ("tomorrow at 13pm", "there is no 13 pm"),
        ("tomorrow at 0am", "there is no 0 am"),
        ("tomorrow at 24:00", "there is no 24:00"),
        ("tomorrow at 09:60", "there is no 9:60"),
        ("tomorrow at 9am ET", "not understood"),
        ("tomorrow at 9am +16:00", "there is no zone +16:00"),
        ("next friday at 9am", "not understood"),
        ("in 1 minute" + " " * MOST_CHARACTERS, "write a time with its zone"),
        ("２０２６-11-25T11:00:00Z", "not a time that can be read"),
    ],
)
def test_what_is_not_understood_is_told_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are what is looked at
        read_send_at(text, NOW)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(0), None),
        (-SLACK, None),
        (timedelta(microseconds=1), timedelta(microseconds=1)),
        (FARTHEST, FARTHEST),
        (FARTHEST + SLACK, FARTHEST + SLACK),
    ],
)
def test_what_is_past_by_a_clock_s_difference_is_now(ahead: timedelta, expected: timedelta | None) -> None:
    assert scheduled_for(NOW + ahead, NOW) == (None if expected is None else NOW + expected)


@pytest.mark.parametrize(
    "moment",
    [
        NOW - SLACK - timedelta(seconds=1),
        NOW + FARTHEST + SLACK + timedelta(seconds=1),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        read_send_at("in 999999 weeks", NOW),
        read_send_at("in 999999 weeks and 999999 weeks", NOW),
    ],
)
def test_what_is_past_or_too_far_ahead_is_refused(moment: datetime) -> None:
    with pytest.raises(Refused) as caught:
        scheduled_for(moment, NOW)
    assert caught.value.code == "schedule_out_of_range"
    assert moment.isoformat(timespec="seconds") in caught.value.detail


@given(INSTANTS, OFFSETS)
def test_every_time_with_its_zone_is_read_as_it_is(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=zone)
    assert read_send_at(moment.isoformat(), NOW) == moment
    assert read_send_at(moment.isoformat(" "), NOW) == moment


@given(st.integers(0, 999), st.integers(0, 999), INSTANTS)
def test_a_delay_is_added_to_the_present(hours: int, minutes: int, now: datetime) -> None:
    now = now.replace(tzinfo=UTC)
    read = read_send_at(f"in {hours} hours and {minutes} min", now)
    assert read - now == timedelta(hours=hours, minutes=minutes)


@given(st.integers(0, 23), st.integers(0, 59), OFFSETS, INSTANTS, st.sampled_from(["monday", "today", "tomorrow"]))
def test_a_time_of_day_is_that_of_its_zone(hour: int, minute: int, zone: timezone, now: datetime, day: str) -> None:
    now = now.replace(tzinfo=UTC)
    read = read_send_at(f"{day} at {hour:02}:{minute:02} {now.astimezone(zone):%z}", now).astimezone(zone)
    assert (read.hour, read.minute, read.second) == (hour, minute, 0)
    if day == "monday":
        assert (read.weekday(), read > now, read - now <= timedelta(days=7)) == (0, True, True)
    else:
        assert (read.date() - now.astimezone(zone).date()).days == (day == "tomorrow")


@given(st.one_of(st.text(), st.text("in0123456789 hourminsdayatomw:+-apzT", max_size=40)))
def test_nothing_else_than_a_time_or_words_comes_out(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert read_send_at(text, NOW).tzinfo is not None
