"""Operators tell of incidents and maintenance here. What they write is shown to everybody, and is noted in the platform's own
audit log."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.admin_audit import AuditedAdmin, note_operator
from accounts.admin_lists import ReadOnlyAdmin
from accounts.admin_words import NamedInline
from accounts.models import Organization
from plugsend.status.components import CHOICES
from plugsend.status.models import ComponentState, Incident, IncidentUpdate, Kind


class IncidentForm(forms.ModelForm):
    components = forms.MultipleChoiceField(
        choices=CHOICES,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Whose state it changes.",
    )

    class Meta:
        model = Incident
        fields = ["kind", "title", "components", "impact", "started_at", "ended_at"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        begin, end = values.get("started_at"), values.get("ended_at")
        if values.get("kind") == Kind.MAINTENANCE and not end:
            self.add_error("ended_at", "Say when the maintenance ends, as planned.")
        if begin and end and end < begin:
            self.add_error("ended_at", "It ends before it begins.")
        return values


class UpdateInline(NamedInline):
    model = IncidentUpdate
    extra = 1
    fields = ["at", "text"]
    ordering = ["at"]


def platforms_own() -> set[UUID]:
    return set(Organization.objects.filter(is_system=True).values_list("pk", flat=True))


@admin.register(Incident)
class IncidentAdmin(AuditedAdmin):
    """Those found by probes may be told more of, and are ended by the probes."""

    form = IncidentForm
    list_display = ["title", "kind", "impact", "started_at", "ended_at", "is_automatic"]
    list_filter = ["kind", "is_automatic", ("ended_at", admin.EmptyFieldListFilter)]
    search_fields = ["title", "id__exact"]
    ordering = ["-started_at"]
    inlines = [UpdateInline]
    show_full_result_count = False

    def organizations_of(self, obj: Model) -> set[UUID]:
        """The platform's: it concerns nobody's organization."""
        return platforms_own()

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_formset(request, form, formset, change)
            told = {
                "added": formset.new_objects,
                "changed": [obj for obj, _ in formset.changed_objects],
                "removed": formset.deleted_objects,
            }
            for verb, updates in told.items():
                for update in updates:
                    note_operator(request, verb, update, platforms_own(), after={"text": update.text})


@admin.register(ComponentState)
class ComponentStateAdmin(ReadOnlyAdmin):
    """As the probes find them."""

    list_display = ["code", "state", "since", "checked_at", "took_ms", "words"]
    fields = list_display
    ordering = ["code"]
    show_full_result_count = False
