"""Taking whole messages away: of each its content, recipients and events with it, in one transaction, so that states and events
agree at any moment. For retention (`relay.retention`) and for erasing organizations.

Ids tell their day, so each statement looks only into the partitions between the first and the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Model

from events.models import Event
from relay.models import Content, Message, Recipient, ReturnedMessage, ScheduledMessage
from relay.webhooks.models import WebhookDelivery

MESSAGES_AT_ONCE = 200
RECIPIENTS_AT_ONCE = 500  # of those messages together, but for a single larger one
OCTETS_AT_ONCE = 16 * 1024 * 1024

_OF_MESSAGES = "message_id = ANY(%(ids)s) AND id >= %(first)s AND organization_id = %(organization)s"
_BY_ID = "id = ANY(%(ids)s) AND id BETWEEN %(first)s AND %(last)s"
DELETE_CONTENTS = f"DELETE FROM relay_content WHERE {_BY_ID}"  # noqa: S608


class Deletion(NamedTuple):
    model: type[Model]
    statement: str
    terms: dict[str, Any]


def terms_of(organization_id: UUID, ids: Sequence[UUID]) -> dict[str, Any]:
    """`ids` in their order."""
    return {"organization": organization_id, "ids": list(ids), "first": ids[0], "last": ids[-1]}


def deletions(organization_id: UUID, ids: Sequence[UUID]) -> list[Deletion]:
    """What takes these messages of one organization away. The log of events refuses it but from those two (its trigger)."""
    terms = terms_of(organization_id, ids)
    statements: dict[type[Model], str] = {
        Content: DELETE_CONTENTS,
        Event: f"DELETE FROM events_event WHERE {_OF_MESSAGES}",  # noqa: S608
        WebhookDelivery: f"DELETE FROM webhooks_webhookdelivery WHERE {_OF_MESSAGES}",  # noqa: S608
        Recipient: f"DELETE FROM relay_recipient WHERE {_OF_MESSAGES}",  # noqa: S608
        # After recipients: what is being recorded holds their rows.
        ReturnedMessage: "DELETE FROM relay_returnedmessage WHERE message_id = ANY(%(ids)s)",
        ScheduledMessage: "DELETE FROM relay_scheduledmessage WHERE message_id = ANY(%(ids)s)",
        Message: f"DELETE FROM relay_message WHERE {_BY_ID}",  # noqa: S608
    }
    return [Deletion(model, statement, terms) for model, statement in statements.items()]


def at_once(rows: Iterable[tuple[UUID, int, int]]) -> list[UUID]:
    """As many as make a transaction of the messages given as (id, number of recipients, octets); one at least."""
    ids: list[UUID] = []
    recipients = octets = 0
    for identifier, recipient_count, size in rows:
        recipients, octets = recipients + recipient_count, octets + size
        if ids and (recipients > RECIPIENTS_AT_ONCE or octets > OCTETS_AT_ONCE):
            break
        ids.append(identifier)
    return ids
