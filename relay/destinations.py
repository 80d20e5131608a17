"""Pausing and resuming destinations, and what waits for them. Nothing here counts more than `COUNTED` rows of one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from celery import current_app
from django.db import connection, transaction
from django.utils import timezone

from accounts.audit import Actor, Thing, note
from accounts.models import Organization
from domains.names import normalize_domain
from relay.models import PausedDestination

logger = logging.getLogger(__name__)

COUNTED = 1000  # open recipients of a destination
PAGE = 50

# A loose index scan, one probe a destination; what waits for each is counted as far as COUNTED. From one name on, so that each
# page costs the same. By the index `recipient_lane`.
_WAITING = f"""
    WITH RECURSIVE open AS (
        (SELECT destination, 1 AS number FROM relay_recipient
         WHERE next_attempt_at IS NOT NULL AND destination > %(after)s ORDER BY destination LIMIT 1)
        UNION ALL
        SELECT next.destination, open.number + 1 FROM open CROSS JOIN LATERAL (
            SELECT destination FROM relay_recipient
            WHERE next_attempt_at IS NOT NULL AND destination > open.destination ORDER BY destination LIMIT 1) next
        WHERE open.number < %(most)s)
    SELECT open.destination, w.waiting, w.deferred, w.held, w.oldest
    FROM open CROSS JOIN LATERAL (
        SELECT count(*) AS waiting, count(*) FILTER (WHERE state = 'deferred') AS deferred,
               count(*) FILTER (WHERE state = 'held') AS held,
               min(next_attempt_at) FILTER (WHERE state <> 'held') AS oldest
        FROM (SELECT state, next_attempt_at FROM relay_recipient
              WHERE next_attempt_at IS NOT NULL AND destination = open.destination LIMIT {COUNTED + 1}) r) w
    ORDER BY open.destination
"""  # noqa: S608
_OF_ONE = _WAITING.replace("destination > %(after)s", "destination = %(after)s").replace("%(most)s", "1")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open recipients of a destination; at most COUNTED + 1 are counted. `due_at`: of the one that is due first."""

    destination: str
    waiting: int
    deferred: int
    held: int
    due_at: datetime | None

    @property
    def is_cut(self) -> bool:
        return self.waiting > COUNTED

    @property
    def in_words(self) -> str:
        return f"more than {COUNTED:,}" if self.is_cut else f"{self.waiting:,}"


def waiting(after: str = "", most: int = PAGE) -> list[Waiting]:
    """By name, of those that come after one."""
    return _ask(_WAITING, after, most)


def waiting_for(destination: str) -> Waiting:
    found = _ask(_OF_ONE, destination, 1)
    return found[0] if found else Waiting(destination, 0, 0, 0, None)


def pauses_of(destinations: set[str]) -> dict[str, PausedDestination]:
    return PausedDestination.objects.in_bulk(destinations) if destinations else {}


def pause(destination: str, reason: str, *, by: Actor) -> bool:
    """Engines hear of it within some seconds. False: it is paused already.

    Raises DomainRefused, and ValueError without a reason.
    """
    name = normalize_domain(destination)
    if not reason.strip():
        raise ValueError("A pause has a reason.")
    with transaction.atomic():
        defaults = {"reason": reason.strip()[:300], "paused_at": timezone.now(), "paused_by": by.name}
        row, is_new = PausedDestination.objects.get_or_create(pk=name, defaults=defaults)
        if is_new:
            _note(by, "destination.paused", name, after={"reason": row.reason})
    return is_new


def resume(destination: str, *, by: Actor) -> bool:
    """What waits goes out within some seconds. False: it was not paused."""
    with transaction.atomic():
        row = PausedDestination.objects.select_for_update().filter(pk=destination).first()
        if row is None:
            return False
        row.delete()
        _note(by, "destination.resumed", destination, before={"reason": row.reason})
        transaction.on_commit(_wake, robust=True)
    return True


def _note(by: Actor, action: str, destination: str, **changes: dict[str, str]) -> None:
    """In the platform's own audit log: it is of no organization."""
    platform = Organization.objects.get(is_system=True)
    note(by, action, Thing(None, destination), organization_id=platform.pk, **changes)


def _wake() -> None:
    try:
        current_app.send_task("relay.tasks.wake_due", ignore_result=True, retry=False, expires=60)
    except Exception as error:  # any transport error: the next look at the queue finds what is due
        logger.warning("No wake-up could be sent after a resumption: %s", error)


def _ask(statement: str, after: str, most: int) -> list[Waiting]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"after": after, "most": most})
        return [Waiting(*row) for row in cursor.fetchall()]
