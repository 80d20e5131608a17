"""Lists of a REST resource: newest first, paged by key as Resend's are, so that each page costs the same.

`?limit=20&after=<id>` is what follows that row, `?before=<id>` what stands before it; `has_more` says whether there is more in
that direction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from accounts.rest.fields import ObjectField, StrictSerializer

M = TypeVar("M", bound=Model)
LIMIT_DEFAULT = 20
LIMIT_MOST = 100


class ListQuery(StrictSerializer):
    """The query parameters that every list has. Subclasses add filters; an unknown parameter is refused by name."""

    limit = serializers.IntegerField(min_value=1, max_value=LIMIT_MOST, default=LIMIT_DEFAULT)
    after = serializers.UUIDField(required=False, help_text="Continue after the row with this id.")
    before = serializers.UUIDField(required=False, help_text="What stands before the row with this id.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "after" in attrs and "before" in attrs:
            raise serializers.ValidationError({"before": ["Give after or before, not both."]})
        return attrs


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    after: UUID | None = None
    before: UUID | None = None

    def cut(self, rows: QuerySet[M]) -> tuple[list[M], bool]:
        """This page of rows whose `id` is a UUIDv7, the newest first, and whether there is more."""
        if self.before is not None:
            found = list(rows.filter(pk__gt=self.before).order_by("pk")[: self.limit + 1])
            return found[: self.limit][::-1], len(found) > self.limit
        if self.after is not None:
            rows = rows.filter(pk__lt=self.after)
        found = list(rows.order_by("-pk")[: self.limit + 1])
        return found[: self.limit], len(found) > self.limit


def read_query(request: Request, query: type[ListQuery] = ListQuery) -> tuple[Page, dict[str, Any]]:
    """The page asked for, and the other parameters. Raises DRF's ValidationError."""
    serializer = query(data=request.query_params.dict())
    serializer.is_valid(raise_exception=True)
    values = dict(serializer.validated_data)
    return Page(values.pop("limit"), values.pop("after", None), values.pop("before", None)), values


def list_schema(item: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """What `extend_schema` is told of a list of these."""
    name = item.__name__.removesuffix("Serializer")
    fields: dict[str, serializers.Field[Any, Any, Any, Any]] = {
        "object": ObjectField("list"),
        "has_more": serializers.BooleanField(),
        "data": item(many=True),
    }
    return inline_serializer(f"{name}List", fields)


def list_answer(data: Iterable[Any], *, has_more: bool) -> dict[str, Any]:
    return {"object": "list", "has_more": has_more, "data": list(data)}
