"""Organizations, the plans they are on, and what stays of those that were erased."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models.people import User
from accounts.row_security import CLOSED, Belonging, shared
from accounts.scoping import OrganizationQuerySet


class OutgoingTls(models.TextChoices):
    """What an organization asks of connections to exchangers, beyond what the receiving domain publishes."""

    OPPORTUNISTIC = "opportunistic", "Where the receiver offers it"
    ENCRYPTED = "encrypted", "Always encrypted"
    VERIFIED = "verified", "Always encrypted, to a verified exchanger"


class Plan(models.Model):
    """What organizations on it may use. Operators edit the rows; a limit that is empty is none."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=60, unique=True)
    is_default = models.BooleanField(default=False, help_text="New organizations begin with it.")
    messages_per_day = models.PositiveIntegerField(null=True, blank=True, help_text="UTC day.")
    messages_per_month = models.PositiveIntegerField(null=True, blank=True, help_text="UTC month.")
    messages_per_second = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    recipients_per_message = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Lowers the platform's own limit."
    )
    domains = models.PositiveIntegerField(null=True, blank=True)
    members = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    content_days = models.PositiveSmallIntegerField(
        default=7,
        validators=[MinValueValidator(1)],
        help_text="How long the content of messages is kept, in whole days (UTC).",
    )
    event_days = models.PositiveSmallIntegerField(
        default=90,
        validators=[MinValueValidator(1)],
        help_text="How long messages and their events are kept, in whole days (UTC).",
    )

    belonging: ClassVar[Belonging] = shared()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=models.Q(is_default=True), name="one_default_plan")
        ]

    def __str__(self) -> str:
        return self.name


class MailHold(models.TextChoices):
    """How far its queue is held while it is suspended or being deleted (`relay.mail_hold`)."""

    NONE = "", "Not held"
    HOLDING = "holding", "Being held"
    HELD = "held", "Held"
    RELEASING = "releasing", "Being released"


class Suspension(models.TextChoices):
    """Who has stopped its mail: somebody, for good, or the platform itself until somebody has looked."""

    NONE = "", "Not suspended"
    OPERATOR = "operator", "By an operator"
    RATES = "rates", "By its rates"


class ReviewCause(models.TextChoices):
    """Why operators are to look at it."""

    NONE = "", "Nothing to look at"
    NEW = "new", "Signed up"
    RATES = "rates", "Held for its rates"


