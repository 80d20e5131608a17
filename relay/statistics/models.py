"""Rollups of the event log. `relay.statistics.rollup` alone writes them; pages read nothing else for counts."""

from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import Belonging, shared
from accounts.scoping import OrganizationQuerySet


class Dimension(models.TextChoices):
    """By what is counted. Of `all` the value is empty; of the others an empty value is what had no place of its own."""

    ALL = "all", "All mail"
    DOMAIN = "domain", "Domain"
    PROVIDER = "provider", "Provider"
    TAG = "tag", "Tag"
    SMTP_USER = "smtp_user", "SMTP user"
    TEMPLATE = "template", "Template"


class Step(models.TextChoices):
    """Of UTC."""

    HOUR = "hour", "hour"
    DAY = "day", "day"


class Rollup(models.Model):
    """How many recipients' events of each kind there were in an hour or day, by the time in the event's id."""

    pk = models.CompositePrimaryKey("organization_id", "dimension", "step", "starts_at", "value")
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, db_index=False, related_name="+"
    )
    dimension = models.CharField(max_length=12, choices=Dimension)
    step = models.CharField(max_length=4, choices=Step)
    starts_at = models.DateTimeField(help_text="UTC")
    value = models.TextField(help_text="An id, a provider (relay.statistics.providers), a tag. Empty: see Dimension.")
    submitted = models.PositiveIntegerField()
    delivered = models.PositiveIntegerField()
    bounced_hard = models.PositiveIntegerField(help_text="The address is dead.")
    bounced_soft = models.PositiveIntegerField(help_text="For any other reason.")
    deferred = models.PositiveIntegerField(help_text="Attempts that a receiver put off, not recipients.")
    complained = models.PositiveIntegerField()
    suppressed = models.PositiveIntegerField()
    cancelled = models.PositiveIntegerField()
    unknown_outcome = models.PositiveIntegerField()
    latency = ArrayField(
        models.IntegerField(),
        help_text="Deliveries by how long they took (relay.statistics.latency), without zeros behind.",
    )

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", "SELECT")

    def __str__(self) -> str:
        return f"{self.dimension} {self.value}, {self.step} from {self.starts_at}"


class Failure(models.Model):
    """How often attempts failed for a reason, for the same hours, days and values as `Rollup`."""

    pk = models.CompositePrimaryKey("organization_id", "dimension", "step", "starts_at", "value", "type", "reason")
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, db_index=False, related_name="+"
    )
    dimension = models.CharField(max_length=12, choices=Dimension)
    step = models.CharField(max_length=4, choices=Step)
    starts_at = models.DateTimeField(help_text="UTC")
    value = models.TextField()
    type = models.CharField(max_length=16, help_text="bounced, deferred or unknown_outcome.")
    reason = models.CharField(max_length=40, help_text="From events.reasons.")
    count = models.PositiveIntegerField()
    examples = ArrayField(models.UUIDField(), help_text="Messages, the newest first.")

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", "SELECT")

    def __str__(self) -> str:
        return f"{self.reason} of {self.dimension} {self.value}, {self.step} from {self.starts_at}"


class Progress(models.Model):
    """How far the log is counted: every event with a lesser id is in the rollups, and none with another."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    counted_before = models.UUIDField(default=UUID(int=0))

    belonging: ClassVar[Belonging] = shared()

    def __str__(self) -> str:
        return str(self.counted_before)


class Alert(models.Model):
    """That a rate of a sending domain has passed a threshold (`alerts`). Open until the rate is well below it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, db_index=False, related_name="+"
    )
    domain_id = models.UUIDField(help_text="The sending domain.")
    measure = models.CharField(max_length=16, help_text="complaints or hard_bounces.")
    level = models.CharField(max_length=8, help_text="warn or error: the worst that was reached.")
    count = models.PositiveIntegerField(help_text="When the level was reached.")
    of = models.PositiveIntegerField()
    days = models.PositiveSmallIntegerField(help_text="Of which time: 1, 7.")
    raised_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", "SELECT")

    class Meta:
        indexes = [models.Index(fields=["organization", "-raised_at"], name="alert_by_organization")]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "domain_id", "measure"],
                condition=models.Q(ended_at__isnull=True),
                name="alert_open_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.measure} of {self.domain_id}: {self.level}"
