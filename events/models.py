"""The event log: append-only, one row for each change of a recipient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.db import models, transaction

from accounts.ids import uuid7
from accounts.row_security import LOGGED, Belonging
from accounts.scoping import OrganizationQuerySet
from events.margin import lift_now


class EventType(models.TextChoices):
    """What each means stands in `events.vocabulary`."""

    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    IN_DOUBT = "in_doubt", "In doubt"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    UNKNOWN_OUTCOME = "unknown_outcome", "Outcome unknown"
    HELD = "held"
    RELEASED = "released"
    RETRY_REQUESTED = "retry_requested", "Retry requested"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    DELAYED = "delayed", "Delay reported"
    AUTO_REPLIED = "auto_replied", "Automatic reply"


# What nearly every recipient has; the others are few.
COMMON_TYPES = (EventType.SUBMITTED, EventType.DELIVERED)


class EventQuerySet(OrganizationQuerySet["Event"]):
    def bulk_create(self, objs: Iterable[Event], *args: Any, **kwargs: Any) -> list[Event]:
        """Ids as `events.margin` wants them; they must have been made in order. No other way of Django's may write events."""
        events = list(objs)
        with transaction.atomic(savepoint=False):
            for event, identifier in zip(events, lift_now([event.pk for event in events]), strict=True):
                event.pk = identifier
            return super().bulk_create(events, *args, **kwargs)


class Event(models.Model):
    """What happened to one recipient of a message. Partitioned by day of `id` (UUIDv7); updates are refused by a trigger."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    message_id = models.UUIDField()
    recipient_id = models.UUIDField()
    address = models.TextField(help_text="The recipient's address.")
    type = models.CharField(max_length=16, choices=EventType)
    occurred_at = models.DateTimeField()
    attempt = models.PositiveSmallIntegerField(default=0, help_text="Which attempt it ended; 0: none.")
    reason = models.CharField(max_length=40, blank=True, help_text="From events.reasons: one word for the cause.")
    detail = models.JSONField(default=dict, help_text="Reply, exchanger, TLS facts, durations (events.log.Detail).")
    transcript = models.TextField(blank=True, help_text="The SMTP conversation, a line a row, 'C: '/'S: ' in front.")

    objects = EventQuerySet.as_manager()
    belonging: ClassVar[Belonging] = LOGGED

    class Meta:
        indexes = [
            models.Index(fields=["message_id"], name="event_by_message"),
            models.Index(fields=["organization", "-id"], name="event_by_organization"),
            # For the feed of bounces and the like. Mail that is delivered at once never enters it.
            models.Index(
                fields=["organization", "type", "id"],
                name="event_by_type",
                condition=~models.Q(type__in=["submitted", "delivered"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.address}"
