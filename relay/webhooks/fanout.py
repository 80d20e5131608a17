"""From the event log to deliveries: the log is the outbox.

An event's row is written in the transaction of what it tells of, and below the feed's horizon nothing comes to light any more
(`events.feed`). So the mail path writes nothing for webhooks. What is handed out, and the mark that says how far, change in one
transaction, under a lock that is held to its end: each event has one delivery for each endpoint that wants it, whatever dies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.ids import uuid7
from events.feed import horizon
from events.models import Event
from relay.models import Message
from relay.webhooks.models import EndpointState, WebhookDelivery, WebhookEndpoint, WebhookProgress
from relay.webhooks.payload import NAMES, body_of

EVENTS_AT_ONCE = 1000  # in a transaction, of all organizations
LOCK = 7230
_KEEP = "SELECT id FROM accounts_organization WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"
_COLLECTING = (EndpointState.ENABLED, EndpointState.PAUSED)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an endpoint wants to hear of."""

    endpoint_id: UUID
    organization_id: UUID
    event_types: frozenset[str]  # empty: all
    domain_id: UUID | None
    hears_from: UUID

    def wants(self, event_id: UUID, event_type: str, domain_id: UUID | None) -> bool:
        return (
            event_id > self.hears_from
            and (not self.event_types or event_type in self.event_types)
            and (self.domain_id is None or self.domain_id == domain_id)
        )


def hand_out_next(top: UUID | None = None) -> bool:
    """One transaction: the next events below the horizon, or `top`, which must be at or below it.

    Returns whether there may be more. Another process that is at it is not waited for.
    """
    if not WebhookEndpoint.objects.filter(state__in=_COLLECTING).exists():
        return False
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
        wishes = _wishes()
        top = top or horizon()
        if not wishes:
            return False
        progress = WebhookProgress.objects.filter(pk=1).first() or WebhookProgress()
        # Before the first of the endpoints was enabled nothing is for any.
        low = max(progress.handed_out_before, min(wish.hears_from for wish in wishes))
        high = _end_of_span(cursor, low, top)
        if high <= low:
            return False
        found = _hand_out(cursor, wishes, low, high)
        if found or high < top or _is_long_ago(progress.handed_out_before, top):
            progress.handed_out_before = high
            progress.save()
    return high < top


def _is_long_ago(mark: UUID, top: UUID) -> bool:
    """Where nothing is for anyone the mark is written every few seconds only."""
    return (top.int >> 80) - (mark.int >> 80) > 10_000  # milliseconds


def _wishes() -> list[Wish]:
    rows = WebhookEndpoint.objects.filter(state__in=_COLLECTING)
    columns = ("pk", "organization_id", "event_types", "domain_id", "hears_from")
    return [
        Wish(key, organization, frozenset(types), domain, hears_from)
        for key, organization, types, domain, hears_from in rows.values_list(*columns)
    ]


def _end_of_span(cursor: Any, low: UUID, top: UUID) -> UUID:
    """`top`, or the first event that goes beyond what a transaction takes."""
    cursor.execute(
        "SELECT id FROM events_event WHERE id >= %s AND id < %s ORDER BY id OFFSET %s LIMIT 1",
        [low, top, EVENTS_AT_ONCE],
    )
    row = cursor.fetchone()
    return row[0] if row else top


def _hand_out(cursor: Any, wishes: Sequence[Wish], low: UUID, high: UUID) -> int:
    by_organization: dict[UUID, list[Wish]] = {}
    for wish in wishes:
        by_organization.setdefault(wish.organization_id, []).append(wish)
    found = Event.objects.filter(id__gte=low, id__lt=high, organization_id__in=list(by_organization))
    events = list(found.defer("transcript").order_by("id"))
    messages = _messages_of(events)
    deliveries = [
        delivery_of(event, messages.get(event.message_id), wish)
        for event in events
        for wish in by_organization[event.organization_id]
        if wish.wants(event.pk, event.type, _domain_of(messages.get(event.message_id)))
    ]
    if deliveries:
        # Who erases one of the organizations waits for us, and then finds what we wrote.
        cursor.execute(_KEEP, [list({one.organization_id for one in deliveries})])
        kept = {row[0] for row in cursor.fetchall()}
        WebhookDelivery.objects.bulk_create(one for one in deliveries if one.organization_id in kept)
    return len(deliveries)


def _messages_of(events: Iterable[Event]) -> dict[UUID, Message]:
    return Message.objects.in_bulk({event.message_id for event in events})


def _domain_of(message: Message | None) -> UUID | None:
    return message.domain_id if message else None


def delivery_of(event: Event, message: Message | None, wish: Wish) -> WebhookDelivery:
    """Due at once. Their ids are made in the order of the events."""
    return WebhookDelivery(
        id=uuid7(),
        organization_id=event.organization_id,
        endpoint_id=wish.endpoint_id,
        webhook_id=event.pk,
        message_id=event.message_id,
        recipient_id=event.recipient_id,
        type=NAMES[event.type],
        body=body_of(event, message),
        next_attempt_at=timezone.now(),
    )
