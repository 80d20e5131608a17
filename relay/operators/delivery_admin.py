"""Operators' view of what delivery is steered by: exchangers in trouble, source addresses, receivers' policies."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from accounts.admin_audit import AuditedAdmin
from accounts.admin_lists import NewestRowsPaginator, ReadOnlyAdmin
from accounts.admin_words import NamedInline, OperatorsAdmin
from domains.names import DomainRefused, normalize_domain
from events.reasons import REASONS
from relay.delivery.throttle import ThrottleLimits
from relay.models import ExchangerGroup, IpPool, MtaStsPolicy, PoolAssignment, SourceAddress

SHOWN = 3  # destinations in a line of the list


def _time(moment: datetime | None) -> SafeString:
    """How far away it is, and exactly when."""
    if moment is None:
        return mark_safe("-")
    return format_html('<span title="{}">{}</span>', f"{moment:%Y-%m-%d %H:%M:%S} UTC", naturaltime(moment))


@admin.register(ExchangerGroup)
class ExchangerGroupAdmin(ReadOnlyAdmin):
    """Written by the engine. An operator who knows that the trouble is over need not wait for the next probe."""

    list_display = ["name", "waiting", "suspended", "probe", "cause", "pace", "changed"]
    list_filter = [("suspended_until", admin.EmptyFieldListFilter)]
    search_fields = ["name"]
    search_help_text = "A part of an exchanger's name."
    fields = [
        "name", "all_waiting", "suspended", "probe", "failures", "cause", "last_reply", "connections", "messages_per_second",
        "changed",
    ]  # fmt: skip
    readonly_fields = ["all_waiting", "suspended", "probe", "cause", "changed"]
    ordering = ["-changed_at"]
    paginator = NewestRowsPaginator
    show_full_result_count = False
    actions = ["resume_now"]

    @admin.action(description="Resume now, with the limits of a new group", permissions=["resume"])
    def resume_now(self, request: HttpRequest, queryset: QuerySet[ExchangerGroup]) -> None:
        # Workers adopt what others wrote: the row must not name one of them any more.
        resumed = queryset.update(
            suspended_since=None,
            suspended_until=None,
            connections=ThrottleLimits().first_connections,
            messages_per_second=None,
            failures=0,
            written_by=None,
            changed_at=timezone.now(),
        )
        self.message_user(request, f"{resumed} resumed. Workers hear of it within some seconds.")

    @admin.display(description="Waiting for it")
    def waiting(self, group: ExchangerGroup) -> str:
        more = len(group.destinations) - SHOWN
        return ", ".join(group.destinations[:SHOWN]) + (f" and {more} more" if more > 0 else "")

    @admin.display(description="Waiting for it")
    def all_waiting(self, group: ExchangerGroup) -> str:
        return ", ".join(group.destinations)

    @admin.display(description="Suspended", ordering="suspended_since")
    def suspended(self, group: ExchangerGroup) -> SafeString:
        return _time(group.suspended_since)

    @admin.display(description="Next probe", ordering="suspended_until")
    def probe(self, group: ExchangerGroup) -> SafeString:
        return _time(group.suspended_until)

    @admin.display(description="Reason", ordering="reason")
    def cause(self, group: ExchangerGroup) -> str:
        reason = REASONS.get(group.reason)
        return reason.title if reason else group.reason

    @admin.display(description="In each worker")
    def pace(self, group: ExchangerGroup) -> str:
        rate = group.messages_per_second
        connections = f"{group.connections} connection{'' if group.connections == 1 else 's'}"
        return connections if rate is None else f"{connections}, {rate:.3g} messages/s"

    @admin.display(description="Written", ordering="changed_at")
    def changed(self, group: ExchangerGroup) -> SafeString:
        return _time(group.changed_at)

    def has_resume_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("relay.change_exchangergroup"))


class SourceAddressForm(forms.ModelForm):
    class Meta:
        model = SourceAddress
        fields = ["address", "ehlo_name", "is_active"]

    def clean_ehlo_name(self) -> str:
        try:
            return normalize_domain(self.cleaned_data["ehlo_name"])
        except DomainRefused:
            raise forms.ValidationError("Type the address's reverse DNS name, such as out1.example.com.") from None


class SourceAddressInline(NamedInline):
    model = SourceAddress
    form = SourceAddressForm
    extra = 0


@admin.register(IpPool)
class IpPoolAdmin(OperatorsAdmin):
    list_display = ["name", "active"]
    search_fields = ["name"]
    ordering = ["name"]
    inlines = [SourceAddressInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[IpPool]:
        return super().get_queryset(request).prefetch_related("addresses")

    @admin.display(description="Active addresses")
    def active(self, pool: IpPool) -> str:
        return ", ".join(str(one) for one in pool.addresses.all() if one.is_active) or "none"


class PoolAssignmentForm(forms.ModelForm):
    class Meta:
        model = PoolAssignment
        fields = ["pool", "organization", "domain"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if bool(values.get("organization")) == bool(values.get("domain")):
            raise forms.ValidationError("Choose an organization or a domain: one of them, not both.")
        return values


@admin.register(PoolAssignment)
class PoolAssignmentAdmin(AuditedAdmin):
    form = PoolAssignmentForm
    list_display = ["pool", "organization", "domain"]
    list_filter = ["pool"]
    list_select_related = ["pool", "organization", "domain"]
    autocomplete_fields = ["pool", "organization", "domain"]
    show_full_result_count = False

    def organizations_of(self, obj: Any) -> set[UUID]:
        return {obj.organization_id or obj.domain.organization_id}


@admin.register(MtaStsPolicy)
class MtaStsPolicyAdmin(ReadOnlyAdmin):
    """As fetched by the engine."""

    list_display = ["domain", "mode", "mx", "fetched_at", "expires_at"]
    list_filter = ["mode"]
    search_fields = ["domain__startswith"]
    search_help_text = "The beginning of a domain."
    fields = [*list_display, "policy_id"]
    ordering = ["domain"]
    paginator = NewestRowsPaginator
    show_full_result_count = False
