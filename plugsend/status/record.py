"""What the watch writes down: how components are, for how long they were how, and incidents that it opens and ends itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from django.db import connection, transaction

from plugsend.status.components import COMPONENTS, State, title_of, worst
from plugsend.status.course import Standing
from plugsend.status.models import ComponentDay, ComponentState, Impact, Incident, IncidentUpdate, Kind, Throughput
from plugsend.status.probes import Found

LOCK = 7270
DAYS_KEPT = 400
THROUGHPUT_KEPT = timedelta(days=2)
_SECONDS = {
    State.OK: "works_s",
    State.DEGRADED: "degraded_s",
    State.DOWN: "down_s",
    State.MAINTENANCE: "maintenance_s",
}
_ADD_SECONDS = """
    INSERT INTO status_componentday AS d (code, day, works_s, degraded_s, down_s, maintenance_s)
    VALUES (%(code)s, %(day)s, %(works_s)s, %(degraded_s)s, %(down_s)s, %(maintenance_s)s)
    ON CONFLICT (code, day) DO UPDATE SET
        works_s = d.works_s + excluded.works_s, degraded_s = d.degraded_s + excluded.degraded_s,
        down_s = d.down_s + excluded.down_s, maintenance_s = d.maintenance_s + excluded.maintenance_s
"""

Tallies = Mapping[tuple[str, date, State], float]


def load() -> dict[str, Standing]:
    return {
        one.code: Standing(State(one.state), one.since)
        for one in ComponentState.objects.all()
        if one.code in COMPONENTS
    }


def write(standings: Mapping[str, Standing], found: Mapping[str, Found], tallies: Tallies, now: datetime) -> None:
    """One transaction: a crash leaves all as it was, and what was counted is counted once."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        in_maintenance = _in_maintenance(now)
        ComponentState.objects.bulk_create(
            [
                ComponentState(
                    code=code, state=standing.state, since=standing.since, checked_at=now,
                    took_ms=found[code].took_ms, words=found[code].words,
                )
                for code, standing in standings.items()
            ],
            update_conflicts=True,
            unique_fields=["code"],
            update_fields=["state", "since", "checked_at", "took_ms", "words"],
        )  # fmt: skip
        for (code, day, state), seconds in tallies.items():
            column = _SECONDS[State.MAINTENANCE if code in in_maintenance else state]
            cursor.execute(
                _ADD_SECONDS, dict.fromkeys(_SECONDS.values(), 0.0) | {"code": code, "day": day, column: seconds}
            )
        _keep_incident({code: one for code, one in standings.items() if code not in in_maintenance}, now)
        ComponentDay.objects.filter(day__lt=now.date() - timedelta(days=DAYS_KEPT)).delete()
        Throughput.objects.filter(minute__lt=now - THROUGHPUT_KEPT).delete()


def _in_maintenance(now: datetime) -> set[str]:
    planned = Incident.objects.filter(kind=Kind.MAINTENANCE, started_at__lte=now, ended_at__gt=now)
    return {code for components in planned.values_list("components", flat=True) for code in components}


def _keep_incident(standings: Mapping[str, Standing], now: datetime) -> None:
    """There is one incident at a time that probes have found: what fails while it lasts is part of it."""
    failing = {code: one.state for code, one in standings.items() if one.state.is_trouble}
    incident = Incident.objects.select_for_update().filter(is_automatic=True, ended_at=None).first()
    if incident is None:
        if failing:
            _open(failing, min(standings[code].since for code in failing), now)
        return
    further = {code: state for code, state in failing.items() if code not in incident.components}
    if further or worst(*failing.values()).severity > State(incident.impact).severity:
        incident.components = [code for code in COMPONENTS if code in further or code in incident.components]
        incident.impact = Impact(worst(State(incident.impact), *failing.values()))
        incident.title = title_of(dict.fromkeys(incident.components, State(incident.impact)))
        incident.save(update_fields=["components", "impact", "title"])
        if further:
            _tell(incident, now, f"{_sentence(further)} Found by our own checks.")
    well = [standings[code] for code in incident.components if code in standings]
    if all(one.state == State.OK for one in well):
        incident.ended_at = max([incident.started_at, *(one.since for one in well)])
        incident.save(update_fields=["ended_at"])
        _tell(incident, now, f"All works again. It lasted {in_words(incident.ended_at - incident.started_at)}.")


def _open(failing: Mapping[str, State], since: datetime, now: datetime) -> None:
    incident = Incident.objects.create(
        title=title_of(dict(failing)),
        components=list(failing),
        impact=Impact(worst(*failing.values())),
        started_at=since,
        is_automatic=True,
    )
    accepted = "" if "database" in failing else " Mail that was accepted is safe, and goes on as soon as it can."
    _tell(incident, now, f"{_sentence(failing)} Found by our own checks, which tell here when it is over.{accepted}")


def _sentence(failing: Mapping[str, State]) -> str:
    texts = [
        COMPONENTS[code].degraded if state == State.DEGRADED else COMPONENTS[code].down
        for code, state in failing.items()
    ]
    return " ".join(f"{text}." for text in texts)


def _tell(incident: Incident, now: datetime, text: str) -> None:
    IncidentUpdate.objects.create(incident=incident, at=now, text=text)


def in_words(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    if minutes < 1:
        return f"{max(1, round(length.total_seconds()))} s"
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h {rest} min" if rest else f"{hours} h"
