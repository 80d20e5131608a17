"""Erases organizations whose grace period is over, a bounded transaction after the other, with rests for the mail path.

Whenever a process ends, the next one goes on where the last transaction ended: all that is known is what rows there still are.
An advisory lock keeps it to one process at a time for each organization.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Erasure, MailHold, Organization
from accounts.notices import notify_departed, owners_of
from plugsend.erasure.plan import (
    AFTER_MAIL,
    ARRIVED,
    BEFORE_MAIL,
    EVENTS,
    LAST,
    MAIL,
    OWN,
    RECIPIENTS,
    SCHEDULED,
    WEBHOOK_DELIVERIES,
    Step,
)
from relay.delivery.return_path import message_of, recipient_of
from relay.mail_rows import MESSAGES_AT_ONCE, at_once, deletions
from relay.sandbox.models import ReceivedMail
from relay.upkeep import alone

logger = logging.getLogger(__name__)

ROWS = 1000  # in a transaction, where rows are small
LONGEST_REST_S = 0.5
WAITS_FOR_LOCKS = "2s"  # then the next pass tries again
LOCK = 7209

_STEPS = {step.model: step for step in MAIL}

Statement = tuple[Step | None, str, dict[str, Any]]  # of which step it erases rows, if it does


class OutOfTime(Exception):
    """The rest is for the next call."""


def erase_due(seconds: float) -> int:
    """Works for so long at most. Returns how many organizations are gone."""
    until = time.monotonic() + seconds
    erased = 0
    due = Organization.objects.filter(erase_at__lte=timezone.now(), mail_hold=MailHold.HELD)
    for key in list(due.order_by("erase_at").values_list("pk", flat=True)):
        with alone(LOCK, key) as is_ours:
            if not is_ours or not _begin(key):
                continue
            try:
                _Eraser(key, until).erase()
            except OutOfTime:
                break
            except Exception:  # such as a lock that was not to be had: the next call goes on, and others need not wait
                logger.exception("Organization %s could not be erased to the end", key)
                continue
        erased += 1
    return erased


def _begin(organization_id: UUID) -> bool:
    """From now on nobody can undo it. False: somebody just has."""
    with transaction.atomic():
        query = Organization.objects.select_for_update(no_key=True)
        current = query.filter(pk=organization_id, erase_at__lte=timezone.now(), mail_hold=MailHold.HELD).first()
        if current is None or current.deletion_requested_at is None:
            return False
        values = {"requested_at": current.deletion_requested_at}
        _, is_new = Erasure.objects.get_or_create(pk=current.pk, defaults=values)
    if is_new:
        logger.info("Erasing organization %s", organization_id)
    return True


class _Eraser:
    def __init__(self, organization_id: UUID, until: float) -> None:
        self._id, self._until = organization_id, until
        self._terms = {"organization": organization_id, "most": ROWS}

    def erase(self) -> None:
        """Passes over everything until one finds nothing: what was written meanwhile goes, too."""
        while self._pass():
            pass
        self._finish()

    def _pass(self) -> int:
        gone = sum(self._all_of(step) for step in BEFORE_MAIL)
        gone += self._arrived()
        gone += self._messages()
        gone += sum(self._strays(step) for step in (EVENTS, RECIPIENTS, SCHEDULED, WEBHOOK_DELIVERIES))
        gone += sum(self._all_of(step) for step in AFTER_MAIL)
        return gone

    def _all_of(self, step: Step) -> int:
        """Of a plain table."""
        for column in step.cut:
            self._cut(step, column)
        found = f"SELECT ctid FROM {step.table} WHERE {step.where} LIMIT %(most)s"  # noqa: S608
        statement = f"DELETE FROM {step.table} WHERE ctid = ANY(ARRAY({found}))"  # noqa: S608
        gone = deleted = self._change((step, statement, self._terms))
        while deleted == ROWS:
            deleted = self._change((step, statement, self._terms))
            gone += deleted
        return gone

    def _cut(self, step: Step, column: str) -> None:
        """Rows that point to each other may not go in the same transaction."""
        found = f"SELECT ctid FROM {step.table} WHERE ({step.where}) AND {column} IS NOT NULL LIMIT %(most)s"  # noqa: S608
        statement = f"UPDATE {step.table} SET {column} = NULL WHERE ctid = ANY(ARRAY({found}))"  # noqa: S608
        while self._change((None, statement, self._terms)):
            pass

    def _messages(self) -> int:
        gone, after = 0, UUID(int=0)
        while ids := self._next_messages(after):
            gone += self._change(*((_STEPS[one.model], one.statement, one.terms) for one in deletions(self._id, ids)))
            after = ids[-1]
        return gone

    def _next_messages(self, after: UUID) -> list[UUID]:
        """The oldest, as many as make a transaction. After `after`, so that no scan goes over dead rows again."""
        rows = self._ask(
            f"SELECT id, recipient_count, size_bytes FROM relay_message WHERE {OWN} AND id > %(after)s"  # noqa: S608
            " ORDER BY id LIMIT %(most)s",
            {**self._terms, "after": after, "most": MESSAGES_AT_ONCE},
        )
        return at_once(rows)

    def _strays(self, step: Step) -> int:
        """Of a partitioned table, what no message led to."""
        key = step.model._meta.pk.column
        found = f"SELECT {key} FROM {step.table} WHERE {OWN} LIMIT %(most)s"  # noqa: S608
        delete = f"DELETE FROM {step.table} WHERE {key} = ANY(%(ids)s) AND {key} BETWEEN %(first)s AND %(last)s"  # noqa: S608
        gone = 0
        while ids := sorted(row[0] for row in self._ask(found, self._terms)):
            gone += self._change((step, delete, {"ids": ids, "first": ids[0], "last": ids[-1]}))
        return gone

    def _arrived(self) -> int:
        """What the sandbox's exchanger kept of its mail, while recipients and messages are there to tell whose it was."""
        gone, after = 0, UUID(int=0)
        rows = ReceivedMail.objects.order_by("pk")
        while page := list(rows.filter(pk__gt=after).values_list("pk", "envelope_sender")[:ROWS]):
            named = {key: recipient_of(sender) or message_of(sender) for key, sender in page}
            ids = list(filter(None, named.values()))
            if ids:
                own = self._ask(
                    f"SELECT id FROM relay_recipient WHERE id = ANY(%(ids)s) AND {OWN}"  # noqa: S608
                    f" UNION ALL SELECT id FROM relay_message WHERE id = ANY(%(ids)s) AND {OWN}",
                    {**self._terms, "ids": ids},
                )
                theirs = {row[0] for row in own}
                mails = [key for key, identifier in named.items() if identifier in theirs]
                if mails:
                    delete = f"DELETE FROM {ARRIVED.table} WHERE id = ANY(%(mails)s)"  # noqa: S608
                    gone += self._change((ARRIVED, delete, {"mails": mails}))
            after = page[-1][0]
        return gone

    def _finish(self) -> None:
        """Owners are told, and the line that stays gets its end, in the transaction in which the last rows go."""
        with transaction.atomic():
            organization = Organization.objects.select_for_update().get(pk=self._id)
            for address in owners_of(organization):
                notify_departed(address, "organization_erased", name=organization.name)
            self._run([(step, f"DELETE FROM {step.table} WHERE {step.where}", self._terms) for step in LAST])  # noqa: S608
            Erasure.objects.filter(pk=self._id).update(finished_at=timezone.now())
        logger.info("Organization %s is erased", self._id)

    # ---- Statements --------------------------------------------------------------------------------------------------

    def _change(self, *statements: Statement) -> int:
        """In one transaction, with what it adds to the line that stays; then a rest as long as it took."""
        if time.monotonic() >= self._until:
            raise OutOfTime
        began = time.monotonic()
        with transaction.atomic():
            gone = self._run(statements)
        if gone:
            time.sleep(min(time.monotonic() - began, LONGEST_REST_S))
        return gone

    def _run(self, statements: Sequence[Statement]) -> int:
        changed, gone = 0, dict[str, int]()
        with connection.cursor() as cursor:
            # The triggers of the append-only logs heed the first, for this organization and this transaction alone. Each
            # statement goes by index from few rows to few others, whatever statistics of another hour say.
            cursor.execute(
                "SELECT set_config('plugsend.erasing', %s, true), set_config('lock_timeout', %s, true),"
                " set_config('enable_seqscan', 'off', true)",
                [str(self._id), WAITS_FOR_LOCKS],
            )
            for step, statement, terms in statements:
                cursor.execute(statement, terms)
                changed += cursor.rowcount
                if step and cursor.rowcount:
                    gone[step.name] = gone.get(step.name, 0) + cursor.rowcount
        if gone:
            erasure = Erasure.objects.select_for_update().get(pk=self._id)
            erasure.counts = {
                name: erasure.counts.get(name, 0) + gone.get(name, 0) for name in {*erasure.counts, *gone}
            }
            erasure.save(update_fields=["counts"])
        return changed

    def _ask(self, statement: str, terms: dict[str, Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, terms)
            return cursor.fetchall()