class Organization(models.Model):
    """A tenant: domains, keys, messages and people belong to it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Set: both doors refuse its mail, and its queue is held."
    )
    suspension = models.CharField(
        max_length=12, choices=Suspension, default=Suspension.NONE, db_default="", blank=True, editable=False
    )
    suspension_reason = models.CharField(
        max_length=500, blank=True, db_default="", editable=False, help_text="As its members are told."
    )
    reviewed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When an operator found it in order; the limits of first days end.",
    )
    review_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Set: it waits for an operator's look."
    )
    review_cause = models.CharField(
        max_length=12, choices=ReviewCause, default=ReviewCause.NONE, db_default="", blank=True, editable=False
    )
    safe_resend = models.BooleanField(
        default=False,
        help_text="A message that an SMTP user submits again within 24 hours counts as the first.",
    )
    show_client_address = models.BooleanField(
        default=False, help_text="The Received field of its mail names the address that submitted it."
    )
    outgoing_tls = models.CharField(
        "encryption of outgoing mail", max_length=16, choices=OutgoingTls, default=OutgoingTls.OPPORTUNISTIC
    )
    never_twice = models.BooleanField(
        default=False,
        help_text="An attempt whose outcome is not known is not repeated; the recipient ends as unknown outcome.",
    )
    delivery_weight = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1)], help_text="Its share of the engine where organizations compete."
    )
    message_size_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Octets; lowers the platform's own limit for this organization."
    )
    api_rate_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="REST requests per second; empty: the platform's own limit."
    )
    plan = models.ForeignKey(
        Plan,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="organizations",
        help_text="Empty: no limits.",
    )
    require_mfa = models.BooleanField(
        default=False, help_text="Members come in only with a second factor or a passkey."
    )
    deletion_requested_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Set: nothing is sent, and after the grace period it is erased.",
    )
    deletion_requested_by = models.CharField(
        max_length=320, blank=True, editable=False, help_text="A person's address, as it was then."
    )
    erase_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The end of the grace period: until then it can be undone."
    )
    deletion_reminded_at = models.DateTimeField(
        null=True, editable=False, help_text="When its owners were told that it is near."
    )
    mail_hold = models.CharField(
        max_length=12,
        choices=MailHold,
        default=MailHold.NONE,
        blank=True,
        editable=False,
        help_text="For a suspension or its deletion.",
    )
    is_system = models.BooleanField(default=False, editable=False, help_text="The platform's own; sends its mail.")
    members = models.ManyToManyField(User, through="Membership", related_name="organizations")

    objects = OrganizationQuerySet.as_manager()
    # A member may see which other organizations there are to switch to.
    belonging: ClassVar[Belonging] = Belonging(
        "id = {organization}",
        "SELECT, UPDATE",
        seen="EXISTS (SELECT FROM accounts_membership m WHERE m.organization_id = accounts_organization.id"
        " AND m.user_id = {user})",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_system"], condition=models.Q(is_system=True), name="one_system_organization"
            ),
            models.CheckConstraint(
                condition=models.Q(deletion_requested_at__isnull=True, erase_at__isnull=True)
                | models.Q(deletion_requested_at__isnull=False, erase_at__isnull=False, is_system=False),
                name="deletion_has_an_end",
            ),
            models.CheckConstraint(
                condition=models.Q(suspended_at__isnull=False) | models.Q(suspension=""),
                name="suspension_has_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["erase_at"], name="organization_erase_at", condition=models.Q(erase_at__isnull=False)),
            models.Index(fields=["mail_hold"], name="organization_mail_hold", condition=~models.Q(mail_hold="")),
            models.Index(
                fields=["review_since"], name="organization_review", condition=models.Q(review_since__isnull=False)
            ),
        ]
        permissions = [
            ("suspend_organization", "Can suspend, resume and review organizations"),
            ("look_as_organization", "Can look at pages as an organization"),
            ("act_as_organization", "Can change things while looking as an organization"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_being_deleted(self) -> bool:
        return self.deletion_requested_at is not None

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None

    @property
    def is_held_for_rates(self) -> bool:
        return self.suspension == Suspension.RATES


class OperatorNote(models.Model):
    """What operators tell each other of an organization. Append-only, and never shown to its members."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    text = models.TextField(max_length=4000)
    author = models.CharField(max_length=320, help_text="An operator's address, as it was then.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = CLOSED

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M} UTC"


class FeatureSetting(models.Model):
    """A switch of the platform that operators have changed (`accounts.feature_settings` says which there are)."""

    name = models.CharField(primary_key=True, max_length=40)
    value = models.JSONField()
    changed_at = models.DateTimeField(default=timezone.now)
    changed_by = models.CharField(max_length=320)

    belonging: ClassVar[Belonging] = shared()

    def __str__(self) -> str:
        return self.name


class Erasure(models.Model):
    """All that stays of an organization that was erased: when, and how many rows of what. Without an end it goes on."""

    organization_id = models.UUIDField(primary_key=True, editable=False)
    requested_at = models.DateTimeField()
    began_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict, help_text="Rows erased, by kind.")

    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", "SELECT")

    def __str__(self) -> str:
        return str(self.organization_id)


class QuotaNotice(models.Model):
    """That the owners were told of how much of a quota is used: once for each period and step."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+", db_index=False)
    quota = models.CharField(max_length=24)
    starts_at = models.DateTimeField(help_text="Of the period.")
    percent = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "quota", "starts_at", "percent"], name="quota_notice_once")
        ]

    def __str__(self) -> str:
        return f"{self.quota} {self.percent} %"
