"""Lists of a REST resource: newest first, paged by key as Resend's are, so that each page costs the same.

`?limit=20&after=<id>` is what follows that row, `?before=<id>` what stands before it; `has_more` says whether there is more in
that direction. What is a course of things (events, the recipients of an email) is listed with the oldest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import QueryDict
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from accounts.rest.fields import ObjectField, StrictSerializer

_MEMBER = re.compile(r"(\w+)\[(.+)\]", re.DOTALL)  # metadata[order]: OpenAPI's deepObject

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

    def cut(self, rows: QuerySet[M], *, oldest_first: bool = False) -> tuple[list[M], bool]:
        """This page of rows whose `id` is a UUIDv7, and whether there is more."""
        above, below = (self.after, self.before) if oldest_first else (self.before, self.after)
        if above is not None:
            rows = rows.filter(pk__gt=above)
        if below is not None:
            rows = rows.filter(pk__lt=below)
        upwards = oldest_first is (self.before is None)
        found = list(rows.order_by("pk" if upwards else "-pk")[: self.limit + 1])
        page = found[: self.limit]
        return page[::-1] if self.before is not None else page, len(found) > self.limit


def read_query(request: Request, query: type[ListQuery] = ListQuery) -> tuple[Page, dict[str, Any]]:
    """The page asked for, and the other parameters. Raises DRF's ValidationError."""
    values = read_parameters(request, query)
    return Page(values.pop("limit"), values.pop("after", None), values.pop("before", None)), values


def read_parameters(request: Request, query: type[StrictSerializer]) -> dict[str, Any]:
    """The query parameters. Raises DRF's ValidationError."""
    serializer = query(data=_plain(request.query_params, query().fields))
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _plain(given: QueryDict, fields: Mapping[str, serializers.Field[Any, Any, Any, Any]]) -> dict[str, Any]:
    """As JSON would say it: a list where a field takes several values, an object of `name[key]=value`."""
    plain: dict[str, Any] = {}
    for name, values in given.lists():
        member = _MEMBER.fullmatch(name)
        if isinstance(fields.get(name), serializers.ListField):
            plain[name] = values
        elif len(values) > 1:
            raise serializers.ValidationError({name: ["Give it once."]})
        elif member and isinstance(fields.get(member[1]), serializers.DictField):
            plain.setdefault(member[1], {})[member[2]] = values[0]
        else:
            plain[name] = values[0]
    return plain


def list_answer(data: Iterable[Any], *, has_more: bool, **more: Any) -> dict[str, Any]:
    return {"object": "list", "has_more": has_more, "data": list(data), **more}


def list_of(item: type[serializers.Serializer[Any]], **more: serializers.Field[Any, Any, Any, Any]) -> Any:
    """The answer's shape, for the OpenAPI document."""
    fields: dict[str, Any] = {"object": ObjectField("list"), "has_more": serializers.BooleanField()}
    name = item.__name__.removesuffix("Serializer") + ("Page" if more else "List")
    return inline_serializer(name, {**fields, **more, "data": item(many=True)})
