"""Forgets mail whose time is over: contents after the plan's `content_days`, messages with their recipients and events after
its `event_days`, each counted in whole days (UTC) from the day on which they were submitted.

A day that is over for every plan goes as partitions, which costs the same at any number of rows. Where plans differ, those with
the shorter time lose theirs message by message, in bounded transactions that also move the organization's mark, so that whoever
goes on later begins there.

Nothing that is still under way is forgotten: such a message, one that is to be sent much later say, goes with its day once it
has ended. An ended one never comes to life again.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import Organization, Plan
from relay.mail_rows import DELETE_CONTENTS, MESSAGES_AT_ONCE, at_once, deletions, terms_of
from relay.models import Retention

logger = logging.getLogger(__name__)

LONGEST_REST_S = 0.5
# A partition is dropped under a lock for which new statements wait: it is had at once, or the next call tries again.
WAITS_FOR_LOCKS = "200ms"
LOCK = 7210
CONTENT_TABLES = ("relay_content",)
MESSAGE_TABLES = ("relay_content", "relay_recipient", "relay_message", "events_event")

# Recipients' ids are made a moment after their message's; `after` and `soon_after` bound the partitions that are read.
_UNDER_WAY = """
    SELECT FROM relay_recipient
    WHERE next_attempt_at IS NOT NULL AND id >= %(after)s AND id < %(soon_after)s AND message_id
"""
_NEXT = f"""
    SELECT id, recipient_count, size_bytes, EXISTS ({_UNDER_WAY} = m.id)
    FROM relay_message m
    WHERE organization_id = %(organization)s AND id > %(after)s AND id < %(before)s
    ORDER BY id LIMIT %(most)s
"""  # noqa: S608


class OutOfTime(Exception):
    """The rest is for the next call."""


def days_kept(plan: Plan | None) -> tuple[int, int]:
    """For how many days contents are kept, and messages with their events."""
    contents, messages = (plan.content_days, plan.event_days) if plan else (settings.CONTENT_DAYS, settings.EVENT_DAYS)
    return min(contents, messages), messages


def forget_due(seconds: float, now: datetime | None = None) -> bool:
    """Works for so long at most, and one process at a time. Returns whether all is done."""
    with _alone() as is_alone:
        if not is_alone:
            return False
        plans = [None, *Plan.objects.all()]
        today = (now or timezone.now()).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        _drop_days(CONTENT_TABLES, today - timedelta(days=max(days_kept(plan)[0] for plan in plans)))
        _drop_days(MESSAGE_TABLES, today - timedelta(days=max(days_kept(plan)[1] for plan in plans)))
        try:
            _forget_rows(today, time.monotonic() + seconds)
        except OutOfTime:
            return False
        return True


# ---- Whole days ------------------------------------------------------------------------------------------------------


def _drop_days(tables: tuple[str, ...], before: datetime) -> None:
    """Those before the day that begins at `before`."""
    for day in _days_with_partitions(tables[-1]):
        if day < before and not _is_under_way(day):
            try:
                _drop_day(tables, day)
            except OperationalError as error:  # somebody reads there just now
                logger.info("The partitions of %s stay until the next call: %s", day.date(), error)


def _days_with_partitions(table: str) -> list[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
            [table],
        )
        found = (re.fullmatch(rf"{table}_(\d{{8}})", row[0]) for row in cursor.fetchall())
        return sorted(datetime.strptime(one[1], "%Y%m%d").replace(tzinfo=UTC) for one in found if one)


def _is_under_way(day: datetime) -> bool:
    """Whether any message of the day is."""
    first, end = first_id_at(day), first_id_at(day + timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS ({_UNDER_WAY} >= %(after)s AND message_id < %(before)s)",
            {"after": first, "before": end, "soon_after": _soon_after(end)},
        )
        return bool(cursor.fetchone()[0])


def _drop_day(tables: tuple[str, ...], day: datetime) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [WAITS_FOR_LOCKS])
        for table in tables:
            cursor.execute(f"DROP TABLE IF EXISTS {table}_{day:%Y%m%d}")
    logger.info("%s of %s: dropped", ", ".join(tables), day.date())


# ---- Message by message ----------------------------------------------------------------------------------------------


def _forget_rows(today: datetime, until: float) -> None:
    """What the dropping of days has left: of plans with a shorter time than others, of days on which something is under way."""
    oldest = {table: _oldest(table) for table in ("relay_content", "relay_message")}
    for organization in Organization.objects.select_related("plan").order_by("pk"):
        contents, messages = days_kept(organization.plan)
        of_messages = first_id_at(today - timedelta(days=messages))
        of_contents = first_id_at(today - timedelta(days=contents))
        if oldest["relay_message"] < of_messages or oldest["relay_content"] < of_contents:
            mark, _ = Retention.objects.get_or_create(organization=organization)
            _Forgetter(mark, "messages_before", oldest["relay_message"], until).forget(of_messages)
            _Forgetter(mark, "contents_before", oldest["relay_content"], until).forget(of_contents)


def _oldest(table: str) -> UUID:
    """The least id; that of now where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} ORDER BY id LIMIT 1")  # noqa: S608
        row = cursor.fetchone()
        return row[0] if row else first_id_at(timezone.now())


class _Forgetter:
    """Moves one of an organization's marks. `oldest`: before it nothing is left anyway."""

    def __init__(self, mark: Retention, name: str, oldest: UUID, until: float) -> None:
        self._mark, self._name, self._until = mark, name, until
        self._at = max(getattr(mark, name), UUID(int=oldest.int - 1))

    def forget(self, before: UUID) -> None:
        """Raises OutOfTime."""
        while self._at < before:
            if time.monotonic() >= self._until:
                raise OutOfTime
            began = time.monotonic()
            gone = self._step(before)
            if gone:
                time.sleep(min(time.monotonic() - began, LONGEST_REST_S))

    def _step(self, before: UUID) -> int:
        """One transaction. Returns how many messages it was about."""
        organization_id = self._mark.organization_id
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('plugsend.forgetting', %s, true), set_config('enable_seqscan', 'off', true)",
                [str(organization_id)],
            )
            terms = {"organization": organization_id, "after": self._at, "before": before, "most": MESSAGES_AT_ONCE}
            cursor.execute(_NEXT, {**terms, "soon_after": _soon_after(before)})
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            taken = at_once(row[:3] for row in rows)
            self._at = taken[-1] if len(taken) == MESSAGES_AT_ONCE or len(taken) < len(rows) else before
            ended = [row[0] for row in rows[: len(taken)] if not row[3]]
            if ended and self._name == "contents_before":
                cursor.execute(DELETE_CONTENTS, terms_of(organization_id, ended))
            elif ended:
                for deletion in deletions(organization_id, ended):
                    cursor.execute(deletion.statement, deletion.terms)
            Retention.objects.filter(pk=self._mark.pk).update(**{self._name: self._at})
        return len(taken)


def _soon_after(identifier: UUID) -> UUID:
    """A bound for what was made together with it: an hour later."""
    return UUID(int=identifier.int + (3_600_000 << 80))


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other process is at it. Held by the connection: it ends with the process."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        is_ours = bool(cursor.fetchone()[0])
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
