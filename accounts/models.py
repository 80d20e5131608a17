"""People, the organizations they belong to, and the API keys with which their programs come in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.permissions import PERMISSIONS, Permission
from accounts.row_security import LOGGED, Belonging, shared
from accounts.scoping import OrganizationOwned, OrganizationQuerySet


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str | None) -> User:
        return self.get(email__iexact=email)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Signs in by e-mail address."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True, error_messages={"unique": "This address has an account already."})
    name = models.CharField(max_length=120, blank=True)
    is_staff = models.BooleanField("operator", default=False, help_text="May open the Django admin.")
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    # Oneself, members, and whom the organization's rows name though they have left.
    belonging: ClassVar[Belonging] = Belonging(
        "id = {user} OR EXISTS (SELECT FROM accounts_membership m WHERE m.user_id = accounts_user.id)"
        " OR EXISTS (SELECT FROM accounts_apikey k WHERE k.created_by_id = accounts_user.id)"
        " OR EXISTS (SELECT FROM accounts_invitation i WHERE i.invited_by_id = accounts_user.id)"
        " OR EXISTS (SELECT FROM accounts_notice n WHERE n.also_to_id = accounts_user.id)",
        "SELECT",
    )
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email.partition("@")[0]


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
    """How far its queue is held for the sake of a deletion (`relay.deletion_hold`)."""

    NONE = "", "Not held"
    HOLDING = "holding", "Being held"
    HELD = "held", "Held"
    RELEASING = "releasing", "Being released"


class Organization(models.Model):
    """A tenant: domains, keys, messages and people belong to it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended_at = models.DateTimeField(null=True, blank=True, help_text="Set: both doors refuse its mail.")
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
        help_text="For its deletion.",
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
        ]
        indexes = [
            models.Index(fields=["erase_at"], name="organization_erase_at", condition=models.Q(erase_at__isnull=False)),
            models.Index(fields=["mail_hold"], name="organization_mail_hold", condition=~models.Q(mail_hold="")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_being_deleted(self) -> bool:
        return self.deletion_requested_at is not None


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


class Role(models.TextChoices):
    """What each may do: `accounts.permissions`."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person's place in an organization."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.OWNER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False, help_text="To some minutes.")

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", seen="user_id = {user}")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="one_membership_each")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"

    def may(self, permission: Permission) -> bool:
        return permission in PERMISSIONS[self.role]

    @property
    def is_owner(self) -> bool:
        return self.role == Role.OWNER


class Invitation(OrganizationOwned):
    """An address that was asked to join. The link in the mail holds a secret, of which only a hash is kept."""

    email = models.EmailField(help_text="Lower case.")
    role = models.CharField(max_length=16, choices=Role)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", editable=False)
    invited_by_name = models.CharField(
        max_length=254, blank=True, editable=False, help_text="Of somebody whose account is deleted."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="one_open_invitation_each",
            )
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def inviter(self) -> str:
        """Whom to name to people; empty: nobody knows any more."""
        return self.invited_by.email if self.invited_by else self.invited_by_name

    @property
    def is_open(self) -> bool:
        """Whether it can be accepted now."""
        return self.accepted_at is None and self.revoked_at is None and not self.is_expired

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


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


class Scope(models.TextChoices):
    """What a key may do."""

    SEND = "send", "Send"
    READ = "read", "Read"
    FULL = "full", "Everything"

    @property
    def in_words(self) -> str:
        return SCOPES_IN_WORDS[self]


SCOPES_IN_WORDS = {
    Scope.SEND: "Send emails, and move or cancel those that wait for their time.",
    Scope.READ: "See emails with their content, events, domains, SMTP users, keys without their secrets, and all other rows.",
    Scope.FULL: "Send and read, and change domains, SMTP users, API keys, templates and suppressions.",
}


EXPIRY_WARNING = timedelta(days=7)  # so long before a key ends, people are told


class ApiKey(OrganizationOwned):
    """A program's credential. The secret is shown once; only its keyed hash is kept (`accounts.api_keys`)."""

    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=24, editable=False, help_text="The key's visible beginning.")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope), default=list)
    only_domain = models.CharField(
        max_length=253, blank=True, help_text="When set, the key may send from this domain only (A-label form)."
    )
    allowed_networks = ArrayField(
        models.CharField(max_length=43), default=list, blank=True,
        help_text="From where it may be used, in CIDR notation; empty: from anywhere.",
    )  # fmt: skip
    is_password = models.BooleanField(
        default=False, editable=False, help_text="The password of an SMTP user, with which it is shown."
    )
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", editable=False)
    created_with = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="+", editable=False,
        help_text="The key of the program that made it.",
    )  # fmt: skip
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_used_from = models.GenericIPAddressField(null=True, editable=False)
    expires_at = models.DateTimeField(
        null=True, editable=False, help_text="It works until then; empty: until it is revoked."
    )
    expiry_warned_at = models.DateTimeField(null=True, editable=False)
    expiry_noted_at = models.DateTimeField(
        null=True, editable=False, help_text="Set: the audit log tells that it ended."
    )
    replaced_by = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="+", editable=False,
        help_text="The new key, beside which it goes on until it ends.",
    )  # fmt: skip
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoke_reason = models.CharField(max_length=200, blank=True, editable=False)
    leak_reported_at = models.DateTimeField(
        null=True, editable=False, help_text="When somebody told where it lies open."
    )

    class Meta(OrganizationOwned.Meta):
        verbose_name = "API key"
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="api_keys_by_organization"),
            models.Index(
                fields=["expires_at"], name="api_keys_that_end",
                condition=models.Q(expires_at__isnull=False, revoked_at__isnull=True, expiry_noted_at__isnull=True),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_live(self) -> bool:
        return not self.is_revoked and not self.has_expired

    @property
    def expires_soon(self) -> bool:
        """Within the time in which its owners are warned; not of one that was replaced, which ends as it should."""
        if self.expires_at is None or self.replaced_by_id is not None or not self.is_live:
            return False
        return self.expires_at <= timezone.now() + EXPIRY_WARNING

    @property
    def lifetime(self) -> timedelta | None:
        """For how long it was made; None: until it is revoked."""
        return self.expires_at - self.created_at if self.expires_at else None


class IdempotentAnswer(models.Model):
    """What a REST request with an `Idempotency-Key` was answered, for its repeats within 24 hours.

    Written in the transaction of what the request made. Emails have a faster way (`relay.submission.repeats`).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+", db_index=False)
    endpoint = models.CharField(max_length=40, help_text="The operation's name in the OpenAPI document.")
    key = models.CharField(max_length=256)
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of the request's body.")
    status = models.PositiveSmallIntegerField(help_text="HTTP")
    answer = models.BinaryField(help_text="JSON, encrypted: it may hold a secret that is shown once.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "endpoint", "key"], name="idempotent_answer_once")
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotent_answer_age")]

    def __str__(self) -> str:
        return self.key


class AuditEntry(models.Model):
    """Who did what to which object, from where, before and after (`accounts.audit`). Never changed: a trigger refuses it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    occurred_at = models.DateTimeField(default=timezone.now, editable=False)
    actor_kind = models.CharField(max_length=8, help_text="user, api_key, operator or system.")
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=320, help_text="As it was then: a person's address, a key's name.")
    client = models.GenericIPAddressField(null=True, help_text="From where.")
    action = models.CharField(max_length=40, help_text="domain.verified, smtp_user.disabled, …")
    object_type = models.CharField(max_length=20)
    object_id = models.UUIDField(null=True)
    object_name = models.CharField(max_length=320)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = LOGGED

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["organization", "-id"], name="audit_by_organization"),
            models.Index(fields=["object_id", "-id"], name="audit_by_object"),
            models.Index(fields=["organization", "actor_kind", "actor_id", "-id"], name="audit_by_actor"),
            models.Index(fields=["organization", "object_type", "-id"], name="audit_by_type"),
            models.Index(fields=["organization", "object_name", "-id"], name="audit_by_name"),
            models.Index(
                fields=["actor_id", "-id"], name="audit_by_operator", condition=models.Q(actor_kind="operator")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.object_name}"


class Notice(OrganizationOwned):
    """A mail about an organization, or in the platform's own name: written in the transaction of what it tells of, then sent
    (`accounts.notices`)."""

    address = models.EmailField(blank=True, help_text="Empty: to its owners.")
    template = models.CharField(max_length=60, help_text="accounts/email/<template>_subject.txt and _message.txt.")
    values = models.JSONField(default=dict)
    also_to = models.ForeignKey(
        User,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="A member who gets it beside the owners.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)

    class Meta(OrganizationOwned.Meta):
        indexes = [models.Index(fields=["id"], name="notice_unsent", condition=models.Q(sent_at__isnull=True))]

    def __str__(self) -> str:
        return self.template
