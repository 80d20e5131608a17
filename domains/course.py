"""What follows from a look at a domain's records, and when to look again. No I/O: from facts to the next state.

    pending ── all there ── verified ── lost ── warned ── 72 h ── stopped ── all there ── verified
                               └── proved by another organization ── taken over ── all there, with a new token ── verified

One bad look is no loss: only the second one, minutes later, is told to the owners. DNS that gives no answer changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

WARN_AFTER = timedelta(minutes=10)  # between the first bad look and the one that warns
FAILING_EVERY = timedelta(hours=1)
SENDS_ON = timedelta(hours=72)  # since the first bad look
SENDS_ON_WARNED = timedelta(hours=24)  # since the warning at least, should that have come late

WAITING_FIRST = timedelta(seconds=15)
WAITING_SHARE = 20  # the wait is one part in so many of the age
VERIFIED_EVERY = timedelta(days=1)
VERIFIED_SPREAD = 0.1  # so much sooner by chance, so that domains added together part
UNCLEAR_EVERY = timedelta(hours=1)

WATCHED_EVERY = timedelta(seconds=5)
WATCHED_SHARE = 60
WATCHED_RARELY = timedelta(minutes=5)


class Sight(StrEnum):
    """The required records together, as one look found them."""

    WHOLE = "whole"  # all found
    LOST = "lost"  # one at least is missing or different
    UNCLEAR = "unclear"  # no answer, or not seen by all yet


class Turn(StrEnum):
    """What has happened to a domain, as the audit log names it (`domain.<turn>`)."""

    VERIFIED = "verified"
    FAILING = "failing"
    WARNED = "warned"
    RECOVERED = "recovered"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a domain decides. `status` as in domains.models.DomainStatus; `failing_since`, `warned_at` as there."""

    status: str
    status_at: datetime
    failing_since: datetime | None = None
    warned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `visible_at`: when what is published will be seen by all, if that is all that is waited for."""

    sight: Sight
    at: datetime
    visible_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a look leads to."""

    standing: Standing
    turn: Turn | None
    next_check_at: datetime


def sight_of(statuses: Iterable[str]) -> Sight:
    """Of the statuses of the required records (domains.models.RecordStatus). Without any, nothing is proved."""
    seen = set(statuses)
    if seen == {"found"}:
        return Sight.WHOLE
    return Sight.LOST if seen & {"missing", "different"} else Sight.UNCLEAR


def step(standing: Standing, seen: Seen, *, scale: float = 1.0, chance: float = 0.0) -> Step:
    """`scale`: of all times of a loss (settings.DOMAIN_LOSS_SCALE). `chance` is drawn from [0, 1)."""
    if standing.status == "verified":
        turn, after = _while_verified(standing, seen, scale)
    elif seen.sight == Sight.WHOLE:
        turn, after = Turn.VERIFIED, Standing("verified", seen.at)
    else:
        turn, after = None, standing
    return Step(after, turn, _next_check(after, seen, scale, chance))


def stops_at(standing: Standing, *, scale: float = 1.0) -> datetime | None:
    """When a verified domain stops unless its records come back; None as long as its owners are not warned."""
    if standing.failing_since is None or standing.warned_at is None:
        return None
    return max(standing.failing_since + SENDS_ON * scale, standing.warned_at + SENDS_ON_WARNED * scale)


def watched_every(open_for: timedelta) -> timedelta:
    """How often to look while somebody has the page open, by how long that has been so."""
    return min(max(open_for / WATCHED_SHARE, WATCHED_EVERY), WATCHED_RARELY)


def _while_verified(standing: Standing, seen: Seen, scale: float) -> tuple[Turn | None, Standing]:
    if seen.sight == Sight.WHOLE and standing.failing_since:
        return Turn.RECOVERED, replace(standing, failing_since=None, warned_at=None)
    if seen.sight != Sight.LOST:
        return None, standing
    if standing.failing_since is None:
        return Turn.FAILING, replace(standing, failing_since=seen.at)
    if standing.warned_at is None:
        is_second = seen.at >= standing.failing_since + WARN_AFTER * scale
        return (Turn.WARNED, replace(standing, warned_at=seen.at)) if is_second else (None, standing)
    stops = stops_at(standing, scale=scale)
    if stops and seen.at >= stops:
        return Turn.STOPPED, replace(standing, status="stopped", status_at=seen.at)
    return None, standing


def _next_check(after: Standing, seen: Seen, scale: float, chance: float) -> datetime:
    if after.status != "verified":
        return _while_waiting(seen, age=seen.at - after.status_at)
    if after.failing_since:
        return _while_failing(after, after.failing_since, seen.at, scale)
    if seen.sight == Sight.WHOLE:
        return seen.at + VERIFIED_EVERY * (1 - VERIFIED_SPREAD * chance)
    return min(seen.visible_at or seen.at + UNCLEAR_EVERY, seen.at + UNCLEAR_EVERY)


def _while_waiting(seen: Seen, age: timedelta) -> datetime:
    """People publish records within minutes of adding a domain, or much later. It never ends."""
    by_age = min(max(age / WAITING_SHARE, WAITING_FIRST), timedelta(days=1))
    if seen.visible_at:
        return seen.at + min(max(seen.visible_at - seen.at, WAITING_FIRST), UNCLEAR_EVERY)
    return seen.at + by_age


def _while_failing(after: Standing, failing_since: datetime, now: datetime, scale: float) -> datetime:
    if after.warned_at is None:
        second = failing_since + WARN_AFTER * scale
        return second if second > now else now + WARN_AFTER * scale
    stops = stops_at(after, scale=scale)
    hourly = now + FAILING_EVERY * scale
    return min(hourly, stops) if stops and stops > now else hourly
