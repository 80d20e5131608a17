"""What the engine knows of receivers, and the addresses it sends from."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import CLOSED, Belonging, shared


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


class PausedDestination(models.Model):
    """A destination to which nothing is tried, whosever mail it is, until an operator resumes it (`relay.delivery.pauses`)."""

    destination = models.TextField(primary_key=True, help_text="A-label form, lower case.")
    reason = models.CharField(max_length=300, help_text="As the pages of waiting messages tell it.")
    paused_at = models.DateTimeField(default=timezone.now)
    paused_by = models.CharField(max_length=320, help_text="An operator's address.")

    belonging: ClassVar[Belonging] = shared()

    class Meta:
        verbose_name = "destination"

    def __str__(self) -> str:
        return self.destination


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
