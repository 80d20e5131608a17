"""Operators' page of an organization, with what its domains, its mail and its use of the plan tell."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import ApiKey, Organization
from accounts.organization_admin import OrganizationAdmin as PlainOrganizationAdmin
from domains.models import SendingDomain, SmtpUser
from events.reasons import REASONS
from relay.models import Message, Recipient, Suppression
from relay.quotas import quotas_of
from relay.statistics.alerts import open_alerts
from relay.webhooks.models import WebhookEndpoint

SHOWN = 10


@admin.register(Organization)
class OrganizationAdmin(PlainOrganizationAdmin):
    def facts(self, request: HttpRequest, organization: Organization) -> dict[str, Any]:
        messages = list(Message.objects.of(organization).order_by("-id")[:SHOWN])
        return super().facts(request, organization) | {
            "quotas": quotas_of(organization),
            "alerts": open_alerts(organization),
            "domains": SendingDomain.objects.of(organization).order_by("name")[:SHOWN],
            "smtp_users": SmtpUser.objects.of(organization).select_related("domain").order_by("address")[:SHOWN],
            "latest": _states_of(messages),
            "suppressions": Suppression.objects.of(organization).order_by("-id")[:SHOWN],
            "webhooks": WebhookEndpoint.objects.of(organization).order_by("id")[:SHOWN],
            "links": _links(organization),
        }


def _states_of(messages: list[Message]) -> list[tuple[Message, str]]:
    """Each with the states of its first recipients, in words: of all of them by one statement, a probe of an index for each."""
    first = [
        Recipient.objects.of(one.organization_id).filter(message_id=one.pk, id__gte=one.pk).order_by("id")[:2]
        for one in messages
    ]
    found = list(first[0].union(*first[1:], all=True)) if first else []
    return [(one, _in_words(one, [row for row in found if row.message_id == one.pk])) for one in messages]


def _in_words(message: Message, recipients: list[Recipient]) -> str:
    told = [
        f"{one.address}: {one.get_state_display().lower()}"
        + (f", {REASONS[one.reason].because}" if one.reason in REASONS else "")
        for one in recipients
    ]
    more = message.recipient_count - len(told)
    return "; ".join(told) + (f"; and {more:,} more" if more > 0 else "")


def _links(organization: Organization) -> list[tuple[str, str]]:
    """(what, where) of all there is of it."""
    by_search = [
        ("Messages", "relay_message"),
        ("Recipients", "relay_recipient"),
        ("Events", "events_event"),
        ("Suppressions", "relay_suppression"),
        ("Webhooks", "webhooks_webhookendpoint"),
        ("Audit log", "accounts_auditentry"),
    ]
    links = [(what, f"{reverse(f'admin:{name}_changelist')}?q={organization.pk}") for what, name in by_search]
    for what, model in (("Domains", SendingDomain), ("SMTP users", SmtpUser), ("API keys", ApiKey)):
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        links.append((what, f"{url}?organization__id__exact={organization.pk}"))
    return links
