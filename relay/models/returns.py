"""What came back by mail: kept for some days, and counted."""

from typing import ClassVar

from django.db import models

from accounts.ids import uuid7
from accounts.row_security import CLOSED, Belonging
from accounts.scoping import OrganizationQuerySet


class ReturnKind(models.TextChoices):
    """What a mail that came back is (`relay.returns.classify`)."""

    BOUNCE = "bounce", "Bounce"
    DELAY = "delay", "Delay"
    COMPLAINT = "complaint", "Complaint"
    FEEDBACK = "feedback", "Feedback, no complaint"
    AUTO_REPLY = "auto_reply", "Automatic reply"
    DELIVERED = "delivered", "Delivery confirmed"
    UNSUBSCRIBE = "unsubscribe", "Wish to unsubscribe"
    UNKNOWN = "unknown", "Not understood"


class ReturnOutcome(models.TextChoices):
    """What became of it (`relay.returns.record`)."""

    RECORDED = "recorded", "Became an event"
    REPEATED = "repeated", "Known already"
    NOTED = "noted", "Noted, changes nothing"
    UNEXPECTED = "unexpected", "Ignored: nothing had left"
    UNATTRIBUTED = "unattributed", "Does not say whose it is"
    FORGOTTEN = "forgotten", "The message is no longer kept"
    REFUSED = "refused", "Refused: no address of ours"


class ReturnedMessage(models.Model):
    """A mail that came to a return path or a feedback address, as we took it. Without an organization where it told none.

    `raw`: its beginning, where we did not understand it, or not whose it is.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        null=True,
    )
    message_id = models.UUIDField(null=True)
    recipient_id = models.UUIDField(null=True, help_text="Of ours; none where it is about several.")
    address = models.TextField(blank=True, help_text="The recipient's address, or several.")
    kind = models.CharField(max_length=12, choices=ReturnKind)
    outcome = models.CharField(max_length=12, choices=ReturnOutcome)
    reported_by = models.TextField(blank=True, help_text="Reporting-MTA, or the author.")
    subject = models.TextField(blank=True)
    status = models.CharField(max_length=12, blank=True, help_text="Enhanced status code, RFC 3463.")
    reason = models.CharField(max_length=40, blank=True, help_text="From events.reasons.")
    diagnostic = models.TextField(blank=True)
    size_bytes = models.IntegerField()
    raw = models.BinaryField(null=True)
    fingerprint = models.BinaryField(
        max_length=32, unique=True, help_text="By which one that is sent again is recognised."
    )
    received_at = models.DateTimeField()

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", "SELECT")

    class Meta:
        indexes = [
            models.Index(fields=["message_id"], name="returned_by_message"),
            models.Index(fields=["organization"], name="returned_raw", condition=models.Q(raw__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.address}".strip()


class ReturnCount(models.Model):
    """How many mails came back on a day (UTC), of the whole installation. Refused ones have no kind."""

    day = models.DateField()
    kind = models.CharField(max_length=12, choices=ReturnKind, blank=True)
    outcome = models.CharField(max_length=12, choices=ReturnOutcome)
    count = models.PositiveBigIntegerField()

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "kind", "outcome"], name="return_count_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.outcome}"
