"""What the status page shows, read at most every few seconds however many ask; from what the watch published when the database
is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zlib import crc32

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from plugsend.status.components import COMPONENTS, GROUPS, Component, State, worst
from plugsend.status.facts import bounded
from plugsend.status.models import ComponentDay, ComponentState, Incident
from plugsend.status.published import published
from plugsend.status.record import in_words
from plugsend.status.watch import ROUND_MOST_S, STALE_ROUNDS

logger = logging.getLogger(__name__)

DAYS = 90
PAST_MOST = 20
KEPT_S = 3.0
READ_WITHIN_S = 1.5
BAD_FROM_S = 300.0  # of a day's outage, from which its bar is red

HEADLINES = {
    State.OK: "Everything works",
    State.DEGRADED: "Some parts are slow or work in part",
    State.DOWN: "Some parts are out of order",
    State.MAINTENANCE: "Maintenance is under way",
    State.UNKNOWN: "How things are is not known right now",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A day. `tone`: ok, warn, bad, or none where nobody looked. `x`: in days."""

    x: int
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """`since`: when the state began, where that is known. `uptime`: of the time that was looked at, without maintenance."""

    component: Component
    state: State
    since: datetime | None
    bars: list[Bar]
    uptime: float | None
    summary: str

    @property
    def uptime_in_words(self) -> str:
        return "not known yet" if self.uptime is None else percent(self.uptime)


@dataclass(frozen=True, slots=True)
class Board:
    """`looked_at`: when the components were last probed; `is_current`: not long ago. `has_history`: the database told."""

    looked_at: datetime | None
    is_current: bool
    has_history: bool
    groups: dict[str, list[Row]]
    present: list[Incident] = field(default_factory=list)
    planned: list[Incident] = field(default_factory=list)
    past: list[Incident] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.groups.values() for row in rows]

    @property
    def state(self) -> State:
        return (
            worst(*(row.state for row in self.rows), *(one.state for one in self.present))
            if self.is_current
            else State.UNKNOWN
        )

    @property
    def headline(self) -> str:
        return HEADLINES[self.state]

    @property
    def since(self) -> datetime:
        return timezone.now() - timedelta(days=DAYS)

    @property
    def mark(self) -> str:
        """Another one when something else is to be shown."""
        told = [str(self.looked_at), str(self.is_current), str(self.has_history)]
        told += [
            str(one.pk)[-6:] + str(len(one.updates.all())) for one in (*self.present, *self.planned, *self.past[:3])
        ]
        return format(crc32(" ".join(told).encode()), "x")


_lock = threading.Lock()
_cached: tuple[float, Board] | None = None


def board() -> Board:
    """At most some seconds old. While one request reads it anew, others are shown the one before."""
    global _cached
    known = _cached
    if known and time.monotonic() - known[0] < KEPT_S:
        return known[1]
    if not _lock.acquire(blocking=known is None):
        assert known is not None
        return known[1]
    try:
        if _cached is None or time.monotonic() - _cached[0] >= KEPT_S:
            _cached = time.monotonic(), read(known[1] if known else None)
        return _cached[1]
    finally:
        _lock.release()


def forget() -> None:
    """What was read before is not shown any more."""
    global _cached
    _cached = None


def read(before: Board | None = None) -> Board:
    """`before`: whose history is shown while the database is away."""
    now = timezone.now()
    if (known := _of_database(now)) is not None:
        return known
    logger.warning("The status is shown without the database")
    told = published()
    states, looked_at = told if told else ({}, None)
    is_current = looked_at is not None and _is_current(looked_at, now)
    shown = dict(states) | {"database": (State.DOWN, _since(states, "database", now))}
    if before is not None:
        groups = {
            name: [
                replace(
                    row,
                    state=_state(shown, row.component.code, is_current),
                    since=_since(shown, row.component.code, None),
                )
                for row in rows
            ]
            for name, rows in before.groups.items()
        }
        return replace(before, looked_at=looked_at, is_current=is_current, has_history=False, groups=groups)
    groups = {
        name: [
            Row(one, _state(shown, one.code, is_current), _since(shown, one.code, None), [], None, "")
            for one in components
        ]
        for name, components in GROUPS.items()
    }
    return Board(looked_at, is_current, False, groups)


class _Reading(threading.Thread):
    """In a thread and with a connection of its own: nobody waits for a database that hangs."""

    def __init__(self, now: datetime) -> None:
        super().__init__(name="status board", daemon=True)
        self._now = now
        self.board: Board | None = None

    def run(self) -> None:
        try:
            with bounded():
                self.board = _read(self._now)
        except Exception as error:
            logger.warning("The status cannot be read: %s", error)
        finally:
            connection.close()


