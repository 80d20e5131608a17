"""Operators' view of messages, recipients and suppressions. The mail path alone writes the growing tables.

What delivery is steered by (exchangers, pools, policies) stands in `relay.operators.delivery_admin`.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse

from accounts.admin_audit import AuditedAdmin, note_operator
from accounts.admin_lists import GrowingTableAdmin, KeysetAdmin, ReadOnlyAdmin, as_uuid
from accounts.audit import actor_of
from accounts.models import Organization
from events.admin import cause
from relay.models import Content, ReturnCount, ReturnedMessage, Suppression
from relay.operators.delivery_admin import (
    ExchangerGroupAdmin,
    IpPoolAdmin,
    MtaStsPolicyAdmin,
    PoolAssignmentAdmin,
)
from relay.operators.destination_admin import DestinationAdmin
from relay.operators.mail_admin import MessageAdmin, ReadWithReason, RecipientAdmin
from relay.operators.organization_admin import OrganizationAdmin
from relay.suppressing.suppressions import normalized, reason_title, remove_suppressions

__all__ = [
    "DestinationAdmin",
    "ExchangerGroupAdmin",
    "IpPoolAdmin",
    "MessageAdmin",
    "MtaStsPolicyAdmin",
    "OrganizationAdmin",
    "PoolAssignmentAdmin",
    "RecipientAdmin",
]


@admin.register(Content)
class ContentAdmin(GrowingTableAdmin):
    """Whether a message's content is still kept, and its size. What people wrote is not shown to operators."""

    list_display = fields = ["id", "octets"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Content]:
        return super().get_queryset(request).defer("raw").annotate(_octets=Length("raw"))

    @admin.display(description="Size in octets")
    def octets(self, content: Content) -> int:
        return content._octets  # type: ignore[attr-defined]


@admin.register(ReturnedMessage)
class ReturnedMessageAdmin(ReadWithReason):
    """What came back by mail in the last days. What a mail says is content: who opens a row leaves an entry in the audit log
    of the organization that it is about."""

    list_display = ["received_at", "kind", "outcome", "reported_by", "status", cause, "organization", "message_id"]
    list_filter = ["kind", "outcome"]
    list_select_related = ["organization"]
    id_fields = ("id", "message_id")
    fields = readonly_fields = [
        "id", "received_at", "organization", "message_id", "recipient_id", "address", "kind", "outcome", "reported_by",
        "subject", "status", cause, "diagnostic", "size_bytes",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReturnedMessage]:
        return super().get_queryset(request).defer("raw", "fingerprint")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with transaction.atomic():
            answer = super().change_view(request, object_id, form_url, extra_context)
            returned = self.get_object(request, unquote(object_id))
            if returned is not None and returned.organization_id is not None:
                note_operator(request, "read", returned, [returned.organization_id])
        return answer

    def content_of(self, obj: Any) -> bytes | None:
        """Kept only where it was not understood."""
        return bytes(obj.raw) if obj.raw is not None else None


@admin.register(ReturnCount)
class ReturnCountAdmin(ReadOnlyAdmin):
    """How many mails came back on each day, of the whole installation."""

    list_display = ["day", "kind", "outcome", "count"]
    list_filter = ["kind", "outcome"]
    ordering = ["-day", "kind", "outcome"]
    fields = ["day", "kind", "outcome", "count"]


@admin.register(Suppression)
class SuppressionAdmin(KeysetAdmin, AuditedAdmin):
    """Made by bounces and by the organization's people; operators may remove one."""

    list_display = ["address", "stream", "why", "organization", "created_at"]
    list_select_related = ["organization"]
    fields = readonly_fields = [
        "address", "stream", "organization", "why", "reply", "note", "added_by", "message_id", "created_at",
    ]  # fmt: skip
    search_fields = ["id"]  # makes the search box appear; `get_search_results` does the search
    search_help_text = "An address, or an organization's name or id, as a whole."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if "@" in term:
            # One probe of the index for each organization: it begins with them.
            organizations = Organization.objects.values("pk")
            return queryset.filter(organization__in=organizations, address=normalized(term) or term.lower()), False
        identifier = as_uuid(term)
        whose = (
            Organization.objects.filter(pk=identifier) if identifier else Organization.objects.filter(name__iexact=term)
        )
        return queryset.filter(organization__in=list(whose.values_list("pk", flat=True)[:20])), False

    @admin.display(description="Reason")
    def why(self, suppression: Suppression) -> str:
        return reason_title(suppression.reason)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._remove(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._remove(request, queryset)

    def _remove(self, request: HttpRequest, suppressions: Iterable[Suppression]) -> None:
        by_organization: dict[UUID, list[UUID]] = {}
        for one in suppressions:
            by_organization.setdefault(one.organization_id, []).append(one.pk)
        with transaction.atomic():
            for organization_id, ids in sorted(by_organization.items()):
                remove_suppressions(Organization(pk=organization_id), ids=ids, by=actor_of(request, operator=True))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
