"""Sending domains with the DNS records that prove them, their DKIM keys, and the SMTP users on them."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property

from accounts.api_keys import MARK, is_live
from accounts.ids import uuid7
from accounts.models import ApiKey
from accounts.row_security import CLOSED, Belonging, Through
from accounts.scoping import OrganizationOwned, OrganizationQuerySet
from domains.records import ADVICE, Advice


class DomainStatus(models.TextChoices):
    """Only a verified domain may send."""

    PENDING = "pending", "Waiting for DNS"
    VERIFIED = "verified", "Verified"
    STOPPED = "stopped", "Stopped: its records are gone"
    TAKEN_OVER = "taken_over", "Verified by another organization"


class SendingDomain(OrganizationOwned):
    """A domain that an organization wants to send from. `name` is in A-label form (RFC 5890), lower case."""

    name = models.CharField(max_length=253)
    status = models.CharField(max_length=16, choices=DomainStatus, default=DomainStatus.PENDING)
    ownership_token = models.CharField(max_length=64, editable=False)
    allow_subdomains = models.BooleanField(
        default=False, help_text="Mail from names below it may be sent, signed as it."
    )
    dkim_rotation_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The DKIM key is replaced when it is so old; empty: only by hand."
    )
    dkim_rotation_requested_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="The next DKIM key takes over once its record is seen: since when it is so.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    verified_at = models.DateTimeField(null=True, editable=False)
    failing_since = models.DateTimeField(
        null=True, editable=False, help_text="While verified: since when a required record is not as it must be."
    )
    warned_at = models.DateTimeField(null=True, editable=False, help_text="When its owners were told of it.")
    status_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When the status was entered.")
    checked_at = models.DateTimeField(null=True, editable=False)
    next_check_at = models.DateTimeField(null=True, editable=False, default=timezone.now)
    # What the last check learned of its DNS zone.
    zone = models.CharField(max_length=253, blank=True, editable=False, help_text="The apex of the zone it is in.")
    nameservers = ArrayField(models.CharField(max_length=253), default=list, blank=True, editable=False)
    zone_diagnosis = models.CharField(
        max_length=40, blank=True, editable=False, help_text="What is wrong with the zone."
    )
    zone_explanation = models.TextField(blank=True, editable=False)
    dns_host = models.CharField(max_length=40, blank=True, editable=False, help_text="Of domains.diagnosis.hosts.")
    domain_connect = models.JSONField(null=True, editable=False, help_text="What domains.connect.client discovered.")
    spf = models.JSONField(
        null=True, editable=False, help_text="What domains.spf.reading read of the domain's own SPF record."
    )

    class Meta(OrganizationOwned.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="domain_once_per_organization"),
            # A domain verified by one organization cannot be used by another.
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(status="verified"), name="domain_verified_by_one_organization"
            ),
        ]
        indexes = [models.Index(fields=["next_check_at"], name="domain_next_check")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_verified(self) -> bool:
        return self.status == DomainStatus.VERIFIED

    @property
    def shown_status(self) -> str:
        """As a page names it."""
        return "failing" if self.is_verified and self.warned_at else self.status

    @property
    def display_name(self) -> str:
        """The name as people write it (U-labels)."""
        from domains.names import to_unicode

        return to_unicode(self.name)


class DkimAlgorithm(models.TextChoices):
    """RFC 6376, 3.3; RFC 8463."""

    RSA = "rsa-sha256", "RSA"
    ED25519 = "ed25519-sha256", "Ed25519"


class DkimKeyState(models.TextChoices):
    WAITING = "waiting", "Next"  # signs once its record is found, and it is its turn
    ACTIVE = "active", "Signs"
    RETIRING = "retiring", "Replaced"  # what it signed may still be on its way: the record must stay
    RETIRED = "retired", "Out of use"  # the record may be removed; the private key is gone


class DkimKey(models.Model):
    """A signing key of a domain, published at `<selector>._domainkey.<domain>` (RFC 6376, 3.6.2.1)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    domain = models.ForeignKey(SendingDomain, on_delete=models.CASCADE, related_name="dkim_keys")
    selector = models.CharField(max_length=63)
    algorithm = models.CharField(max_length=16, choices=DkimAlgorithm, default=DkimAlgorithm.RSA)
    private_key = models.BinaryField(editable=False, help_text="PKCS#8 DER, encrypted (domains.dkim.keys).")
    public_key = models.TextField(editable=False, help_text="Base64, as in the p= tag.")
    state = models.CharField(max_length=12, choices=DkimKeyState, default=DkimKeyState.ACTIVE)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    activated_at = models.DateTimeField(null=True, editable=False, help_text="When it began to sign.")
    seen_at = models.DateTimeField(null=True, editable=False, help_text="When its record was last found.")
    retire_after = models.DateTimeField(
        null=True, editable=False, help_text="Until then its record is needed for what it has signed."
    )

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("domain_id", "domains.SendingDomain")

    class Meta:
        verbose_name = "DKIM key"
        constraints = [models.UniqueConstraint(fields=["domain", "selector"], name="selector_once_per_domain")]

    def __str__(self) -> str:
        return f"{self.selector}._domainkey.{self.domain.name}"


