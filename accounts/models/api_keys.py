"""The API keys with which programs come in, and answers kept for those that repeat a request."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models.organizations import Organization
from accounts.models.people import User
from accounts.scoping import OrganizationOwned, OrganizationQuerySet


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
