"""What a probe's finding makes of what was known: a component is in trouble after several bad findings in a row, and well again
after some good ones, so that a single lost packet is no incident. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from plugsend.status.components import State

WELL_AFTER = 2  # good findings in a row


@dataclass(frozen=True, slots=True)
class Standing:
    """How a component is held to be. `against`: findings in a row that speak against it, the first one at `against_since`."""

    state: State
    since: datetime
    against: int = 0
    against_since: datetime | None = None


def advance(standing: Standing | None, found: State, at: datetime, bad_after: int) -> Standing:
    """`bad_after`: so many bad findings in a row are trouble."""
    if found == State.UNKNOWN:
        return standing if standing is not None and standing.state == found else Standing(found, at)
    if standing is None:
        standing = Standing(State.UNKNOWN, at)
    if standing.state == State.UNKNOWN and not found.is_trouble:
        return Standing(found, at)
    if found.is_trouble == standing.state.is_trouble and standing.state != State.UNKNOWN:
        return replace(standing, state=found, against=0, against_since=None)
    against, since = standing.against + 1, standing.against_since or at
    if against >= (bad_after if found.is_trouble else WELL_AFTER):
        return Standing(found, since)
    return replace(standing, against=against, against_since=since)


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
