"""Templates and their versions."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.row_security import Through
from accounts.scoping import OrganizationOwned, OrganizationQuerySet


class Template(OrganizationOwned):
    """A mail that is written once and filled in for each sending. What it says stands in its versions."""

    name = models.CharField(max_length=120)
    alias = models.CharField(max_length=60, blank=True, help_text="By which programs may name it, beside the id.")
    test_values = models.JSONField(
        default=dict, db_default={}, help_text="Of variables, for previews and tests: {key: value}."
    )
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
