"""Operators' view of messages and recipients. The mail path alone writes these tables."""

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin_lists import GrowingTableAdmin
from relay.models import Content, Message, Recipient


@admin.register(Message)
class MessageAdmin(GrowingTableAdmin):
    list_display = ["id", "submitted_at", "header_from", "subject", "recipient_count", "door", "organization"]
    list_filter = ["door"]
    list_select_related = ["organization"]
    fields = [
        "id", "organization", "submitted_at", "door", "header_from", "envelope_sender", "subject", "message_id_header",
        "size_bytes", "recipient_count", "tags", "metadata", "domain_id", "smtp_user_id", "api_key_id", "trace",
    ]  # fmt: skip
    readonly_fields = ["trace"]

    @admin.display(description="What happened")
    def trace(self, message: Message) -> SafeString:
        return format_html(
            '<a href="{}?q={}">Recipients</a> · <a href="{}?q={}">Events</a>',
            reverse("admin:relay_recipient_changelist"),
            message.pk,
            reverse("admin:events_event_changelist"),
            message.pk,
        )


@admin.register(Recipient)
class RecipientAdmin(GrowingTableAdmin):
    list_display = [
        "address",
        "state",
        "reason",
        "attempts",
        "next_attempt_at",
        "state_at",
        "organization",
        "message_id",
    ]
    list_filter = ["state"]
    list_select_related = ["organization"]
    id_fields = ("id", "message_id")
    search_help_text = "The id of a recipient or a message, as a whole."
    fields = [
        "id", "message_id", "organization", "address", "destination", "state", "state_at", "attempts", "reason",
        "last_reply", "next_attempt_at", "expires_at", "leased_by",
    ]  # fmt: skip


@admin.register(Content)
class ContentAdmin(GrowingTableAdmin):
    """Whether a message's content is still kept, and its size. What people wrote is not shown to operators."""

    list_display = fields = ["id", "octets"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Content]:
        return super().get_queryset(request).defer("raw").annotate(_octets=Length("raw"))

    @admin.display(description="Size in octets")
    def octets(self, content: Content) -> int:
        return content._octets  # type: ignore[attr-defined]
