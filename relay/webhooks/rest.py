"""`/api/v1/webhooks`: Resend's operations, and ours beside them. They belong to the whole organization."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.models import Organization, Scope
from accounts.rest.access import credential_of, managing_whole_organization, reading_whole_organization
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from accounts.rest.openapi import may_refuse
from relay.webhooks import endpoints, replays
from relay.webhooks.models import WebhookDelivery, WebhookEndpoint
from relay.webhooks.payload import NAMES
from relay.webhooks.serializers import (
    CreateWebhookSerializer,
    DeletedWebhookSerializer,
    ListedWebhookEventSerializer,
    ListedWebhookSerializer,
    NewWebhookSerializer,
    ReplayedWebhookEventSerializer,
    ReplayWebhookSerializer,
    RotatedWebhookSerializer,
    RotateWebhookSecretSerializer,
    UpdateWebhookSerializer,
    WebhookAttemptSerializer,
    WebhookEventSerializer,
    WebhookEventsQuery,
    WebhookIdSerializer,
    WebhookReplaySerializer,
    WebhookSerializer,
)

_ID = {"object": "webhook", "id": "0199c6a1-7c00-7e55-9d00-1a2b3c4d5e6f"}
_SECRET = {"signing_secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}
_WEBHOOK = _ID | {
    "created_at": "2026-11-26T08:00:00Z",
    "status": "enabled",
    "endpoint": "https://example.com/webhooks",
    "events": ["email.bounced", "email.delivered"],
    "description": "Orders",
    "domain_id": None,
    "state": "enabled",
    "state_reason": "",
    "failures": 0,
    "last_attempt_at": "2026-11-26T09:41:02Z",
    "last_result": "200, in 84 ms",
}
_DELIVERY = {
    "object": "webhook_event",
    "id": "0199c6fd-3c00-7f66-9d00-1a2b3c4d5e6f",
    "status": "success",
    "endpoint_id": _ID["id"],
    "webhook_id": "0199c6fd-3400-7a11-9d00-1a2b3c4d5e6f",
    "email_id": "0199c6fd-2c00-7c22-9d00-1a2b3c4d5e6f",
    "type": "email.delivered",
    "cause": "event",
    "created_at": "2026-11-26T09:41:00Z",
    "state": "delivered",
    "attempts": 1,
    "next_attempt_at": None,
    "last_status": 200,
    "last_ms": 84.2,
}
_WHOLE_DELIVERY = _DELIVERY | {
    "payload": {
        "type": "email.delivered",
        "created_at": "2026-11-26T09:40:58.000Z",
        "data": {"email_id": _DELIVERY["email_id"], "to": ["bob@example.net"], "subject": "Your receipt"},
    },
}
_ATTEMPT = {
    "id": "0199c6fd-3c00-7f66-9d00-1a2b3c4d5e6f-1",
    "http_status_code": 200,
    "response": "ok",
    "sent_at": "2026-11-26T09:41:02Z",
    "duration_ms": 84.2,
    "error": "",
    "headers": {"webhook-id": _DELIVERY["webhook_id"], "webhook-timestamp": "1795686062"},
}
_WAITING = _DELIVERY | {
    "cause": "test", "type": "webhook.test", "email_id": None, "status": "pending", "state": "waiting", "attempts": 0,
    "next_attempt_at": "2026-11-26T10:00:00Z", "last_status": None, "last_ms": None,
}  # fmt: skip


class WebhooksView(APIView):
    @extend_schema(
        operation_id="webhooks_list",
        parameters=[ListQuery],
        responses=list_of(ListedWebhookSerializer),
        examples=[OpenApiExample("Webhooks", list_answer([_WEBHOOK], has_more=False), response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request) -> Response:
        """List webhooks. The newest first."""
        page, _ = read_query(request)
        rows, has_more = page.cut(WebhookEndpoint.objects.of(reading_whole_organization(request)))
        return Response(list_answer(ListedWebhookSerializer(rows, many=True).data, has_more=has_more))

    @extend_schema(
        operation_id="webhooks_create",
        request=CreateWebhookSerializer,
        responses={201: NewWebhookSerializer},
        examples=[
            OpenApiExample(
                "For bounces and complaints",
                {"endpoint": "https://example.com/webhooks", "events": ["email.bounced", "email.complained"]},
                request_only=True,
            ),
            OpenApiExample(
                "For all events of a domain",
                {"endpoint": "https://example.com/webhooks", "domain": "example.com", "description": "Orders"},
                request_only=True,
            ),
            OpenApiExample("With its secret", _ID | _SECRET, response_only=True, status_codes=["201"]),
        ],
    )
    @may_refuse("key_restricted_to_domain", "webhook_url_invalid", "too_many_webhooks", "not_found")
    @idempotent("webhooks.create")
    def post(self, request: Request) -> Response:
        """Create a webhook. Events from now on are sent to it, signed with the secret in the answer."""
        organization = managing_whole_organization(request)
        serializer = CreateWebhookSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        changes = _changes(organization, serializer.validated_data)
        endpoint = endpoints.create_endpoint(organization, changes.pop("url"), **changes, by=actor_of(request))
        return Response(_with_secret(endpoint), status=201)


class WebhookView(APIView):
    @extend_schema(
        operation_id="webhooks_get",
        responses=WebhookSerializer,
        examples=[OpenApiExample("A webhook", _WEBHOOK | _SECRET, response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Get a webhook. With its signing secret, where the key may change things."""
        endpoint = _find(reading_whole_organization(request), endpoint_id)
        may = Scope.FULL.value in credential_of(request).scopes
        secret = endpoints.reveal_secret(endpoint, by=actor_of(request)) if may else None
        return Response(WebhookSerializer(endpoint, context={"secret": secret}).data)

    @extend_schema(
        operation_id="webhooks_update",
        request=UpdateWebhookSerializer,
        responses=WebhookIdSerializer,
        examples=[
            OpenApiExample("Other events", {"events": ["email.bounced"]}, request_only=True),
            OpenApiExample("Not any more", {"status": "disabled"}, request_only=True),
            OpenApiExample("Changed", _ID, response_only=True),
        ],
    )
    @may_refuse("key_restricted_to_domain", "webhook_url_invalid")
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Change a webhook. In effect within a second; what waits for one that is disabled is cancelled."""
        organization = managing_whole_organization(request)
        endpoint = _find(organization, endpoint_id)
        serializer = UpdateWebhookSerializer(data=request.data, context={"id": endpoint_id})
        serializer.is_valid(raise_exception=True)
        if changes := _changes(organization, serializer.validated_data):
            endpoints.change_endpoint(endpoint, changes, by=actor_of(request))
        match serializer.validated_data.get("status"):
            case "enabled":
                endpoints.enable(endpoint, by=actor_of(request))
            case "disabled":
                endpoints.disable(endpoint, by=actor_of(request))
        return Response(WebhookIdSerializer(endpoint).data)

    @extend_schema(
        operation_id="webhooks_delete",
        responses={200: DeletedWebhookSerializer},
        examples=[OpenApiExample("Removed", _ID | {"deleted": True}, response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Remove a webhook. What waits for it is cancelled."""
        endpoint = _find(managing_whole_organization(request), endpoint_id)
        if not endpoints.remove_endpoint(endpoint, by=actor_of(request)):
            raise Refused("not_found", thing="webhook")
        return Response(DeletedWebhookSerializer({"id": endpoint_id, "deleted": True}).data)


