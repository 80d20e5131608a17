"""A message, its content, and its recipients, who are the queue.

The three tables are partitioned by the day of their UUIDv7 `id` (`events.partitions`), so that retention is a dropped partition
(`relay.retention`). They are written in batches (`relay.submission.intake`) and by `relay.delivery.queue`.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import F
from django.db.models.expressions import OrderBy
from django.db.models.functions import Cast, Left, Lower
from django.db.models.lookups import Exact

from accounts.ids import uuid7
from accounts.row_security import Through
from accounts.scoping import OrganizationQuerySet


class Door(models.TextChoices):
    SMTP = "smtp", "SMTP"
    REST = "rest", "REST"
    PLATFORM = "platform", "PlugSend itself"


class RecipientState(models.TextChoices):
    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt", "In doubt"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    UNKNOWN_OUTCOME = "unknown_outcome", "Outcome unknown"
    HELD = "held"


# Of messages that came without a Message-ID, as nearly all over REST do: it begins with our id, by which they are found.
HAS_OUR_MESSAGE_ID = models.Q(Exact(Left("message_id_header", 36), Cast("id", models.TextField())))


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
    scheduled_at = models.DateTimeField(null=True, help_text="Not to be delivered before.")
    stream = models.CharField(
        max_length=40, blank=True, db_default="", help_text="The kind of mail that its recipients may unsubscribe from."
    )
    template_id = models.UUIDField(null=True, help_text="The template that it was rendered from.")
    template_version = models.PositiveSmallIntegerField(null=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-id"], name="message_by_organization"),
            models.Index(fields=["domain_id", "-id"], name="message_by_domain"),
            models.Index(
                fields=["smtp_user_id", "-id"],
                name="message_by_smtp_user",
                condition=models.Q(smtp_user_id__isnull=False),
            ),
            # By hash: an entry is four octets of it, however long the header is, and equality of text may pass row security.
            HashIndex(fields=["message_id_header"], name="message_by_message_id", condition=~HAS_OUR_MESSAGE_ID),
        ]
        permissions = [("read_content", "Can read what messages say, with a reason that is logged")]

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
    answer = models.JSONField(null=True, help_text="Of a batch, whose first message `message_id` is.")
    created_at = models.DateTimeField()

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "scope", "key"], name="idempotency_key_once"),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]

    def __str__(self) -> str:
        return self.key


class ScheduledMessage(models.Model):
    """A message that is to be delivered later, until all its recipients have ended. Its partitions may be those of long ago."""

    message_id = models.UUIDField(primary_key=True, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    send_at = models.DateTimeField()

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["send_at"], name="scheduled_message_due")]

    def __str__(self) -> str:
        return str(self.message_id)


class Content(models.Model):
    """The message as accepted, octet for octet, CRLF line ends, not yet signed. `id` is the message's."""

    id = models.UUIDField(primary_key=True, editable=False)
    raw = models.BinaryField()

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("id", "relay.Message", is_partitioned=True)

    def __str__(self) -> str:
        return str(self.id)


class Recipient(models.Model):
    """One envelope recipient: its state, and its place in the queue.

    `next_attempt_at` is null exactly when the state is final. Claiming moves it to the end of the lease; when it has passed
    and `leased_by` is not null, the attempt is in doubt. What is held is due when it expires.
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
            # For an address, and for all of a destination: then a window's rows are sorted.
            models.Index(
                "organization",
                "destination",
                Lower("address"),
                OrderBy(F("message_id"), descending=True),
                name="recipient_by_address",
            ),
            # The queue's own order, over open rows only: claiming costs the same at any size of the table.
            models.Index(
                fields=["destination", "organization", "next_attempt_at"],
                name="recipient_lane",
                condition=models.Q(next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=["next_attempt_at"], name="recipient_leased", condition=models.Q(leased_by__isnull=False)
            ),
            models.Index(
                fields=["expires_at"], name="recipient_expiry", condition=models.Q(next_attempt_at__isnull=False)
            ),
            # For lists by state. Mail that is delivered at once never enters it, so it costs the mail path nothing.
            models.Index(
                fields=["organization", "state", "-message_id"],
                name="recipient_by_state",
                condition=~models.Q(state__in=["submitted", "delivered"]),
            ),
            models.Index(
                fields=["organization", "reason", "-message_id"],
                name="recipient_by_reason",
                condition=~models.Q(reason=""),
            ),
        ]

    def __str__(self) -> str:
        return self.address
