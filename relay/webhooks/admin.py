"""Operators' view of webhook endpoints and what is sent to them. Secrets and payloads are not shown."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant

from accounts.admin_asking import ReasonForm, ask
from accounts.admin_lists import GrowingTableAdmin, KeysetAdmin, ReadOnlyAdmin, as_uuid
from accounts.audit import actor_of
from accounts.models import Organization
from relay.webhooks import endpoints
from relay.webhooks.models import EndpointState, WebhookDelivery, WebhookEndpoint


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(KeysetAdmin, ReadOnlyAdmin):
    list_display = ["url", "organization", "state", "failures", "last_attempt_at", "last_result"]
    list_filter = ["state"]
    list_select_related = ["organization"]
    search_fields = ["id"]
    search_help_text = "An id of it or of its organization, its organization's name, or a part of its address."
    fields = readonly_fields = [
        "url", "organization", "state", "state_at", "state_reason", "description", "event_types", "domain_id", "created_at",
        "failing_since", "failures", "last_attempt_at", "last_result", "deliveries",
    ]  # fmt: skip
    actions_detail = ["pause", "enable"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if identifier := as_uuid(term):
            return queryset.filter(pk=identifier) | queryset.filter(organization_id=identifier), False
        named = list(Organization.objects.filter(name__iexact=term).values_list("pk", flat=True)[:20])
        return queryset.filter(organization_id__in=named) if named else queryset.filter(url__icontains=term), False

    def has_steer_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("webhooks.change_webhookendpoint"))

    @admin.display(description="Deliveries")
    def deliveries(self, endpoint: WebhookEndpoint) -> SafeString:
        url = reverse("admin:webhooks_webhookdelivery_changelist")
        return format_html(
            '<a class="text-primary-700 dark:text-primary-500" href="{}?q={}">See them</a>', url, endpoint.pk
        )

    @action(description="Pause…", url_path="pause", icon="pause", permissions=["steer"], variant=ActionVariant.DANGER)
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = self._endpoint(request, object_id)
        form = ReasonForm(
            request.POST or None, read_by="Its owners get it by mail, and its members see it on its page."
        )
        if form.is_valid():
            done = endpoints.pause_by_operator(
                endpoint, form.cleaned_data["reason"], by=actor_of(request, operator=True)
            )
            self.message_user(request, "The webhook is paused." if done else "It was not enabled.")
            return redirect(self._url(endpoint))
        return ask(
            self,
            request,
            title=f"Pause the webhook {endpoint.url}?",
            meaning=["Nothing is sent to it any more; events go on being collected. Its members can resume it."],
            confirm="Pause",
            form=form,
            back=self._url(endpoint),
            obj=endpoint,
        )

    @action(description="Enable…", url_path="enable", icon="play_circle", permissions=["steer"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = self._endpoint(request, object_id)
        if request.method == "POST":
            endpoints.enable(endpoint, by=actor_of(request, operator=True))
            self.message_user(request, "The webhook is enabled.")
            return redirect(self._url(endpoint))
        return ask(
            self,
            request,
            title=f"Enable the webhook {endpoint.url}?",
            meaning=["What was collected while it was paused is sent."],
            confirm="Enable",
            back=self._url(endpoint),
            obj=endpoint,
        )

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The one that applies."""
        is_enabled = self._endpoint(request, object_id).state == EndpointState.ENABLED
        unfit = "_enable" if is_enabled else "_pause"
        return [one for one in super().get_actions_detail(request, object_id) if not one.action_name.endswith(unfit)]

    def _endpoint(self, request: HttpRequest, object_id: str) -> WebhookEndpoint:
        found = self.get_object(request, object_id)
        if found is None:
            raise Http404
        assert isinstance(found, WebhookEndpoint)
        return found

    def _url(self, endpoint: WebhookEndpoint) -> str:
        return reverse("admin:webhooks_webhookendpoint_change", args=[endpoint.pk])


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(GrowingTableAdmin):
    """Payloads tell of customers' mail, and what receivers answer is theirs: neither is shown."""

    list_display = ["id", "type", "state", "attempts", "last_status", "next_attempt_at", "organization"]
    list_filter = ["state"]
    list_select_related = ["organization"]
    id_fields = ("id", "endpoint_id", "message_id", "organization_id")
    search_help_text = "The id of a delivery, an endpoint, a message or an organization, as a whole."
    fields = [
        "id", "organization", "endpoint_id", "webhook_id", "message_id", "type", "cause", "state", "attempts",
        "next_attempt_at", "last_status", "last_ms",
    ]  # fmt: skip
