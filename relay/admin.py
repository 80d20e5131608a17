"""Operators' view of messages, recipients and suppressions. The mail path alone writes the growing tables.

What delivery is steered by (exchangers, pools, policies) stands in `relay.delivery_admin`.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin_audit import AuditedAdmin, note_operator
from accounts.admin_lists import COUNTED, GrowingTableAdmin, ReadOnlyAdmin
from accounts.audit import actor_of
from accounts.models import Organization
from domains.names import DomainRefused, normalize_domain
from relay import actions
from relay.action_words import WORDS, notice, recipients
from relay.actions import Action
from relay.delivery_admin import (
    ExchangerGroupAdmin,
    IpPoolAdmin,
    MtaStsPolicyAdmin,
    PoolAssignmentAdmin,
)
from relay.models import Content, Message, Recipient, ReturnCount, ReturnedMessage, Suppression
from relay.organization_admin import OrganizationAdmin
from relay.suppressions import normalized, remove_suppressions

__all__ = ["ExchangerGroupAdmin", "IpPoolAdmin", "MtaStsPolicyAdmin", "OrganizationAdmin", "PoolAssignmentAdmin"]


@admin.register(Message)
class MessageAdmin(GrowingTableAdmin):
    """Subject, tags and metadata are content: they stand on a message's own page alone. Who opens that leaves an entry in the
    organization's audit log."""

    list_display = ["id", "submitted_at", "header_from", "recipient_count", "door", "organization"]
    list_filter = ["door"]
    list_select_related = ["organization"]
    fields = [
        "id", "organization", "submitted_at", "door", "header_from", "envelope_sender", "subject", "message_id_header",
        "size_bytes", "recipient_count", "tags", "metadata", "scheduled_at", "domain_id", "smtp_user_id", "api_key_id", "trace",
    ]  # fmt: skip
    readonly_fields = ["trace"]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with transaction.atomic():
            answer = super().change_view(request, object_id, form_url, extra_context)
            message = self.get_object(request, unquote(object_id))
            if message is not None:
                note_operator(request, "read", message, [message.organization_id])
        return answer

    @admin.display(description="What happened")
    def trace(self, message: Message) -> SafeString:
        return format_html(
            '<a href="{}?q={}">Recipients</a> · <a href="{}?q={}">Events</a>',
            reverse("admin:relay_recipient_changelist"),
            message.pk,
            reverse("admin:events_event_changelist"),
            message.pk,
        )


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


def _admin_action(action: Action) -> Any:
    """An action of `relay.actions` over the chosen rows: counts and asks first."""

    @admin.action(description=WORDS[action].label, permissions=["act"])
    def ask_or_act(
        model_admin: "RecipientAdmin", request: HttpRequest, queryset: QuerySet[Recipient]
    ) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            counted = actions.count(action, queryset)
            context = {
                **model_admin.admin_site.each_context(request),
                "title": f"{WORDS[action].question} {recipients(counted.possible, is_cut=counted.is_cut)}?",
                "words": WORDS[action],
                "count": counted,
                "opts": Recipient._meta,
                "action": action.value,
                "across": request.POST.get("select_across", "0"),
                "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "checkbox_name": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "admin/relay/recipient/act.html", context)
        acted = actions.act(action, queryset, by=actor_of(request, operator=True))
        more = " More match: apply the action again." if acted.more else ""
        told = notice(action, acted)
        model_admin.message_user(request, told.text + more, "SUCCESS" if told.is_good else "WARNING")
        return None

    ask_or_act.__name__ = action.value
    return ask_or_act


@admin.register(Recipient)
class RecipientAdmin(GrowingTableAdmin):
    """Recipients are not edited; they can be retried, held, released and cancelled."""

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
    list_filter = [QueueFilter, "state"]
    list_select_related = ["organization"]
    id_fields = ("id", "message_id")
    search_help_text = (
        "The id of a recipient or a message. Of what is in the queue also: an organization's id, or a destination "
        f"(example.com). Lists show the newest {COUNTED} rows."
    )
    actions = [_admin_action(action) for action in Action]
    fields = [
        "id", "message_id", "organization", "address", "destination", "state", "state_at", "attempts", "reason",
        "last_reply", "next_attempt_at", "expires_at", "leased_by",
    ]  # fmt: skip

    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("relay.change_recipient"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Organizations and destinations have an index over open rows only."""
        term = search_term.strip()
        is_open = queryset.filter(next_attempt_at__isnull=False)
        try:
            identifier = UUID(term)
        except ValueError:
            try:
                return is_open.filter(destination=normalize_domain(term.removeprefix("@"))), False
            except DomainRefused:
                return super().get_search_results(request, queryset, search_term)
        found, _ = super().get_search_results(request, queryset, search_term)
        return found | is_open.filter(organization_id=identifier), False


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
class ReturnedMessageAdmin(GrowingTableAdmin):
    """What came back by mail in the last days. What a mail says is content: who opens a row leaves an entry in the audit log
    of the organization that it is about."""

    list_display = ["received_at", "kind", "outcome", "reported_by", "status", "reason", "organization", "message_id"]
    list_filter = ["kind", "outcome"]
    list_select_related = ["organization"]
    id_fields = ("id", "message_id")
    fields = readonly_fields = [
        "id", "received_at", "organization", "message_id", "recipient_id", "address", "kind", "outcome", "reported_by",
        "subject", "status", "reason", "diagnostic", "size_bytes", "source",
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

    @admin.display(description="Source")
    def source(self, returned: ReturnedMessage) -> SafeString | str:
        if returned.raw is None:
            return "kept only where it was not understood"
        text = bytes(returned.raw).decode("utf-8", "replace")
        return format_html('<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text)


@admin.register(ReturnCount)
class ReturnCountAdmin(ReadOnlyAdmin):
    """How many mails came back on each day, of the whole installation."""

    list_display = ["day", "kind", "outcome", "count"]
    list_filter = ["kind", "outcome"]
    ordering = ["-day", "kind", "outcome"]
    fields = ["day", "kind", "outcome", "count"]


@admin.register(Suppression)
class SuppressionAdmin(AuditedAdmin):
    """Made by bounces and by the organization's people; operators may remove one."""

    paginator = GrowingTableAdmin.paginator
    show_full_result_count = False
    ordering = ["-id"]
    sortable_by = ["id"]
    list_display = ["address", "stream", "reason", "organization", "created_at"]
    list_select_related = ["organization"]
    fields = readonly_fields = [
        "address", "stream", "organization", "reason", "reply", "note", "added_by", "message_id", "created_at",
    ]  # fmt: skip
    search_fields = ["id"]  # makes the search box appear; `get_search_results` does the search
    search_help_text = "An address, or an organization's id, as a whole."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(organization_id=UUID(term)), False
        except ValueError:
            return queryset.filter(address=normalized(term) or term.lower()), False

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
