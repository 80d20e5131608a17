"""Operators' acts on tenants' objects, in those tenants' audit logs. Django's own admin log has them too, without names.

Django makes each save and each deletion of a form in one transaction with its log entry; ours are written in the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.core.exceptions import FieldDoesNotExist
from django.db import models, transaction
from django.http import HttpRequest

from accounts.admin_words import OperatorsAdmin
from accounts.audit import Thing, actor_of, note
from accounts.models import Membership, Organization, User

SECRET = frozenset({"password"})  # that it changed is told, not what it is
# That somebody works for the platform is nobody's business.
OPERATORS_ONLY = frozenset({"is_staff", "is_superuser", "groups", "user_permissions"})
_TYPES = {"Membership": "member", "SendingDomain": "domain"}


class AuditedAdmin(OperatorsAdmin):
    """`organizations_of` says in whose log an act on an object belongs."""

    def organizations_of(self, obj: models.Model) -> set[UUID]:
        """Of a person's own row: all that the person is in."""
        return organizations_of(obj)

    def note(self, request: HttpRequest, verb: str, obj: models.Model, **changes: Any) -> None:
        note_operator(request, verb, obj, self.organizations_of(obj), **changes)

    # The operators' own log tells what was done to which row, and no names: it outlives the rows.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return _unnamed([super().log_addition(request, obj, _without_names(message))])[0]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return _unnamed([super().log_change(request, obj, _without_names(message))])[0]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return _unnamed(super().log_deletions(request, queryset))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with transaction.atomic():
            stored = type(obj)._default_manager.filter(pk=obj.pk).first() if change else None
            before = _values(stored, form.changed_data) if stored else None
            concerned = self.organizations_of(stored) if stored else set()
            super().save_model(request, obj, form, change)
            after = _values(obj, form.changed_data)
            if after or not change:
                verb = "changed" if change else "created" if isinstance(obj, Organization) else "added"
                concerned |= self.organizations_of(obj)
                note_operator(request, verb, obj, concerned, before=before, after=after)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            self.note(request, "removed", obj)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        with transaction.atomic():
            chosen = list(queryset.select_for_update(of=("self",)))
            for obj in chosen:
                self.note(request, "removed", obj)
            super().delete_queryset(request, queryset.model._default_manager.filter(pk__in=[obj.pk for obj in chosen]))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Rows that are edited on another row's page."""
        with transaction.atomic():
            keys = {one: one.instance.pk for one in formset.initial_forms}  # a deletion takes them away
            stored = formset.model._default_manager.in_bulk(list(keys.values()))
            super().save_formset(request, form, formset, change)
            for obj in formset.new_objects:
                note_operator(request, "added", obj, organizations_of(obj), after=_values(obj, _own_fields(obj)))
            for obj, fields in formset.changed_objects:
                former = stored[obj.pk]
                concerned = organizations_of(former) | organizations_of(obj)
                before, after = _values(former, fields), _values(obj, fields)
                note_operator(request, "changed", obj, concerned, before=before, after=after)
            for one in formset.deleted_forms:
                former = stored.get(keys.get(one))
                if former is not None:
                    before = _values(former, _own_fields(former))
                    note_operator(request, "removed", former, organizations_of(former), before=before)


def _unnamed(entries: list[LogEntry]) -> list[LogEntry]:
    for entry in entries:
        entry.object_repr = f"{entry.content_type} {entry.object_id}"
    LogEntry.objects.bulk_update(entries, ["object_repr"])
    return entries


def _without_names(message: Any) -> Any:
    """Of rows that are edited on another row's page Django tells the name, too."""
    if isinstance(message, list):
        for part in message:
            for act in part.values():
                act.pop("object", None)
    return message


def organizations_of(obj: models.Model) -> set[UUID]:
    if isinstance(obj, Organization):
        return {obj.pk}
    if organization_id := getattr(obj, "organization_id", None):
        return {organization_id}
    person = obj.pk if isinstance(obj, User) else getattr(obj, "user_id", None)
    return set(Membership.objects.filter(user_id=person).values_list("organization_id", flat=True)) if person else set()


def note_operator(
    request: HttpRequest, verb: str, obj: models.Model, organization_ids: Iterable[UUID], **changes: Any
) -> None:
    """An entry in each of the organizations' logs."""
    actor, kind = actor_of(request, operator=True), _type(obj)
    # Of a library's rows the id is a number, which says nothing to a member.
    thing = Thing(obj.pk if isinstance(obj.pk, UUID) else None, str(obj))
    for organization_id in sorted(organization_ids):
        note(actor, f"{kind}.{verb}", thing, organization_id=organization_id, **changes)


def _type(obj: models.Model) -> str:
    name = type(obj).__name__
    return _TYPES.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _own_fields(obj: models.Model) -> list[str]:
    return [field.name for field in obj._meta.concrete_fields if field.editable and not field.primary_key]


def _values(obj: models.Model, names: Iterable[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        try:
            field = obj._meta.get_field(name)
        except FieldDoesNotExist:
            continue  # of the form alone
        if name in SECRET:
            values[name] = "(not shown)"
        elif name not in OPERATORS_ONLY and isinstance(field, models.Field):
            values[name] = getattr(obj, name)
    return values
