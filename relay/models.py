"""A message, its content, and its recipients, who are the queue.

The three tables are partitioned by the day of their UUIDv7 `id` (`events.partitions`), so retention is a dropped
partition. They are written by COPY (`relay.submission.intake`) and by `relay.delivery.queue`; nothing else changes them.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.ids import uuid7
from accounts.scoping import OrganizationQuerySet


class Door(models.TextChoices):
    SMTP = "smtp", "SMTP"
    REST = "rest", "REST"
    PLATFORM = "platform", "PlugSend itself"


class RecipientState(models.TextChoices):
    SUBMITTED = "submitted"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt", "In doubt"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class Message(models.Model):
    """One submission."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    domain_id = models.UUIDField(help_text="The sending domain, whose DKIM key signs.")
    door = models.CharField(max_length=8, choices=Door)
    smtp_user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    envelope_sender = models.TextField(help_text="As the client gave it; the return path on the wire is ours.")
    header_from = models.TextField()
    subject = models.TextField(blank=True)
    message_id_header = models.TextField(help_text="Message-ID of the header, without angle brackets.")
    size_bytes = models.IntegerField()
    recipient_count = models.IntegerField()
    tags = ArrayField(models.TextField(), default=list)
    metadata = models.JSONField(default=dict)
    submitted_at = models.DateTimeField()

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["organization", "-id"], name="message_by_organization")]

    def __str__(self) -> str:
        return str(self.id)


class IdempotencyKey(models.Model):
    """By what a repeated submission is recognised for 24 hours; written with the message, in one transaction."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    scope = models.CharField(max_length=8, help_text="key: the client's own; resend: recognised by us.")
    key = models.CharField(max_length=256)
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of the message (relay.submission.once).")
    message_id = models.UUIDField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "scope", "key"], name="idempotency_key_once"),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]

    def __str__(self) -> str:
        return self.key


class Content(models.Model):
    """The message as accepted, octet for octet, CRLF line ends, not yet signed. `id` is the message's."""

    id = models.UUIDField(primary_key=True, editable=False)
    raw = models.BinaryField()

    def __str__(self) -> str:
        return str(self.id)


class Recipient(models.Model):
    """One envelope recipient: its state, and its place in the queue.

    `next_attempt_at` is null exactly when the state is final. Claiming moves it to the end of the lease; a lease that runs
    out is thereby due again, and `leased_by` not null then says that the attempt is in doubt.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    message_id = models.UUIDField()
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    address = models.TextField()
    destination = models.TextField(help_text="The address's domain, A-label form, lower case.")
    state = models.CharField(max_length=16, choices=RecipientState, default=RecipientState.SUBMITTED)
    attempts = models.SmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(help_text="The end of the retry horizon.")
    leased_by = models.UUIDField(null=True)
    reason = models.CharField(max_length=40, blank=True)
    last_reply = models.TextField(blank=True)
    state_at = models.DateTimeField(help_text="When the state was entered.")

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["message_id"], name="recipient_by_message"),
            # The queue's own order, over open rows only: claiming costs the same at any size of the table.
            models.Index(
                fields=["destination", "next_attempt_at"],
                name="recipient_due",
                condition=models.Q(next_attempt_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.address
