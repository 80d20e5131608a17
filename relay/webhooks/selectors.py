"""What other pages show of webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Subquery

from accounts.models import Organization
from relay.webhooks.models import WebhookDelivery, WebhookEndpoint

SHOWN = 20  # with a message


@dataclass(frozen=True, slots=True)
class Caused:
    """What a message caused to be sent, each with `endpoint_url`, which is null of an endpoint that was removed."""

    rows: list[Any]
    has_more: bool


def caused_by(organization: Organization, message_id: UUID) -> Caused:
    """The newest first. By index; partitions of before the message are not looked at."""
    url = WebhookEndpoint.objects.of(organization).filter(pk=OuterRef("endpoint_id")).values("url")
    found = WebhookDelivery.objects.of(organization).filter(message_id=message_id, id__gte=message_id)
    shown = found.annotate(endpoint_url=Subquery(url)).defer("body", "log")
    rows = list(shown.order_by("-id")[: SHOWN + 1])
    return Caused(rows[:SHOWN], len(rows) > SHOWN)
