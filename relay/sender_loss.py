"""Ends what waits to be sent as a domain that was removed or that another organization has taken over.

Engines let none of it leave in any case (`relay.delivery.senders`); this ends also what no engine would touch for long:
deferred, scheduled, held, or waiting for a suspended group.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.ids import first_id_at
from events.models import Event, EventType
from relay.models import RecipientState

MESSAGES_AT_ONCE = 1000
RECIPIENTS_AT_ONCE = 1000  # in one transaction
OPEN_AT_MOST = timedelta(days=35)  # scheduled 30 days ahead, then tried for 3

_MESSAGES = "SELECT id FROM relay_message WHERE domain_id = %s AND id > %s ORDER BY id LIMIT %s"

# Not what is in a worker's hands: it ends it itself, or its lease runs out. Not of a domain that is its owner's again: word of
# the loss may have been under way for long.
_END = """
    UPDATE relay_recipient r SET state = %(state)s, state_at = %(now)s, reason = %(reason)s, next_attempt_at = NULL
    FROM (SELECT id FROM relay_recipient
          WHERE message_id = ANY(%(messages)s) AND id >= %(since)s AND next_attempt_at IS NOT NULL AND leased_by IS NULL
            AND NOT EXISTS (SELECT FROM domains_sendingdomain WHERE id = %(domain)s AND status <> 'taken_over')
          ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED) waiting
    WHERE r.id = waiting.id
    RETURNING r.id, r.message_id, r.organization_id, r.address, r.attempts, r.last_reply
"""


def when_a_domain_is_lost(domain_id: UUID, reason: str, **_: Any) -> None:
    """Of the signal `domains.signals.domain_lost`. A task that is lost does no harm: see above."""
    from relay.tasks import end_mail_of

    transaction.on_commit(lambda: end_mail_of.apply_async([str(domain_id), reason], retry=False), robust=True)


def end_mail_of(domain_id: UUID, reason: str) -> int:
    """`reason` as in events.reasons. Returns how many recipients ended."""
    ended, after = 0, first_id_at(timezone.now() - OPEN_AT_MOST)
    while messages := _messages(domain_id, after):
        while count := _end(domain_id, messages, reason):
            ended += count
        after = messages[-1]
    return ended


def _messages(domain_id: UUID, after: UUID) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_MESSAGES, [domain_id, after, MESSAGES_AT_ONCE])
        return [row[0] for row in cursor.fetchall()]


def _end(domain_id: UUID, messages: list[UUID], reason: str) -> int:
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _END,
            {"state": RecipientState.BOUNCED.value, "now": now, "reason": reason, "messages": messages,
             "since": messages[0], "domain": domain_id, "most": RECIPIENTS_AT_ONCE},
        )  # fmt: skip
        rows = cursor.fetchall()
        Event.objects.bulk_create(
            Event(
                recipient_id=recipient_id, message_id=message_id, organization_id=organization_id, address=address,
                type=EventType.BOUNCED, occurred_at=now, attempt=attempts, reason=reason,
                detail={"error": last_reply} if last_reply else {},
            )
            for recipient_id, message_id, organization_id, address, attempts, last_reply in rows
        )  # fmt: skip
    return len(rows)
