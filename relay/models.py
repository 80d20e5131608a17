"""A message, its content, and its recipients, who are the queue.

The three tables are partitioned by the day of their UUIDv7 `id` (`events.partitions`), so that retention is a dropped partition
(`relay.retention`). They are written in batches (`relay.submission.intake`) and by `relay.delivery.queue`.
"""

from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import F
from django.db.models.expressions import OrderBy
from django.db.models.functions import Cast, Left, Lower
from django.db.models.lookups import Exact
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import CLOSED, Belonging, Through, shared
from accounts.scoping import OrganizationOwned, OrganizationQuerySet


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
            models.Index(
                "organization", Lower("address"), OrderBy(F("message_id"), descending=True), name="recipient_by_address"
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


class Suppression(OrganizationOwned):
    """An address that an organization's mail is not sent to any more."""

    address = models.TextField(help_text="Lower case; the domain in A-label form.")
    reason = models.CharField(max_length=40, help_text="From events.reasons, or: manual.")
    message_id = models.UUIDField(null=True, help_text="The message whose bounce made it.")
    reply = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(OrganizationOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["organization", "address"], name="suppressed_once")]
        indexes = [models.Index(fields=["organization", "-id"], name="suppression_by_organization")]

    def __str__(self) -> str:
        return self.address


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
    query = models.TextField(help_text="As in the list's address (relay.asked).")
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


class MessageExport(OrganizationOwned):
    """What a filter of the message list finds, as a file that is made in the background (`relay.exporting`)."""

    query = models.TextField(blank=True, help_text="As in the list's address (relay.asked).")
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
        return f"export of messages, {self.created_at:%Y-%m-%d %H:%M} UTC"

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


class ExchangerGroup(models.Model):
    """What a worker knows of the exchangers that serve some destinations together; rows appear when there is trouble.

    The engine writes it when its limits change; pages and operators read it, a worker that starts begins with it.
    """

    name = models.TextField(primary_key=True, help_text="The most preferred exchangers' names, sorted, spaces between.")
    connections = models.PositiveSmallIntegerField(help_text="How many at once, in each worker process.")
    messages_per_second = models.FloatField(null=True, help_text="Null: as many as it takes.")
    suspended_since = models.DateTimeField(null=True)
    suspended_until = models.DateTimeField(null=True, help_text="Until then nothing is tried; then one probe is.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="Attempts to connect in a row that failed.")
    reason = models.CharField(max_length=40, blank=True)
    last_reply = models.TextField(blank=True)
    destinations = ArrayField(models.TextField(), default=list, blank=True, help_text="With mail that waits for it.")
    written_by = models.UUIDField(null=True, editable=False, help_text="The worker; null: an operator.")
    changed_at = models.DateTimeField(auto_now=True)

    belonging: ClassVar[Belonging] = shared()

    def __str__(self) -> str:
        return self.name


class IpPool(models.Model):
    """Source addresses that some organizations' or domains' mail leaves from."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=60, unique=True)

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        verbose_name = "IP pool"

    def __str__(self) -> str:
        return self.name


class SourceAddress(models.Model):
    """An address of this machine, with the name that it presents itself by."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    pool = models.ForeignKey(IpPool, on_delete=models.CASCADE, related_name="addresses")
    address = models.GenericIPAddressField(unique=True)
    ehlo_name = models.CharField(max_length=253, help_text="Its reverse DNS name (RFC 5321, 4.1.1.1).")
    is_active = models.BooleanField(default=True)

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        verbose_name_plural = "source addresses"

    def __str__(self) -> str:
        return self.address


class PoolAssignment(models.Model):
    """Pins an organization, or one of its domains, to a pool. A domain's own assignment wins."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    pool = models.ForeignKey(IpPool, on_delete=models.PROTECT, related_name="assignments")
    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    domain = models.OneToOneField(
        "domains.SendingDomain", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )

    # Operators' doing; it goes with its domain.
    belonging: ClassVar[Belonging] = Belonging(
        "organization_id = {organization}"
        " OR EXISTS (SELECT FROM domains_sendingdomain d WHERE d.id = relay_poolassignment.domain_id)",
        "SELECT, DELETE",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(organization__isnull=True) ^ models.Q(domain__isnull=True),
                name="pool_of_organization_or_domain",
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization or self.domain}: {self.pool}"


class MtaStsPolicy(models.Model):
    """A receiving domain's policy (RFC 8461, 3.2) as last fetched."""

    domain = models.TextField(primary_key=True)
    policy_id = models.CharField(max_length=32, help_text="The id of the TXT record that announced it.")
    mode = models.CharField(max_length=8, help_text="enforce, testing or none.")
    mx = ArrayField(models.TextField(), default=list, help_text="Patterns for exchangers' names.")
    fetched_at = models.DateTimeField()
    expires_at = models.DateTimeField(help_text="When its max_age is over.")

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        verbose_name = "MTA-STS policy"
        verbose_name_plural = "MTA-STS policies"

    def __str__(self) -> str:
        return self.domain


class Template(OrganizationOwned):
    """A mail that is written once and filled in for each sending. What it says stands in its versions."""

    name = models.CharField(max_length=120)
    alias = models.CharField(max_length=60, blank=True, help_text="By which programs may name it, beside the id.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "alias"], condition=~models.Q(alias=""), name="template_alias_once"
            )
        ]
        indexes = [models.Index(fields=["organization", "-id"], name="template_by_organization")]

    def __str__(self) -> str:
        return self.name


class TemplateVersion(models.Model):
    """Numbered from 1. The newest with `published_at` is what is sent; one without it is the draft."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveSmallIntegerField()
    sender = models.TextField(blank=True, help_text="The From header, unless the request gives its own.")
    reply_to = ArrayField(models.TextField(), default=list, blank=True)
    subject = models.TextField(blank=True)
    html = models.TextField(blank=True)
    text = models.TextField(blank=True, help_text="Empty: made from the HTML.")
    variables = models.JSONField(
        default=list, help_text="[{key, type, fallback_value}]; without a fallback it is required."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    published_at = models.DateTimeField(null=True, editable=False)

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("template_id", "relay.Template")

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["template", "number"], name="template_version_once"),
            models.UniqueConstraint(
                fields=["template"], condition=models.Q(published_at__isnull=True), name="one_draft_per_template"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template}, version {self.number}"


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
