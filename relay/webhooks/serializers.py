"""The wire shapes of `/api/v1/webhooks`: Resend's names where the two overlap."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.ids import time_of
from accounts.rest.fields import (
    MomentField,
    ObjectField,
    SameIdField,
    StrictCharField,
    StrictSerializer,
    WholeNumberField,
)
from accounts.rest.lists import ListQuery
from relay.webhooks.models import Cause, DeliveryState, EndpointState, WebhookDelivery, WebhookEndpoint
from relay.webhooks.payload import NAMES, TYPES

STATUSES = ["enabled", "disabled"]  # Resend's words, also below
DELIVERY_STATUSES = ["pending", "attempting", "success", "failed"]
EVENT_NAMES = sorted(TYPES)
KEEP_MOST_HOURS = 7 * 24


class EventNamesField(serializers.ListField):
    """Resend's names in, our own types out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=serializers.ChoiceField(choices=EVENT_NAMES), **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        return sorted({TYPES[name].value for name in super().to_internal_value(data)})


class CreateWebhookSerializer(StrictSerializer):
    """`POST /api/v1/webhooks`."""

    endpoint = StrictCharField(max_length=2048, help_text="Where events are sent to by POST.")
    events = EventNamesField(required=False, help_text="Empty or left out: all.")
    description = StrictCharField(max_length=200, required=False, allow_blank=True)
    domain = StrictCharField(
        max_length=255, required=False, allow_null=True, help_text="Only events of this sending domain: its name or id."
    )


class UpdateWebhookSerializer(StrictSerializer):
    """`PATCH /api/v1/webhooks/{id}`. What is left out stays as it is."""

    webhook_id = SameIdField()
    endpoint = StrictCharField(max_length=2048, required=False)
    events = EventNamesField(required=False, help_text="Empty: all.")
    status = serializers.ChoiceField(
        choices=STATUSES, required=False, help_text="`enabled` also resumes one that is paused."
    )
    description = StrictCharField(max_length=200, required=False, allow_blank=True)
    domain = StrictCharField(max_length=255, required=False, allow_null=True)


class RotateWebhookSecretSerializer(StrictSerializer):
    """`POST /api/v1/webhooks/{id}/signing-secret/rotate`."""

    keep_old_hours = WholeNumberField(
        required=False,
        min_value=0,
        max_value=KEEP_MOST_HOURS,
        help_text="For so long the old secret signs, too. Left out: 24; 0: it ends at once.",
    )

    def keep_former(self) -> timedelta:
        return timedelta(hours=self.validated_data.get("keep_old_hours", 24))


class ReplayWebhookSerializer(StrictSerializer):
    """`POST /api/v1/webhooks/{id}/replay`."""

    since = MomentField(help_text="Deliveries made at that time or later.")
    until = MomentField(required=False, help_text="And before that. Left out: until now.")
    event = serializers.ChoiceField(choices=EVENT_NAMES, required=False, help_text="Of this type only.")
    state = serializers.ChoiceField(
        choices=["delivered", "failed", "cancelled"], required=False, help_text="In this state only."
    )


class WebhookEventsQuery(ListQuery):
    event = serializers.ChoiceField(choices=EVENT_NAMES, required=False)
    state = serializers.ChoiceField(choices=DeliveryState.choices, required=False)
    email_id = serializers.UUIDField(required=False, help_text="Only what this email caused.")


class WebhookIdSerializer(serializers.Serializer[Any]):
    object = ObjectField("webhook")
    id = serializers.UUIDField()


class NewWebhookSerializer(WebhookIdSerializer):
    signing_secret = serializers.CharField(
        help_text="Verifies what is sent; as verifiers of Standard Webhooks take it."
    )


class DeletedWebhookSerializer(WebhookIdSerializer):
    deleted = serializers.BooleanField(default=True)