class RecordPurpose(models.TextChoices):
    OWNERSHIP = "ownership", "Ownership"
    DKIM = "dkim", "DKIM key"
    DKIM_NEXT = "dkim_next", "Next DKIM key"
    DKIM_OLD = "dkim_old", "Former DKIM key"
    RETURN_PATH = "return_path", "Return path"
    DMARC = "dmarc", "DMARC"
    DKIM_ED25519 = "dkim_ed25519", "DKIM key, Ed25519"


class RecordStatus(models.TextChoices):
    UNCHECKED = "unchecked", "Not checked yet"
    FOUND = "found", "Found"
    MISSING = "missing", "Missing"
    DIFFERENT = "different", "Different"
    PROPAGATING = "propagating", "Published, not visible to all yet"
    UNREACHABLE = "unreachable", "DNS did not answer"


class DnsRecord(models.Model):
    """A record that we ask for: what is expected, and what was found when we last looked."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    domain = models.ForeignKey(SendingDomain, on_delete=models.CASCADE, related_name="records")
    purpose = models.CharField(max_length=16, choices=RecordPurpose)
    dkim_key = models.OneToOneField(DkimKey, on_delete=models.CASCADE, null=True, related_name="record")
    position = models.PositiveSmallIntegerField(default=0)
    required = models.BooleanField(default=True)
    type = models.CharField(max_length=8)  # TXT, CNAME
    name = models.CharField(max_length=253)
    value = models.TextField()
    status = models.CharField(max_length=16, choices=RecordStatus, default=RecordStatus.UNCHECKED)
    found = ArrayField(models.TextField(), default=list, blank=True)
    diagnosis = models.CharField(
        max_length=40, blank=True, help_text="What is wrong, in one word (domains.diagnosis.judge)."
    )
    explanation = models.TextField(blank=True, help_text="What is wrong and what to do, in words.")
    visible_at = models.DateTimeField(null=True, help_text="Propagating: when all caches will have forgotten the old.")
    checked_at = models.DateTimeField(null=True)

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("domain_id", "domains.SendingDomain")

    class Meta:
        verbose_name = "DNS record"
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["domain", "type", "name"], name="record_once_per_domain")]

    def __str__(self) -> str:
        return f"{self.type} {self.name}"

    @property
    def shown_status(self) -> str:
        """As a page names it: what need not be there is not missing."""
        is_missed = self.required or self.status != RecordStatus.MISSING
        return self.status if is_missed else "unpublished"

    @property
    def advice(self) -> Advice | None:
        """Why to publish it all the same, when it is not required."""
        return ADVICE.get(self.purpose)


class SmtpUser(OrganizationOwned):
    """A user name for the SMTP door, such as `admin@yourdomain.com`, whose password is an API key."""

    domain = models.ForeignKey(SendingDomain, on_delete=models.CASCADE, related_name="smtp_users")
    address = models.CharField(max_length=320, help_text="The user name: an address on the domain, lower case.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True)
    hourly_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Messages an hour; empty: no limit.")
    daily_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Messages a day (UTC); empty: no limit.")
    allowed_networks = ArrayField(
        models.CharField(max_length=43), default=list, blank=True,
        help_text="From where it may sign in, in CIDR notation; empty: from anywhere.",
    )  # fmt: skip
    stream = models.CharField(
        max_length=40, blank=True, db_default="", help_text="Of its mail that names none; empty: none."
    )

    class Meta(OrganizationOwned.Meta):
        verbose_name = "SMTP user"
        constraints = [
            models.UniqueConstraint(
                fields=["address"], condition=models.Q(disabled_at__isnull=True), name="smtp_address_in_use_once"
            )
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None

    @property
    def all_keys(self) -> list[ApiKey]:
        """The newest first. Of users read by `domains.smtp_users.with_keys`."""
        keys = [link.api_key for link in self.keys.all()]
        return sorted(keys, key=lambda key: key.created_at, reverse=True)

    @property
    def live_keys(self) -> list[ApiKey]:
        return [key for key in self.all_keys if key.is_live]

    @property
    def last_used_key(self) -> ApiKey | None:
        used = [key for key in self.all_keys if key.last_used_at]
        return max(used, key=lambda key: key.last_used_at or key.created_at, default=None)

    @cached_property
    def password_hint(self) -> str:
        """What stands for the password where it is not known any more."""
        newest = (
            ApiKey.objects.of(self.organization_id)
            .filter(is_live(), smtp_user_key__smtp_user=self)
            .order_by("-created_at")
            .first()
        )
        return f"{newest.prefix if newest else MARK}…"


class SmtpUserKey(models.Model):
    """An API key that is a password of an SMTP user, who may have several: a new one before the old one goes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    smtp_user = models.ForeignKey(SmtpUser, on_delete=models.CASCADE, related_name="keys")
    api_key = models.OneToOneField("accounts.ApiKey", on_delete=models.CASCADE, related_name="smtp_user_key")

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Through] = Through("smtp_user_id", "domains.SmtpUser")

    class Meta:
        verbose_name = "SMTP user's key"

    def __str__(self) -> str:
        return f"{self.smtp_user}: {self.api_key.prefix}…"


class ConnectKey(models.Model):
    """A key that signs what we ask of DNS hosts over Domain Connect (`domains.connect.keys`)."""

    label = models.CharField(
        max_length=63, unique=True, help_text="Below the platform's domain: where it is published."
    )
    private_key = models.BinaryField(editable=False, help_text="PKCS#8 DER, encrypted (domains.dkim.keys).")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        verbose_name = "Domain Connect key"

    def __str__(self) -> str:
        return self.label
