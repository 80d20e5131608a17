"""The audit log, and mails to members about it all."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models.organizations import Organization
from accounts.models.people import User
from accounts.row_security import LOGGED, Belonging
from accounts.scoping import OrganizationOwned, OrganizationQuerySet


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