class RotateWebhookView(APIView):
    @extend_schema(
        operation_id="webhooks_rotate",
        request=RotateWebhookSecretSerializer,
        responses={201: RotatedWebhookSerializer},
        examples=[
            OpenApiExample("Both sign for two days", {"keep_old_hours": 48}, request_only=True),
            OpenApiExample(
                "The new secret",
                _ID | _SECRET | {"old_secret_ends_at": "2026-11-28T08:00:00Z"},
                response_only=True,
                status_codes=["201"],
            ),
        ],
    )
    @may_refuse("key_restricted_to_domain")
    @idempotent("webhooks.rotate")
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Rotate the signing secret. Until the old one ends, what is sent carries a signature by each."""
        endpoint = _find(managing_whole_organization(request), endpoint_id)
        serializer = RotateWebhookSecretSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        secret = endpoints.rotate_secret(endpoint, keep_former=serializer.keep_former(), by=actor_of(request))
        told = {"id": endpoint.pk, "signing_secret": secret, "former_secret_until": endpoint.former_secret_until}
        return Response(RotatedWebhookSerializer(told).data, status=201)


class TestWebhookView(APIView):
    @extend_schema(
        operation_id="webhooks_test",
        request=None,
        responses={201: ListedWebhookEventSerializer},
        examples=[
            OpenApiExample(
                "It is sent in a moment",
                _WAITING,
                response_only=True,
                status_codes=["201"],
            )
        ],
    )
    @may_refuse("key_restricted_to_domain", "webhook_not_enabled")
    @idempotent("webhooks.test")
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Send a test. An event of the type `webhook.test`, sent as all others are."""
        delivery = endpoints.send_test(_find(managing_whole_organization(request), endpoint_id), by=actor_of(request))
        return Response(ListedWebhookEventSerializer(delivery).data, status=201)


