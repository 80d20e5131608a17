"""Forgets mail whose time is over: contents after the plan's `content_days`, messages with their recipients and events after
its `event_days`, each counted in whole days (UTC) from the day on which they were submitted.

A day that is over for every plan goes as partitions, which costs the same at any number of rows. Where plans differ, those with
the shorter time lose theirs message by message, in bounded transactions that also move the organization's mark, so that whoever
goes on later begins there.

Nothing that is still under way is forgotten, one that is to be sent much later say. A mark that passes such a message leaves a
row (`KeptLonger`), by which it is looked at again. An ended message never comes to life again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import Organization, Plan
from events.partitions import days_of
from relay.mail_rows import DELETE_CONTENTS, MESSAGES_AT_ONCE, at_once, deletions, terms_of
from relay.models import KeptLonger, Retention
from relay.upkeep import alone

logger = logging.getLogger(__name__)

LONGEST_REST_S = 0.5
# A partition is dropped under a lock for which new statements wait: it is had at once, or the next call tries again.
WAITS_FOR_LOCKS = "200ms"
LOCK = 7210
MESSAGE_TABLES = ("relay_content", "relay_recipient", "relay_message", "events_event", "webhooks_webhookdelivery")

_NEXT = """
    SELECT id, recipient_count, size_bytes FROM relay_message
    WHERE organization_id = %(organization)s AND id > %(after)s AND id < %(before)s
    ORDER BY id LIMIT %(most)s
"""
# Recipients' ids are made a moment after their message's: the bounds leave all but one or two partitions out.
_UNDER_WAY = """
    SELECT DISTINCT message_id FROM relay_recipient
    WHERE organization_id = %(organization)s AND message_id = ANY(%(ids)s) AND next_attempt_at IS NOT NULL
        AND id >= %(first)s AND id < %(soon_after)s
"""
_IS_A_DAY_UNDER_WAY = """
    SELECT EXISTS (
        SELECT FROM relay_recipient WHERE next_attempt_at IS NOT NULL AND id >= %(first)s AND id < %(soon_after)s
            AND (id < %(end)s OR message_id < %(end)s)
    )
"""
# What a day's messages have left in the days after it.
_OF_THE_DAY = "id >= %(end)s AND message_id >= %(first)s AND message_id < %(end)s"
_LATER = (
    f"DELETE FROM relay_recipient WHERE {_OF_THE_DAY} AND id < %(soon_after)s",  # noqa: S608
    f"DELETE FROM events_event WHERE {_OF_THE_DAY}",  # noqa: S608
    "DELETE FROM relay_returnedmessage WHERE message_id >= %(first)s AND message_id < %(end)s",
    f"DELETE FROM webhooks_webhookdelivery WHERE {_OF_THE_DAY}",  # noqa: S608
)
# Waits for who erases the organization, and then finds none.
_MARK = """
    INSERT INTO relay_retention (organization_id, contents_before, messages_before)
    SELECT id, %(contents_before)s, %(messages_before)s FROM accounts_organization WHERE id = %(organization)s FOR KEY SHARE
    ON CONFLICT (organization_id) DO UPDATE SET {0} = excluded.{0}
"""


def days_kept(plan: Plan | None) -> tuple[int, int]:
    """For how many days contents are kept, and messages with their events."""
    contents, messages = (plan.content_days, plan.event_days) if plan else (settings.CONTENT_DAYS, settings.EVENT_DAYS)
    return max(1, min(contents, messages)), max(1, messages)


def forget_due(seconds: float, now: datetime | None = None) -> bool:
    """Works for so long at most, and one process at a time. Returns whether all is done."""
    until = time.monotonic() + seconds
    with alone(LOCK) as is_alone:
        if not is_alone:
            return False
        now = now or timezone.now()
        plans = [None, *Plan.objects.all()]
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        _drop_days_of_contents(today - timedelta(days=max(days_kept(plan)[0] for plan in plans)))
        _drop_days_of_messages(today - timedelta(days=max(days_kept(plan)[1] for plan in plans)))
        return _forget_rows(today, until)


# ---- Whole days ------------------------------------------------------------------------------------------------------


def _drop_days_of_contents(before: datetime) -> None:
    for day in _days_of("relay_content"):
        if day < before and not _is_under_way(day):
            _drop_day(("relay_content",), day)


def _drop_days_of_messages(before: datetime) -> None:
    """In their order, up to the first on which something is under way: its events may stand in any later day."""
    for day in _days_of("events_event"):
        if day >= before or _is_under_way(day) or not _drop_day(MESSAGE_TABLES, day):
            return


def _days_of(table: str) -> list[datetime]:
    with connection.cursor() as cursor:
        return days_of(cursor, table)


def _is_under_way(day: datetime) -> bool:
    """Whether any message of the day is, or any recipient in its partition."""
    with connection.cursor() as cursor:
        cursor.execute(_IS_A_DAY_UNDER_WAY, _bounds(day))
        return bool(cursor.fetchone()[0])


def _bounds(day: datetime) -> dict[str, UUID]:
    end = first_id_at(day + timedelta(days=1))
    return {"first": first_id_at(day), "end": end, "soon_after": _soon_after(end)}


def _drop_day(tables: tuple[str, ...], day: datetime) -> bool:
    """False: somebody reads or writes there just now, and it stays until the next call."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true), set_config('plugsend.forgetting', 'a day', true),"
                " set_config('enable_seqscan', 'off', true)",
                [WAITS_FOR_LOCKS],
            )
            if tables == MESSAGE_TABLES:
                for statement in _LATER:
                    cursor.execute(statement, _bounds(day))
            for table in tables:
                cursor.execute(f"DROP TABLE IF EXISTS {table}_{day:%Y%m%d}")
    except OperationalError as error:
        logger.info("The partitions of %s stay until the next call: %s", day.date(), error)
        return False
    logger.info("%s of %s: dropped", ", ".join(tables), day.date())
    return True


