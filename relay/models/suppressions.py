"""Addresses that are not mailed any more, what brings them in, and what makes them of soft bounces."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import CLOSED, Belonging, Through
from accounts.scoping import OrganizationOwned, OrganizationQuerySet
from domains.streams import STREAM_LENGTH

NOTE_LENGTH = 500


class Suppression(OrganizationOwned):
    """An address that an organization's mail, or that of one stream, is not sent to any more."""

    address = models.TextField(help_text="Lower case; the domain in A-label form.")
    stream = models.CharField(max_length=STREAM_LENGTH, blank=True, db_default="", help_text="Empty: all mail.")
    reason = models.CharField(
        max_length=40, help_text="From events.reasons, or: manual, complaint, unsubscribe, soft_bounces."
    )
    message_id = models.UUIDField(null=True, help_text="The message that made it.")
    reply = models.TextField(blank=True)
    note = models.CharField(max_length=NOTE_LENGTH, blank=True, db_default="")
    added_by = models.CharField(
        max_length=320, blank=True, db_default="", help_text="A member's address or an API key's name; else empty."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "address", "stream"], name="suppressed_once_per_stream")
        ]
        indexes = [models.Index(fields=["organization", "-id"], name="suppression_by_organization")]

    def __str__(self) -> str:
        return self.address


class ImportState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


OPEN_IMPORTS = (ImportState.WAITING, ImportState.RUNNING)


class SuppressionImport(OrganizationOwned):
    """A list of addresses that is read into the suppressions in the background (`relay.suppressing.importing`)."""

    filename = models.CharField(max_length=255)
    stream = models.CharField(max_length=STREAM_LENGTH, blank=True, help_text="Where a line names none.")
    note = models.CharField(max_length=NOTE_LENGTH, blank=True)
    columns = ArrayField(models.TextField(), default=list, help_text="Of the header line; none: addresses alone.")
    state = models.CharField(max_length=16, choices=ImportState, default=ImportState.WAITING)
    size_bytes = models.PositiveBigIntegerField()
    pieces = models.PositiveIntegerField(help_text="Of whole lines.")
    pieces_read = models.PositiveIntegerField(default=0)
    lines = models.PositiveIntegerField(default=0, help_text="Read so far.")
    added = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField(default=0, help_text="Suppressed already.")
    refused = models.PositiveIntegerField(default=0)
    refusals = models.JSONField(default=list, help_text="[line, text, why] of the first refused ones.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    requested_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    worked_at = models.DateTimeField(null=True, help_text="When it last had its turn.")
    ended_at = models.DateTimeField(null=True)

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="one_import_at_a_time",
            )
        ]
        indexes = [models.Index(fields=["organization", "-id"], name="import_by_organization")]

    def __str__(self) -> str:
        return self.filename

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_IMPORTS

    @property
    def percent(self) -> int:
        return 100 * self.pieces_read // self.pieces if self.pieces else 100


class SuppressionImportPiece(models.Model):
    """Some lines of a list that waits to be read."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    import_of = models.ForeignKey(SuppressionImport, on_delete=models.CASCADE, related_name="content")
    number = models.PositiveIntegerField(help_text="From 0.")
    content = models.BinaryField()

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("import_of_id", "relay.SuppressionImport")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["import_of", "number"], name="import_piece_once")]

    def __str__(self) -> str:
        return f"{self.import_of_id}, {self.number}"


class SoftBounceRule(OrganizationOwned):
    """When soft bounces suppress an address; an organization without a row has the platform's rule."""

    is_on = models.BooleanField(default=True)
    messages = models.PositiveSmallIntegerField(help_text="So many in a row.")
    days = models.PositiveSmallIntegerField(help_text="At least so many between the first and the last of them.")

    class Meta(OrganizationOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["organization"], name="soft_bounce_rule_once")]

    def __str__(self) -> str:
        return f"{self.messages} in a row over {self.days} days" if self.is_on else "off"


class SoftBouncePardon(OrganizationOwned):
    """A suppression that soft bounces had made was removed: what bounced before counts no more."""

    address = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta(OrganizationOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["organization", "address"], name="soft_bounce_pardon_once")]
        indexes = [models.Index(fields=["at"], name="soft_bounce_pardon_age")]

    def __str__(self) -> str:
        return self.address


class SoftBounceMark(models.Model):
    """How far the rule has looked through the event log. One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    looked_before = models.UUIDField(help_text="All events with lower ids.")

    belonging: ClassVar[Belonging] = CLOSED

    def __str__(self) -> str:
        return str(self.looked_before)
