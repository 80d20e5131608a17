"""Who belongs to an organization, and who is invited."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models.organizations import Organization
from accounts.models.people import User
from accounts.permissions import PERMISSIONS, Permission
from accounts.row_security import Belonging
from accounts.scoping import OrganizationOwned, OrganizationQuerySet

if TYPE_CHECKING:
    from accounts.impersonation import Look


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
    checklist_put_away_at = models.DateTimeField(
        null=True, editable=False, help_text="When the overview's first steps were put away."
    )

    objects = OrganizationQuerySet.as_manager()
    belonging: ClassVar[Belonging] = Belonging("organization_id = {organization}", seen="user_id = {user}")

    # Of one that is no row, of an operator who looks as the organization (accounts.impersonation):
    look: Look | None = None
    permissions: frozenset[Permission] | None = None  # in place of the role's

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="one_membership_each")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"

    def may(self, permission: Permission) -> bool:
        return permission in (PERMISSIONS[self.role] if self.permissions is None else self.permissions)

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