class ReplayWebhookView(APIView):
    @extend_schema(
        operation_id="webhooks_replay",
        request=ReplayWebhookSerializer,
        responses={202: WebhookReplaySerializer},
        examples=[
            OpenApiExample(
                "What failed last night",
                {"since": "2026-11-25T20:00:00Z", "until": "2026-11-26T06:00:00Z", "state": "failed"},
                request_only=True,
            ),
            OpenApiExample(
                "It is under way",
                {"object": "webhook_replay", "id": "0199c6fd-3c00-7f77-9d00-1a2b3c4d5e6f", "endpoint_id": _ID["id"],
                 "replayed": 0, "ended_at": None},
                response_only=True,
                status_codes=["202"],
            ),
        ],
    )  # fmt: skip
    @may_refuse(
        "key_restricted_to_domain", "webhook_not_enabled", "webhook_nothing_to_replay", "webhook_replay_too_large",
        "webhook_replay_under_way",
    )  # fmt: skip
    @idempotent("webhooks.replay")
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Send past deliveries again. In the background, at most 10,000; each keeps its `webhook-id`."""
        endpoint = _find(managing_whole_organization(request), endpoint_id)
        serializer = ReplayWebhookSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        replay = replays.request_replay(
            endpoint, since=asked["since"], until=asked.get("until"), type_=asked.get("event", ""),
            state=asked.get("state", ""), by=actor_of(request),
        )  # fmt: skip
        return Response(WebhookReplaySerializer(replay).data, status=202)


class WebhookDeliveriesView(APIView):
    @extend_schema(
        operation_id="webhooks_events_list",
        parameters=[WebhookEventsQuery],
        responses=list_of(ListedWebhookEventSerializer),
        examples=[OpenApiExample("Deliveries", list_answer([_DELIVERY], has_more=False), response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """List deliveries of a webhook. The newest first."""
        organization = reading_whole_organization(request)
        endpoint = _find(organization, endpoint_id)
        page, values = read_query(request, WebhookEventsQuery)
        rows = WebhookDelivery.objects.of(organization).filter(endpoint_id=endpoint.pk).defer("body", "log")
        if "event" in values:
            rows = rows.filter(type=values["event"])
        if "state" in values:
            rows = rows.filter(state=values["state"])
        if "email_id" in values:
            rows = rows.filter(message_id=values["email_id"])
        found, has_more = page.cut(rows)
        return Response(list_answer(ListedWebhookEventSerializer(found, many=True).data, has_more=has_more))


class WebhookDeliveryView(APIView):
    @extend_schema(
        operation_id="webhooks_events_get",
        responses=WebhookEventSerializer,
        examples=[OpenApiExample("A delivery", _WHOLE_DELIVERY, response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request, endpoint_id: UUID, event_id: UUID) -> Response:
        """Get a delivery. With what was sent."""
        delivery = _find_delivery(reading_whole_organization(request), endpoint_id, event_id)
        return Response(WebhookEventSerializer(delivery).data)


class WebhookAttemptsView(APIView):
    @extend_schema(
        operation_id="webhooks_events_attempts",
        responses=list_of(WebhookAttemptSerializer),
        examples=[OpenApiExample("Attempts", list_answer([_ATTEMPT], has_more=False), response_only=True)],
    )
    @may_refuse("key_restricted_to_domain")
    def get(self, request: Request, endpoint_id: UUID, event_id: UUID) -> Response:
        """List attempts of a delivery. The oldest first; all of them, as there are no more than some twenty."""
        delivery = _find_delivery(reading_whole_organization(request), endpoint_id, event_id)
        log = [{**attempt, "id": f"{delivery.pk}-{number}"} for number, attempt in enumerate(delivery.log, 1)]
        return Response(list_answer(WebhookAttemptSerializer(log, many=True).data, has_more=False))


class ReplayWebhookDeliveryView(APIView):
    @extend_schema(
        operation_id="webhooks_events_replay",
        request=None,
        responses={201: ReplayedWebhookEventSerializer},
        examples=[
            OpenApiExample(
                "It is sent in a moment",
                {"object": "webhook_event", "id": _DELIVERY["id"]},
                response_only=True,
                status_codes=["201"],
            ),
        ],
    )
    @may_refuse("key_restricted_to_domain", "webhook_not_enabled")
    @idempotent("webhooks.events.replay")
    def post(self, request: Request, endpoint_id: UUID, event_id: UUID) -> Response:
        """Send a delivery again. A new delivery with the same `webhook-id` and payload."""
        delivery = _find_delivery(managing_whole_organization(request), endpoint_id, event_id)
        copy = replays.replay(delivery, by=actor_of(request))
        return Response(ReplayedWebhookEventSerializer(copy).data, status=201)


def _find(organization: Organization, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = WebhookEndpoint.objects.of(organization).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise Refused("not_found", thing="webhook")
    return endpoint


def _find_delivery(organization: Organization, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    endpoint = _find(organization, endpoint_id)
    found = WebhookDelivery.objects.of(organization).filter(pk=delivery_id, endpoint_id=endpoint.pk).first()
    if found is None:
        raise Refused("not_found", thing="webhook delivery")
    return found


def _changes(organization: Organization, asked: dict[str, Any]) -> dict[str, Any]:
    """From the request's members to `endpoints.change_endpoint`'s. Raises `Refused`."""
    changes: dict[str, Any] = {"description": asked["description"]} if "description" in asked else {}
    if "endpoint" in asked:
        changes["url"] = asked["endpoint"]
    if "events" in asked:
        changes["event_types"] = [] if len(asked["events"]) == len(NAMES) else asked["events"]
    if "domain" in asked:
        domain = asked["domain"]
        changes["domain_id"] = endpoints.domain_of(organization, domain) if domain else None
    return changes


def _with_secret(endpoint: WebhookEndpoint) -> dict[str, Any]:
    told = {"id": endpoint.pk, "signing_secret": endpoints.secrets_of(endpoint)[0]}
    return dict(NewWebhookSerializer(told).data)
