"""The one place that scopes rows by organization.

Every model whose rows are a tenant's has `OrganizationQuerySet` as its manager; every read starts with
`Model.objects.of(organization)`, or with a relation of a row that was read so. Anything else raises in a request
(`accounts.walls`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from uuid import UUID

from django.db import models

from accounts.ids import uuid7
from accounts.row_security import Through, declared_of
from accounts.walls import check_scoped

if TYPE_CHECKING:
    from accounts.models import Organization

M = TypeVar("M", bound=models.Model)


class OrganizationQuerySet(models.QuerySet[M]):
    _is_scoped = False
    _hints: dict[str, Any]  # Django's: the row that a relation starts from

    def of(self, organization: Organization | UUID) -> Self:
        """Only the rows of this organization."""
        organization_id = organization if isinstance(organization, UUID) else organization.pk
        scoped = self.filter(_belongs_to(self.model, organization_id))
        scoped._is_scoped = True
        return scoped

    def of_any(self) -> Self:
        """Of whichever: for what serves the platform's own work as well as a tenant's request, and finds its rows by keys that
        the caller read with `of`. In a request the second wall still stands around it."""
        scoped = self._chain()  # type: ignore[attr-defined]
        scoped._is_scoped = True
        return cast(Self, scoped)

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._is_scoped = self._is_scoped
        return clone

    def _check(self) -> None:
        check_scoped(self._is_scoped or "instance" in self._hints or self.query.is_empty(), self.model)

    # Whatever asks the database.

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            self._check()
        super()._fetch_all()

    def iterator(self, chunk_size: int | None = None) -> Iterator[M]:
        self._check()
        return super().iterator(chunk_size)

    def count(self) -> int:
        self._check()
        return super().count()

    def exists(self) -> bool:
        self._check()
        return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._check()
        return super().aggregate(*args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        self._check()
        return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._check()
        return super().delete()

    update.alters_data = delete.alters_data = True  # type: ignore[attr-defined]  # not from a template
    delete.queryset_only = True  # type: ignore[attr-defined]  # as Django's: no manager deletes everything


def _belongs_to(model: type[models.Model], organization_id: UUID) -> models.Q:
    if model._meta.label == "accounts.Organization":
        return models.Q(pk=organization_id)
    declared = declared_of(model)
    if isinstance(declared, Through):
        within = declared.parent._default_manager.filter(_belongs_to(declared.parent, organization_id))
        return models.Q(**{f"{declared.column}__in": within.values("pk")})
    return models.Q(organization_id=organization_id)


class OrganizationOwned(models.Model):
    """A row that belongs to one organization."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        abstract = True