_reading: _Reading | None = None


def _of_database(now: datetime) -> Board | None:
    """None: it did not answer in time, or not at all."""
    global _reading
    if connection.in_atomic_block:  # what stands in it no other connection would see
        return _read(now)
    if _reading is not None and _reading.is_alive():
        return None  # it has been waited for
    _reading = _Reading(now)
    _reading.start()
    _reading.join(READ_WITHIN_S)
    return None if _reading.is_alive() else _reading.board


States = Mapping[str, tuple[State, datetime | None]]


def _state(states: States, code: str, is_current: bool) -> State:
    known = states.get(code)
    return known[0] if known and (is_current or code == "database") else State.UNKNOWN


def _since(states: States, code: str, otherwise: datetime | None) -> datetime | None:
    known = states.get(code)
    return known[1] if known and known[0].is_trouble else otherwise


def _is_current(looked_at: datetime, now: datetime) -> bool:
    return (now - looked_at).total_seconds() < STALE_ROUNDS * settings.STATUS_CHECK_SECONDS + ROUND_MOST_S


def _read(now: datetime) -> Board:
    known = {one.code: one for one in ComponentState.objects.all() if one.code in COMPONENTS}
    looked_at = max((one.checked_at for one in known.values()), default=None)
    is_current = looked_at is not None and _is_current(looked_at, now)
    first_day = now.date() - timedelta(days=DAYS - 1)
    days: dict[str, dict[date, ComponentDay]] = {}
    for day in ComponentDay.objects.filter(day__gte=first_day):
        days.setdefault(day.code, {})[day.day] = day
    incidents = list(
        Incident.objects.filter(Q(ended_at__isnull=True) | Q(ended_at__gte=now - timedelta(days=DAYS)))
        .prefetch_related("updates")
        .order_by("-started_at")[: 3 * PAST_MOST]
    )
    present = [one for one in incidents if one.is_open(now)]
    groups = {
        name: [
            _row(component, known.get(component.code), is_current, days, present, first_day) for component in components
        ]
        for name, components in GROUPS.items()
    }
    return Board(
        looked_at,
        is_current,
        True,
        groups,
        present,
        sorted((one for one in incidents if one.started_at > now), key=lambda one: one.started_at),
        [one for one in incidents if one.ended_at and one.ended_at <= now][:PAST_MOST],
    )


def _row(
    component: Component, known: ComponentState | None, is_current: bool, days: Mapping[str, Mapping[date, ComponentDay]],
    present: list[Incident], first_day: date,
) -> Row:  # fmt: skip
    state = State(known.state) if known and is_current else State.UNKNOWN
    since = known.since if known and state.is_trouble else None
    for incident in present:
        if component.code in incident.components and not incident.is_automatic:
            if incident.is_maintenance:
                state, since = State.MAINTENANCE, incident.started_at
            elif incident.state.severity > state.severity:
                state, since = incident.state, incident.started_at
    theirs = days.get(component.code, {})
    up_s = sum(day.works_s + day.degraded_s for day in theirs.values())
    down_s = sum(day.down_s for day in theirs.values())
    uptime = up_s / (up_s + down_s) if up_s + down_s else None
    bars = _bars(theirs, first_day)
    troubled = [bar.text for bar in bars if bar.tone in ("warn", "bad")]
    summary = f"{component.name}, the last {DAYS} days: " + (
        "not known yet."
        if uptime is None
        else f"{percent(uptime)} uptime. " + (" ".join(f"{text}." for text in troubled[-10:]) or "No trouble.")
    )
    return Row(component, state, since, bars, uptime, summary)


def _bars(days: Mapping[date, ComponentDay], first_day: date) -> list[Bar]:
    bars: list[Bar] = []
    for number in range(DAYS):
        day = first_day + timedelta(days=number)
        known = days.get(day)
        if known is None:
            bars.append(Bar(number, "none", ""))
            continue
        trouble = [
            f"{word} for {in_words(timedelta(seconds=seconds))}"
            for word, seconds in (
                ("out of order", known.down_s), ("slow or in part", known.degraded_s), ("maintenance", known.maintenance_s),
            )
            if seconds >= 1
        ]  # fmt: skip
        tone = "bad" if known.down_s >= BAD_FROM_S else "warn" if known.down_s >= 1 or known.degraded_s >= 1 else "ok"
        bars.append(Bar(number, tone, f"{day:%-d %b}: {', '.join(trouble) or 'no trouble'}"))
    return bars


def percent(share: float) -> str:
    """Never rounded up to a whole that it is not."""
    if share >= 1:
        return "100 %"
    return f"{min(share * 100, 99.99):.2f} %" if share >= 0.99 else f"{share * 100:.1f} %"
