"""What is known of the platform's components. Nothing here is of an organization; pages show it without one."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import CLOSED, Belonging
from plugsend.status.components import CHOICES, COMPONENTS, State


class ComponentState(models.Model):
    """How a component is now, as last found."""

    code = models.CharField(primary_key=True, max_length=16, choices=CHOICES)
    state = models.CharField(max_length=12, help_text="plugsend.status.components.State")
    since = models.DateTimeField(help_text="When the state began.")
    checked_at = models.DateTimeField()
    took_ms = models.FloatField(null=True, help_text="The last probe.")
    words = models.TextField(blank=True, help_text="What the last probe found; for operators.")

    belonging: ClassVar[Belonging] = CLOSED

    def __str__(self) -> str:
        return f"{self.code}: {self.state}"


class ComponentDay(models.Model):
    """For how long a component was how, in a day of UTC. Time in which nobody looked is in none of them."""

    pk = models.CompositePrimaryKey("code", "day")
    code = models.CharField(max_length=16, choices=CHOICES)
    day = models.DateField()
    works_s = models.FloatField(default=0)
    degraded_s = models.FloatField(default=0)
    down_s = models.FloatField(default=0)
    maintenance_s = models.FloatField(default=0)

    belonging: ClassVar[Belonging] = CLOSED

    def __str__(self) -> str:
        return f"{self.code}, {self.day}"


class Throughput(models.Model):
    """Recipients of a minute, as far as the event log was counted then (`relay.statistics`)."""

    minute = models.DateTimeField(primary_key=True)
    submitted = models.PositiveIntegerField()
    delivered = models.PositiveIntegerField()
    bounced = models.PositiveIntegerField()
    deferred = models.PositiveIntegerField(help_text="Attempts.")

    belonging: ClassVar[Belonging] = CLOSED

    def __str__(self) -> str:
        return f"{self.minute}"


class Kind(models.TextChoices):
    INCIDENT = "incident", "Incident"
    MAINTENANCE = "maintenance", "Maintenance"


class Impact(models.TextChoices):
    """What it does to its components, whatever probes find."""

    NONE = "works", "None: to be known, no more"
    DEGRADED = "degraded", "Slow or in part"
    DOWN = "down", "Out of order"


class Incident(models.Model):
    """A disturbance, found by probes or told by an operator, or maintenance that is planned. Shown to everybody."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.INCIDENT)
    title = models.CharField(max_length=160, help_text="What customers notice, in a few words.")
    components = ArrayField(models.CharField(max_length=16, choices=CHOICES), default=list, blank=True)
    impact = models.CharField(max_length=12, choices=Impact, default=Impact.DEGRADED)
    started_at = models.DateTimeField("begin", default=timezone.now)
    ended_at = models.DateTimeField(
        "end", null=True, blank=True, help_text="Of maintenance: as planned. Of an incident: when all works again."
    )
    is_automatic = models.BooleanField(default=False, editable=False, help_text="Found by probes, which also end it.")

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["-started_at"], name="incident_by_start")]
        constraints = [
            models.UniqueConstraint(
                fields=["is_automatic"],
                condition=Q(is_automatic=True, ended_at__isnull=True),
                name="incident_open_once",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")), name="incident_ends_after_begin"
            ),
            models.CheckConstraint(
                condition=~Q(kind="maintenance") | Q(ended_at__isnull=False), name="maintenance_has_an_end"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def is_open(self, at: datetime) -> bool:
        return self.started_at <= at and (self.ended_at is None or self.ended_at > at)

    @property
    def is_maintenance(self) -> bool:
        return self.kind == Kind.MAINTENANCE

    @property
    def names(self) -> list[str]:
        return [component.name for code, component in COMPONENTS.items() if code in self.components]

    @property
    def state(self) -> State:
        """Of its components, while it lasts."""
        return State.MAINTENANCE if self.is_maintenance else State(self.impact)


class IncidentUpdate(models.Model):
    """What was told about an incident, and when."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="updates")
    at = models.DateTimeField(default=timezone.now)
    text = models.TextField(max_length=4000, help_text="In plain words: what happens, what it means, what comes next.")

    belonging: ClassVar[Belonging] = CLOSED

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.incident}, {self.at:%Y-%m-%d %H:%M} UTC"
