"""The one place that scopes rows by organization.

Every model that belongs to a tenant derives from `OrganizationOwned`; every read of a tenant's rows starts with
`Model.objects.of(organization)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models

from accounts.ids import uuid7

if TYPE_CHECKING:
    from accounts.models import Organization

M = TypeVar("M", bound=models.Model)


class OrganizationQuerySet(models.QuerySet[M]):
    def of(self, organization: Organization) -> Self:
        """Only the rows of this organization."""
        return self.filter(organization_id=organization.pk)


class OrganizationOwned(models.Model):
    """A row that belongs to one organization."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        abstract = True
