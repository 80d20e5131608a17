"""Ends what is open beyond its time, wherever it waits: held, in a suspended group's lane, or forgotten."""

from __future__ import annotations

from django.db import connection, transaction
from django.utils import timezone

from events.models import Event, EventType
from relay.models import RecipientState

EXPIRE_MOST = 1000  # in one transaction

# Not what is in a worker's hands: it ends it itself, or its lease runs out.
_EXPIRE = """
    UPDATE relay_recipient r
    SET state = %(state)s, state_at = %(now)s, reason = 'expired', next_attempt_at = NULL
    FROM (SELECT id FROM relay_recipient WHERE next_attempt_at IS NOT NULL AND expires_at <= %(now)s AND leased_by IS NULL
          ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED) due
    WHERE r.id = due.id
    RETURNING r.id, r.message_id, r.organization_id, r.address, r.attempts, r.last_reply
"""


def expire() -> int:
    """Returns how many ended."""
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_EXPIRE, {"state": RecipientState.BOUNCED.value, "now": now, "most": EXPIRE_MOST})
        rows = cursor.fetchall()
        Event.objects.bulk_create(
            Event(
                recipient_id=recipient_id, message_id=message_id, organization_id=organization_id, address=address,
                type=EventType.BOUNCED, occurred_at=now, attempt=attempts, reason="expired",
                detail={"error": last_reply} if last_reply else {},
            )
            for recipient_id, message_id, organization_id, address, attempts, last_reply in rows
        )  # fmt: skip
    return len(rows)
