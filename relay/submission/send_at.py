"""When a message is to be sent: a time with its zone, or a few plain English forms. No I/O.

2026-11-25T10:00:00Z   2026-11-25 10:00+01:00      ISO 8601; the zone must stand in it
now   in 90 minutes    in an hour   in 1 hour and 30 minutes   in 2 days   in 1h 30m
today at 17:30         tomorrow at 9am      friday at 3:15 pm   tomorrow at 9am +02:00
                                                   UTC, unless an offset or UTC stands behind; a weekday is the next one
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo

from accounts.catalogue import Refused

FARTHEST = timedelta(days=30)
SLACK = timedelta(minutes=1)  # between the client's clock and ours
KEYED_LATE = timedelta(hours=24)  # as long as an idempotency key holds: a repeat may come when its time is past
MOST_CHARACTERS = 100
FORMS = "write a time with its zone as in 2026-11-25T10:00:00Z, or words as in 'in 2 hours' or 'tomorrow at 9am'"

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}  # by the first letter
_UNIT = r"s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?"
_AMOUNT = rf"(?:([0-9]{{1,6}}) ?|(an?) )({_UNIT})"
_IN = re.compile(rf"in {_AMOUNT}(?:(?: and |, | ){_AMOUNT}){{0,3}}")
_AMOUNTS = re.compile(rf"{_AMOUNT}\b")
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_ON_A_DAY = re.compile(
    rf"(?P<day>today|tomorrow|(?:on )?(?:{'|'.join(_DAYS)})) at"
    r" (?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))? ?(?P<half>am|pm)?"
    r"(?: ?(?P<zone>utc|gmt|z|(?P<sign>[+-])(?P<offset_h>[0-9]{2}):?(?P<offset_m>[0-9]{2})))?"
)


def read_send_at(text: str, now: datetime) -> datetime:
    """The moment that is meant, however far away. Raises ValueError with words that say what is wrong."""
    words = " ".join(text[: MOST_CHARACTERS + 1].lower().split())
    if len(text) > MOST_CHARACTERS or not words:
        raise ValueError(FORMS)
    if words == "now":
        return now
    if words[0].isdigit():
        return _read_iso(words)
    if _IN.fullmatch(words):
        return _later(now, _sum(words))
    if match := _ON_A_DAY.fullmatch(words):
        return _on_a_day(match, now)
    raise ValueError(f"'{text[:60]}' is not understood; {FORMS}")


def scheduled_for(moment: datetime, now: datetime, *, late: timedelta = SLACK) -> datetime | None:
    """In UTC; None: now. Raises `Refused` where it is farther in the past than `late`, or too far ahead."""
    left = moment - now
    if not -late <= left <= FARTHEST + SLACK:
        value = moment.isoformat(timespec="seconds")
        problem = {"pointer": "/scheduled_at", "detail": f"{value} is in the past, or more than 30 days ahead."}
        raise Refused("schedule_out_of_range", errors=[problem], value=value)
    return (now + left).astimezone(UTC) if left > timedelta(0) else None


def _read_iso(words: str) -> datetime:
    try:
        moment = datetime.fromisoformat(words.upper())
    except ValueError:
        raise ValueError(f"'{words[:60]}' is not a time that can be read; {FORMS}") from None
    if moment.tzinfo is None:
        raise ValueError(f"'{words[:60]}' has no zone; put Z (UTC) or an offset as in +01:00 behind it")
    return moment


def _sum(words: str) -> timedelta:
    return sum(
        (timedelta(**{_UNITS[unit[0]]: int(number or 1)}) for number, _, unit in _AMOUNTS.findall(words)),
        timedelta(0),
    )


def _later(now: datetime, delay: timedelta) -> datetime:
    try:
        return now + delay
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _on_a_day(match: re.Match[str], now: datetime) -> datetime:
    zone = _zone(match)
    at = _clock(match, zone)
    today = now.astimezone(zone).date()
    day = match["day"].removeprefix("on ")
    if day in {"today", "tomorrow"}:
        return datetime.combine(today + timedelta(days=day == "tomorrow"), at)
    ahead = (_DAYS.index(day) - today.weekday()) % 7
    moment = datetime.combine(today + timedelta(days=ahead), at)
    return moment if moment > now else moment + timedelta(days=7)


def _clock(match: re.Match[str], zone: tzinfo) -> time:
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    if half and not 1 <= hour <= 12:
        raise ValueError(f"there is no {hour} {half}; {FORMS}")
    if half:
        hour = hour % 12 + 12 * (half == "pm")
    elif match["minute"] is None:
        raise ValueError(f"write the time of day as 9am or 09:00; {FORMS}")
    if hour > 23 or minute > 59:
        raise ValueError(f"there is no {hour}:{minute:02}; {FORMS}")
    return time(hour, minute, tzinfo=zone)


def _zone(match: re.Match[str]) -> tzinfo:
    if not match["sign"]:
        return UTC
    hours, minutes = int(match["offset_h"]), int(match["offset_m"])
    if hours > 15 or minutes > 59:
        raise ValueError(f"there is no zone {match['zone']}; {FORMS}")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if match["sign"] == "-" else offset)
