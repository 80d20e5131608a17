"""What is counted of mail, and how far it is forgotten."""

from typing import ClassVar
from uuid import UUID

from django.db import models

from accounts.row_security import CLOSED, Belonging


class Period(models.TextChoices):
    """Of counting, in UTC."""

    HOUR = "hour", "hour"
    DAY = "day", "day"
    MONTH = "month", "month"


class UsageCounter(models.Model):
    """How many messages a subject sent in a period: an organization, or an SMTP user with a limit (`relay.usage`).

    What processes have reserved (`UsageShare`) is in it, too.
    """

    pk = models.CompositePrimaryKey("subject_id", "period", "starts_at")
    subject_id = models.UUIDField(help_text="Whose messages are counted.")
    period = models.CharField(max_length=8, choices=Period)
    starts_at = models.DateTimeField(help_text="UTC")
    count = models.PositiveBigIntegerField(help_text="Messages accepted or reserved.")

    belonging: ClassVar[Belonging] = Belonging(
        "subject_id = {organization}"
        " OR EXISTS (SELECT FROM domains_smtpuser u WHERE u.id = relay_usagecounter.subject_id)",
        "SELECT",
    )

    def __str__(self) -> str:
        return f"{self.subject_id}, {self.period} from {self.starts_at}"


class UsageShare(models.Model):
    """What a committer has reserved of a subject's counters, and how much of that it has used (`relay.submission.metering`).

    `used` grows in the transaction that stores the messages; that it cannot pass `granted` is what keeps every limit.
    """

    pk = models.CompositePrimaryKey("holder_id", "subject_id", "starts_at")
    holder_id = models.UUIDField(help_text="The committer.")
    subject_id = models.UUIDField(help_text="Whose messages are counted.")
    period = models.CharField(max_length=8, choices=Period, help_text="The subject's shorter one.")
    starts_at = models.DateTimeField(help_text="UTC")
    granted = models.PositiveBigIntegerField(help_text="Messages.")
    used = models.PositiveBigIntegerField(help_text="Messages.")

    belonging: ClassVar[Belonging] = Belonging(
        "subject_id = {organization} OR EXISTS (SELECT FROM domains_smtpuser u WHERE u.id = relay_usageshare.subject_id)",
        "SELECT",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(used__lte=models.F("granted")), name="share_not_exceeded")
        ]
        # `used` stands in no index: each commit changes it.
        indexes = [models.Index(fields=["subject_id", "starts_at"], name="share_by_subject")]

    def __str__(self) -> str:
        return f"{self.holder_id} for {self.subject_id}, {self.period} from {self.starts_at}"


class Retention(models.Model):
    """How far an organization's mail is forgotten (`relay.retention`): before these ids only `KeptLonger` is left."""

    organization = models.OneToOneField(
        "accounts.Organization", primary_key=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    contents_before = models.UUIDField(default=UUID(int=0))
    messages_before = models.UUIDField(default=UUID(int=0))

    belonging: ClassVar[Belonging] = CLOSED

    def __str__(self) -> str:
        return str(self.organization_id)


class KeptLonger(models.Model):
    """A message that was under way when retention had come to it."""

    message_id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        indexes = [models.Index(fields=["organization", "message_id"], name="kept_longer_by_organization")]

    def __str__(self) -> str:
        return str(self.message_id)