class ListedWebhookSerializer(WebhookIdSerializer):
    created_at = serializers.DateTimeField()
    status = serializers.SerializerMethodField(help_text="Resend's two words: whether anything is sent.")
    endpoint = serializers.CharField(source="url")
    events = serializers.SerializerMethodField()
    description = serializers.CharField()
    domain_id = serializers.UUIDField(allow_null=True)
    state = serializers.ChoiceField(
        choices=EndpointState.choices,
        help_text="`paused`: it failed for a day, and events wait. `gone`: it answered 410. `disabled`: somebody did that.",
    )
    state_reason = serializers.CharField()
    failures = serializers.IntegerField(help_text="Attempts that failed since the last success.")
    last_attempt_at = serializers.DateTimeField(allow_null=True)
    last_result = serializers.CharField()

    @extend_schema_field(serializers.ChoiceField(choices=STATUSES))
    def get_status(self, endpoint: WebhookEndpoint) -> str:
        return "enabled" if endpoint.state == EndpointState.ENABLED else "disabled"

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(choices=EVENT_NAMES)))
    def get_events(self, endpoint: WebhookEndpoint) -> list[str]:
        """All of them by name where all are wanted: Resend's clients know of no other form."""
        return [NAMES[one] for one in endpoint.event_types] or EVENT_NAMES


class WebhookSerializer(ListedWebhookSerializer):
    signing_secret = serializers.SerializerMethodField(help_text="Only for keys that may change things; else null.")

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_signing_secret(self, endpoint: WebhookEndpoint) -> str | None:
        secret: str | None = self.context["secret"]
        return secret


class RotatedWebhookSerializer(NewWebhookSerializer):
    old_secret_ends_at = serializers.DateTimeField(source="former_secret_until", allow_null=True)


class WebhookAttemptSerializer(serializers.Serializer[Any]):
    """From `relay.webhooks.attempts.Attempt`."""

    id = serializers.CharField()
    http_status_code = serializers.IntegerField(
        source="status", allow_null=True, help_text="Null: there was no answer."
    )
    response = serializers.CharField(help_text="The beginning of the answer's body.")
    sent_at = serializers.DateTimeField(source="at")
    duration_ms = serializers.FloatField(source="ms")
    error = serializers.CharField(help_text="Why it was not taken; empty: it was.")
    headers = serializers.SerializerMethodField(help_text="Of the request.")

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_headers(self, attempt: dict[str, Any]) -> dict[str, str]:
        return dict(attempt["headers"])


class ListedWebhookEventSerializer(serializers.Serializer[Any]):
    """One delivery. `status` is `state` in the words of Resend's API."""

    object = ObjectField("webhook_event")
    id = serializers.UUIDField()
    status = serializers.SerializerMethodField()
    endpoint_id = serializers.UUIDField()
    webhook_id = serializers.UUIDField(help_text="The header `webhook-id`: the event's id.")
    email_id = serializers.UUIDField(source="message_id", allow_null=True)
    type = serializers.CharField()
    cause = serializers.ChoiceField(choices=Cause.choices)
    created_at = serializers.SerializerMethodField()
    state = serializers.ChoiceField(choices=DeliveryState.choices)
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(allow_null=True)
    last_ms = serializers.FloatField(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(choices=DELIVERY_STATUSES))
    def get_status(self, delivery: WebhookDelivery) -> str:
        if delivery.state == DeliveryState.WAITING:
            return "attempting" if delivery.attempts else "pending"
        return "success" if delivery.state == DeliveryState.DELIVERED else "failed"

    @extend_schema_field(serializers.DateTimeField())
    def get_created_at(self, delivery: WebhookDelivery) -> Any:
        return serializers.DateTimeField().to_representation(time_of(delivery.pk))


class WebhookEventSerializer(ListedWebhookEventSerializer):
    payload = serializers.SerializerMethodField(help_text="As sent.")

    @extend_schema_field(serializers.DictField(child=serializers.JSONField()))
    def get_payload(self, delivery: WebhookDelivery) -> Any:
        return json.loads(delivery.body)


class ReplayedWebhookEventSerializer(serializers.Serializer[Any]):
    object = ObjectField("webhook_event")
    id = serializers.UUIDField(help_text="Of the new delivery.")


class WebhookReplaySerializer(serializers.Serializer[Any]):
    object = ObjectField("webhook_replay")
    id = serializers.UUIDField()
    endpoint_id = serializers.UUIDField()
    replayed = serializers.IntegerField(help_text="Until now.")
    ended_at = serializers.DateTimeField(allow_null=True)
