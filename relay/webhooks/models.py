"""Endpoints, what is sent to them, and how far the event log was handed out.

Deliveries are partitioned by the day of their UUIDv7 `id` (`events.partitions`), as the log is, and are forgotten with it.
"""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.ids import time_of, uuid7
from accounts.row_security import Belonging, shared
from accounts.scoping import OrganizationOwned, OrganizationQuerySet
from events.models import EventType


class EndpointState(models.TextChoices):
    ENABLED = "enabled", "Enabled"
    PAUSED = "paused", "Paused"
    GONE = "gone", "Gone"
    DISABLED = "disabled", "Disabled"


class DeliveryState(models.TextChoices):
    """`WAITING`: for its first attempt or the next."""

    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Cause(models.TextChoices):
    EVENT = "event", "Event"
    REPLAY = "replay", "Sent again"
    TEST = "test", "Test"


class WebhookEndpoint(OrganizationOwned):
    """Where events are sent to.

    While it is paused, which only failures do, events go on being collected; for one that is gone or disabled they are not.
    """

    url = models.TextField()
    hears_from = models.UUIDField(
        default=uuid7, help_text="Events with lesser ids are from before it was (last) enabled."
    )
    description = models.CharField(max_length=200, blank=True)
    event_types = ArrayField(
        models.CharField(max_length=16, choices=EventType), default=list, blank=True, help_text="Empty: all."
    )
    domain_id = models.UUIDField(null=True, blank=True, help_text="Only events of this sending domain; empty: of all.")
    state = models.CharField(max_length=12, choices=EndpointState, default=EndpointState.ENABLED)
    state_at = models.DateTimeField(default=timezone.now)
    state_reason = models.TextField(blank=True, help_text="Why it is not enabled.")
    secret = models.BinaryField(help_text="Sealed (accounts.sealed_box).")
    former_secret = models.BinaryField(null=True, help_text="Signs, too, until former_secret_until.")
    former_secret_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    failing_since = models.DateTimeField(null=True, help_text="When the first attempt failed since the last success.")
    failures = models.PositiveIntegerField(default=0, help_text="Attempts that failed since the last success.")
    last_attempt_at = models.DateTimeField(null=True)
    last_result = models.TextField(blank=True, help_text="Of the last attempt, in words.")

    class Meta(OrganizationOwned.Meta):
        indexes = [models.Index(fields=["organization", "id"], name="webhook_by_organization")]

    def __str__(self) -> str:
        return self.url

    @property
    def collects(self) -> bool:
        return self.state in (EndpointState.ENABLED, EndpointState.PAUSED)


class WebhookDelivery(models.Model):
    """One payload for one endpoint: its attempts and how it ended.

    `next_attempt_at` is null exactly when the state is final. Claiming moves it to the end of the lease.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    endpoint_id = models.UUIDField()
    webhook_id = models.UUIDField(help_text="The header webhook-id: the event's id. A test's is its own.")
    message_id = models.UUIDField(null=True)
    recipient_id = models.UUIDField(null=True)
    type = models.CharField(max_length=40, help_text="As in the payload (relay.webhooks.payload).")
    cause = models.CharField(max_length=8, choices=Cause, default=Cause.EVENT)
    body = models.TextField(help_text="JSON, as sent.")
    state = models.CharField(max_length=12, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Begun.")
    next_attempt_at = models.DateTimeField(null=True)
    leased_by = models.UUIDField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True, help_text="HTTP, of the last attempt; null: no answer.")
    last_ms = models.FloatField(null=True)
    log = models.JSONField(default=list, help_text="The attempts: relay.webhooks.attempts.Attempt.")

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", "SELECT, INSERT, UPDATE")

    class Meta:
        verbose_name_plural = "webhook deliveries"
        indexes = [
            models.Index(fields=["organization", "-id"], name="webhook_delivery_by_org"),
            models.Index(fields=["endpoint_id", "-id"], name="webhook_delivery_by_endpoint"),
            models.Index(fields=["message_id"], name="webhook_delivery_by_message"),
            # What was delivered, as nearly all is, never stays in these.
            models.Index(
                fields=["endpoint_id", "state", "-id"],
                name="webhook_delivery_by_state",
                condition=~Q(state=DeliveryState.DELIVERED),
            ),
            models.Index(
                fields=["endpoint_id", "next_attempt_at"],
                name="webhook_delivery_due",
                condition=Q(next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=["recipient_id", "endpoint_id"],
                name="webhook_delivery_order",
                condition=Q(next_attempt_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.webhook_id}"

    @property
    def made_at(self) -> object:
        return time_of(self.pk)


class WebhookReplay(OrganizationOwned):
    """That past deliveries of an endpoint are to be sent again: those with ids between, the oldest first."""

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="replays")
    since = models.UUIDField()
    until = models.UUIDField()
    type = models.CharField(max_length=40, blank=True, help_text="Of the payload; empty: any.")
    state = models.CharField(max_length=12, choices=DeliveryState, blank=True, help_text="Empty: any.")
    position = models.UUIDField(help_text="All before it are done.")
    replayed = models.PositiveIntegerField(default=0)
    requested_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True)

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint"], condition=Q(ended_at__isnull=True), name="one_webhook_replay_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"deliveries of {self.endpoint_id}, from {time_of(self.since):%Y-%m-%d %H:%M} UTC"


class WebhookProgress(models.Model):
    """How far the event log was handed out: every event with a lesser id has its deliveries, and none with another."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    handed_out_before = models.UUIDField(default=UUID(int=0))

    belonging: ClassVar[Belonging] = shared()

    def __str__(self) -> str:
        return str(self.handed_out_before)
