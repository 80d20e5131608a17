"""Operators' view of sending domains, their records and keys, and SMTP users."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.decorators import action

from accounts.admin_asking import ask
from accounts.admin_lists import KeysetAdmin, ReadOnlyAdmin
from accounts.admin_words import NamedInline
from accounts.audit import actor_of
from domains.models import DkimKey, DnsRecord, SendingDomain, SmtpUser


class ReadOnlyInline(NamedInline):
    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("domain")  # which names each row

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class DnsRecordInline(ReadOnlyInline):
    model = DnsRecord
    fields = readonly_fields = [
        "purpose", "type", "name", "value", "status", "found", "diagnosis", "explanation", "visible_at", "checked_at",
    ]  # fmt: skip


class DkimKeyInline(ReadOnlyInline):
    model = DkimKey
    fields = readonly_fields = [
        "selector",
        "algorithm",
        "state",
        "created_at",
        "activated_at",
        "seen_at",
        "retire_after",
    ]  # never the private key


@admin.register(SendingDomain)
class SendingDomainAdmin(KeysetAdmin):
    """Verified by DNS alone: nobody declares a domain verified by hand."""

    list_display = ["name", "organization", "status", "failing_since", "verified_at", "checked_at", "created_at"]
    list_filter = ["status", ("failing_since", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["name", "organization__name", "id__exact"]
    fields = readonly_fields = [
        "name", "organization", "status", "status_at", "created_at", "verified_at", "failing_since", "warned_at",
        "checked_at", "next_check_at", "zone", "nameservers", "zone_diagnosis", "zone_explanation", "dns_host",
        "allow_subdomains", "dkim_rotation_days",
    ]  # fmt: skip
    inlines = [DnsRecordInline, DkimKeyInline]
    actions = ["check_now"]
    actions_detail = ["check_this"]

    @action(description="Check DNS now", url_path="check", icon="dns", permissions=["check"])
    def check_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from domains.looking import check_again

        domain = self.get_object(request, object_id)
        if domain is None:
            raise Http404
        assert isinstance(domain, SendingDomain)
        if request.method == "POST":
            check_again(domain, actor_of(request, operator=True))
            self.message_user(request, "DNS was asked; what was found stands below.")
            return redirect("admin:domains_sendingdomain_change", domain.pk)
        return ask(
            self,
            request,
            title=f"Ask DNS about {domain.display_name} now?",
            meaning=["Its name servers are asked for every record, and what follows is done at once."],
            confirm="Check now",
            back=reverse("admin:domains_sendingdomain_change", args=[domain.pk]),
            obj=domain,
        )

    def has_check_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return self.has_change_permission(request)

    @admin.action(description="Check DNS now", permissions=["change"])
    def check_now(self, request: HttpRequest, queryset: Any) -> None:
        from domains.looking import check_again

        for domain in queryset[:20]:
            check_again(domain, actor_of(request, operator=True))
        self.message_user(request, "Checked; the first 20 of the selection at most.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(SmtpUser)
class SmtpUserAdmin(KeysetAdmin, ReadOnlyAdmin):
    list_display = ["address", "organization", "domain", "created_at", "disabled_at"]
    list_filter = [("disabled_at", admin.EmptyFieldListFilter)]
    list_select_related = ["organization", "domain"]
    search_fields = ["address", "organization__name", "id__exact"]
    fields = ["address", "organization", "domain", "created_at", "disabled_at", "hourly_limit", "daily_limit",
              "allowed_networks", "stream"]  # fmt: skip