# ---- Message by message ----------------------------------------------------------------------------------------------


def _forget_rows(today: datetime, until: float) -> bool:
    """What the dropping of days has left, a transaction of each organization in turn. Returns whether all is done."""
    oldest = {"contents_before": _oldest("relay_content"), "messages_before": _oldest("relay_message")}
    marks = {mark.pk: mark for mark in Retention.objects.all()}
    with_passed = set(KeptLonger.objects.values_list("organization_id", flat=True).distinct())
    waiting = deque[_Forgetter]()
    organizations = Organization.objects.filter(Q(erase_at=None) | Q(erase_at__gt=timezone.now())).select_related(
        "plan"
    )
    for organization in organizations.order_by("pk"):
        contents, messages = (first_id_at(today - timedelta(days=days)) for days in days_kept(organization.plan))
        mark = marks.get(organization.pk) or Retention(organization_id=organization.pk)
        for name, before in (("messages_before", messages), ("contents_before", contents)):
            at = max(getattr(mark, name), UUID(int=oldest[name].int - 1))
            if at < before or organization.pk in with_passed:
                waiting.append(_Forgetter(organization.pk, name, at, before))
    while waiting:
        if time.monotonic() >= until:
            return False
        one = waiting.popleft()
        began = time.monotonic()
        try:
            if one.step():
                waiting.append(one)
                time.sleep(min(time.monotonic() - began, LONGEST_REST_S))
        except DatabaseError:  # of one organization, which the others need not wait for
            logger.exception("Mail of organization %s could not be forgotten", one.organization_id)
    return True


def _oldest(table: str) -> UUID:
    """The least id; that of now where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} ORDER BY id LIMIT 1")  # noqa: S608
        row = cursor.fetchone()
        return row[0] if row else first_id_at(timezone.now())


class _Forgetter:
    """Moves one of an organization's marks from `at` up to `before`."""

    def __init__(self, organization_id: UUID, name: str, at: UUID, before: UUID) -> None:
        self.organization_id = organization_id
        self._name, self._at, self._before = name, at, before
        self._looked_at = UUID(int=0)  # of those that the mark has passed

    def step(self) -> bool:
        """One transaction. Returns whether there is more to do."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('plugsend.forgetting', %s, true), set_config('enable_seqscan', 'off', true)",
                [str(self.organization_id)],
            )
            if self._look_again(cursor):
                return True
            return self._at < self._before and self._go_on(cursor)

    def _look_again(self, cursor: Any) -> bool:
        """At messages that were under way when the mark passed them. False: there is none that was not looked at."""
        passed = KeptLonger.objects.filter(organization_id=self.organization_id, message_id__lt=self._before)
        found = passed.filter(message_id__gt=self._looked_at).order_by("message_id")
        ids = list(found.values_list("message_id", flat=True)[:MESSAGES_AT_ONCE])
        if not ids:
            return False
        self._looked_at = ids[-1]
        ended = self._ended(cursor, ids)
        self._delete(cursor, ended)
        done = KeptLonger.objects.filter(message_id__in=ended)
        if self._name == "contents_before":  # the others' rows go with their messages
            mark = Retention.objects.get(organization_id=self.organization_id)
            done = done.filter(message_id__gt=mark.messages_before)
        done.delete()
        return True

    def _go_on(self, cursor: Any) -> bool:
        terms = {
            "organization": self.organization_id,
            "after": self._at,
            "before": self._before,
            "most": MESSAGES_AT_ONCE,
        }
        cursor.execute(_NEXT, terms)
        rows: list[tuple[UUID, int, int]] = cursor.fetchall()
        ids = at_once(rows)
        self._at = ids[-1] if len(ids) == MESSAGES_AT_ONCE or len(ids) < len(rows) else self._before
        marks = {"contents_before": UUID(int=0), "messages_before": UUID(int=0), self._name: self._at}
        cursor.execute(_MARK.format(self._name), {"organization": self.organization_id, **marks})
        if not cursor.rowcount:
            return False
        ended = self._ended(cursor, ids)
        self._delete(cursor, ended)
        KeptLonger.objects.bulk_create(
            (KeptLonger(message_id=one, organization_id=self.organization_id) for one in ids if one not in ended),
            ignore_conflicts=True,
        )
        return self._at < self._before

    def _ended(self, cursor: Any, ids: Sequence[UUID]) -> list[UUID]:
        if not ids:
            return []
        cursor.execute(_UNDER_WAY, terms_of(self.organization_id, ids) | {"soon_after": _soon_after(ids[-1])})
        under_way = {row[0] for row in cursor.fetchall()}
        return [one for one in ids if one not in under_way]

    def _delete(self, cursor: Any, ids: Sequence[UUID]) -> None:
        if ids and self._name == "contents_before":
            cursor.execute(DELETE_CONTENTS, terms_of(self.organization_id, ids))
        elif ids:
            for deletion in deletions(self.organization_id, ids):
                cursor.execute(deletion.statement, deletion.terms)


def _soon_after(identifier: UUID) -> UUID:
    """A bound for what was made together with it: an hour later."""
    return UUID(int=identifier.int + (3_600_000 << 80))
