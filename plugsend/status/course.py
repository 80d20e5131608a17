"""What a probe's finding makes of what was known: a component is in trouble after several bad findings in a row, and well again
after some good ones, so that a single lost packet is no incident. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from plugsend.status.components import State

WELL_AFTER = 2  # good findings in a row


@dataclass(frozen=True, slots=True)
class Standing:
    """How a component is held to be. `against`: findings in a row of another kind (`towards`), the first at `against_since`."""

    state: State
    since: datetime
    against: int = 0
    against_since: datetime | None = None
    towards: str = ""


def advance(standing: Standing | None, found: State, at: datetime, bad_after: int) -> Standing:
    """`bad_after`: so many bad findings in a row are trouble."""
    if standing is None:
        standing = Standing(State.UNKNOWN, at)  # a platform that is only starting is not in trouble
    if _kind(found) == _kind(standing.state):
        return replace(standing, state=found, against=0, against_since=None, towards="")
    if standing.state == State.UNKNOWN and found == State.OK:
        return Standing(found, at)
    goes_on = standing.towards == _kind(found)
    against = standing.against + 1 if goes_on else 1
    since = standing.against_since if goes_on and standing.against_since else at
    if against >= (WELL_AFTER if found == State.OK else bad_after):
        return Standing(found, since)
    return replace(standing, against=against, against_since=since, towards=_kind(found))


def _kind(state: State) -> str:
    return "trouble" if state.is_trouble else state.value


def by_day(begin: datetime, end: datetime) -> dict[date, float]:
    """The seconds between, by days of UTC."""
    seconds: dict[date, float] = {}
    while begin < end:
        midnight = datetime.combine(begin.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
        until = min(midnight, end)
        day = begin.astimezone(UTC).date()
        seconds[day] = seconds.get(day, 0.0) + (until - begin).total_seconds()
        begin = until
    return seconds
