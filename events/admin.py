"""Operators' view of the event log: append-only, so nothing here changes it."""

from typing import Any

from django.contrib import admin

from accounts.admin_lists import GrowingTableAdmin
from accounts.admin_words import EMPTY
from events.models import Event
from events.reasons import REASONS


@admin.display(description="Reason")
def cause(row: Any) -> str:
    """Of an event, a recipient or what came back, in the words of the customers' pages."""
    known = REASONS.get(row.reason)
    return known.title if known else row.reason or EMPTY


@admin.register(Event)
class EventAdmin(GrowingTableAdmin):
    list_display = ["occurred_at", "type", "address", cause, "attempt", "organization", "message_id"]
    list_filter = ["type"]
    list_select_related = ["organization"]
    id_fields = ("id", "message_id", "organization_id")
    search_help_text = "The id of an event, a message, a recipient or an organization, as a whole."
    readonly_fields = [cause]
    fields = [
        "id", "type", "occurred_at", "address", "organization", "message_id", "recipient_id", "attempt", cause,
        "detail", "transcript",
    ]  # fmt: skip
