"""What the sandbox keeps: the records of its DNS zone, and the mail that its exchanger took."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7


class ZoneRecord(models.Model):
    """A record that the sandbox's DNS server answers with."""

    name = models.CharField(max_length=253, db_index=True, help_text="Absolute, lower case, no final dot.")
    type = models.CharField(max_length=8)
    value = models.TextField(help_text="TXT: the text, unquoted and unsplit; CNAME and MX: as in a zone file.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "type", "value"], name="zone_record_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.type} {self.value}"


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

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.subject
