"""What the sandbox keeps: the records of its DNS zone, and the mail that its exchanger took."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import Belonging, shared
from domains.models import SendingDomain
from relay.sandbox.faults import DNSSEC_BOGUS, KINDS, Role

EVERYBODYS: Belonging = shared("SELECT, INSERT, UPDATE, DELETE")  # there is one internet


class ZoneRecord(models.Model):
    """A record that the sandbox's DNS server answers with."""

    name = models.CharField(max_length=253, db_index=True, help_text="Absolute, lower case, no final dot.")
    type = models.CharField(max_length=8)
    value = models.TextField(help_text="TXT: the text, unquoted and unsplit; all others: as in a zone file.")
    published_for = models.ForeignKey(
        SendingDomain, on_delete=models.CASCADE, null=True, blank=True, editable=False, related_name="+"
    )

    belonging: ClassVar[Belonging] = EVERYBODYS

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "type", "value"], name="zone_record_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.type} {self.value}"


class ZoneFault(models.Model):
    """A lie that the sandbox's DNS server tells: see `relay.sandbox.faults.Fault`."""

    name = models.CharField(max_length=253, db_index=True, help_text="Absolute, lower case, no final dot.")
    kind = models.CharField(max_length=12, choices=[(kind.value, words) for kind, words in KINDS.items()])
    role = models.CharField(
        max_length=12, blank=True, choices=[(role.value, role.name.title()) for role in (Role.RESOLVER, Role.AUTHORITY)],
        help_text="Who tells it; empty: everybody.",
    )  # fmt: skip
    server = models.PositiveSmallIntegerField(
        default=0, choices=[(0, "both"), (1, "the first"), (2, "the second")], help_text="Of its two name servers."
    )
    rows = models.JSONField(default=list, blank=True, help_text="Old values: [[type, value], …].")
    ede = models.PositiveSmallIntegerField(
        default=DNSSEC_BOGUS, help_text="Extended DNS error of a failed validation (RFC 8914)."
    )
    until = models.DateTimeField(null=True, blank=True, help_text="When it is over; empty: when it is taken away.")
    published_for = models.ForeignKey(
        SendingDomain, on_delete=models.CASCADE, null=True, blank=True, editable=False, related_name="+"
    )

    belonging: ClassVar[Belonging] = EVERYBODYS

    def __str__(self) -> str:
        return f"{self.name} {self.kind}"


class ReceivedMail(models.Model):
    """A mail that arrived at the sandbox's exchanger."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    received_at = models.DateTimeField(default=timezone.now)
    envelope_sender = models.TextField()
    recipients = ArrayField(models.TextField())
    raw = models.BinaryField()
    subject = models.TextField(blank=True)
    header_from = models.TextField(blank=True)
    dkim = models.CharField(max_length=16, help_text="pass, fail or none")
    dkim_domain = models.CharField(max_length=253, blank=True)
    dkim_signatures = ArrayField(
        models.TextField(), default=list, blank=True, help_text="Of each: verdict, algorithm, selector, domain."
    )
    tls = models.CharField(max_length=80, blank=True, help_text="Version and cipher; empty: no TLS.")
    helo = models.TextField(blank=True)

    belonging: ClassVar[Belonging] = EVERYBODYS

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.subject
