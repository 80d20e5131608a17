"""Operators' view of the event log: append-only, so nothing here changes it."""

from django.contrib import admin

from accounts.admin_lists import GrowingTableAdmin
from events.models import Event


@admin.register(Event)
class EventAdmin(GrowingTableAdmin):
    list_display = ["occurred_at", "type", "address", "reason", "attempt", "organization", "message_id"]
    list_filter = ["type"]
    list_select_related = ["organization"]
    id_fields = ("id", "message_id", "organization_id")
    search_help_text = "The id of an event, a message, a recipient or an organization, as a whole."
    fields = [
        "id", "type", "occurred_at", "address", "organization", "message_id", "recipient_id", "attempt", "reason",
        "detail", "transcript",
    ]  # fmt: skip
