"""What members make of the message list and of timelines: saved filters, exports, shared links."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import Through
from accounts.scoping import OrganizationOwned, OrganizationQuerySet


class TimelineLink(OrganizationOwned):
    """Lets whoever has the link read one recipient's timeline for a while. It holds a secret, of which only a hash is kept."""

    message_id = models.UUIDField()
    recipient_id = models.UUIDField()
    address = models.TextField(help_text="The recipient's.")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    created_by = models.CharField(max_length=320, help_text="Who made it, as the audit log names them.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta(OrganizationOwned.Meta):
        indexes = [
            models.Index(fields=["message_id", "-id"], name="timeline_link_by_message"),
            models.Index(fields=["expires_at"], name="timeline_link_age"),
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def is_open(self) -> bool:
        return self.revoked_at is None and self.expires_at > timezone.now()


class SavedFilter(OrganizationOwned):
    """A filter of the message list that an organization's members share, by name."""

    name = models.CharField(max_length=60)
    query = models.TextField(help_text="As in the list's address (relay.finding.asked).")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(OrganizationOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="saved_filter_once")]

    def __str__(self) -> str:
        return self.name


class ExportState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


OPEN_EXPORTS = (ExportState.WAITING, ExportState.RUNNING)


class ExportKind(models.TextChoices):
    MESSAGES = "messages"
    SUPPRESSIONS = "suppressions"


class MessageExport(OrganizationOwned):
    """What a filter of a list finds, as a file that is made in the background (`relay.finding.exporting`)."""

    kind = models.CharField(max_length=16, choices=ExportKind, default=ExportKind.MESSAGES, db_default="messages")
    query = models.TextField(blank=True, help_text="As in the list's address (relay.finding, relay.suppressing).")
    format = models.CharField(max_length=8, help_text="csv or jsonl.")
    state = models.CharField(max_length=16, choices=ExportState, default=ExportState.WAITING)
    since = models.UUIDField(null=True, help_text="The lowest id that is looked at; null: not known yet.")
    until = models.UUIDField(help_text="The end of the ids that are looked at: mail of later is not in it.")
    position = models.UUIDField(null=True, help_text="All ids from here on are written; it moves down to `since`.")
    messages = models.PositiveBigIntegerField(default=0, help_text="Written.")
    rows = models.PositiveBigIntegerField(default=0, help_text="Recipients written.")
    size_bytes = models.PositiveBigIntegerField(default=0)
    pieces_written = models.PositiveIntegerField(default=0)
    is_cut = models.BooleanField(default=False, help_text="It came to the largest size that there may be.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    requested_by = models.CharField(max_length=320, help_text="The member's address.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    worked_at = models.DateTimeField(null=True, help_text="When it last had its turn.")
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, help_text="When it is deleted.")

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="one_export_at_a_time",
            )
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="export_by_organization"),
            models.Index(fields=["expires_at"], name="export_expiry"),
        ]

    def __str__(self) -> str:
        return f"export of {self.kind}, {self.created_at:%Y-%m-%d %H:%M} UTC"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_EXPORTS


class MessageExportPiece(models.Model):
    """A part of an export's file. Here, where web servers and workers of every machine find it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    export = models.ForeignKey(MessageExport, on_delete=models.CASCADE, related_name="pieces")
    number = models.PositiveIntegerField(help_text="From 0.")
    content = models.BinaryField()

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("export_id", "relay.MessageExport")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="export_piece_once")]

    def __str__(self) -> str:
        return f"{self.export_id}, {self.number}"
