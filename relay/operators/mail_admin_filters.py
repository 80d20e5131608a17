"""Filters of the operators' lists of messages and recipients, each a look into one index, over all organizations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import Organization
from relay.finding.filters import OPEN_STATES
from relay.models import Door, Recipient


class QueueFilter(admin.SimpleListFilter):
    title = "place in the queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("open", "In the queue"), ("busy", "Being delivered")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Recipient]) -> QuerySet[Recipient]:
        if self.value() == "open":
            return queryset.filter(next_attempt_at__isnull=False)
        if self.value() == "busy":
            return queryset.filter(next_attempt_at__isnull=False, leased_by__isnull=False)
        return queryset


class StateFilter(admin.ChoicesFieldListFilter):
    """What is open is in the queue, whose own indexes are small: by its state alone it would be looked for in all mail."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        if set(_chosen(self)) & OPEN_STATES:
            queryset = queryset.filter(next_attempt_at__isnull=False)
        return super().queryset(request, queryset)


class DoorFilter(admin.ChoicesFieldListFilter):
    """What the platform itself sends is little, and all that its own organization has: by its door it would be looked for in
    all mail."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        if _chosen(self) == [Door.PLATFORM.value]:
            own = Organization.objects.filter(is_system=True).values_list("pk", flat=True).first()
            return queryset.filter(organization_id=own)
        return super().queryset(request, queryset)


def _chosen(one: admin.ChoicesFieldListFilter) -> list[str]:
    values: Any = one.used_parameters.get(one.lookup_kwarg)
    return list(values or [])
