from django.urls import path

from relay.webhooks import rest

_ONE = "webhooks/<uuid:endpoint_id>"
_EVENT = f"{_ONE}/events/<uuid:event_id>"

urlpatterns = [
    path("webhooks", rest.WebhooksView.as_view(), name="api_webhooks"),
    path(_ONE, rest.WebhookView.as_view(), name="api_webhook"),
    path(f"{_ONE}/signing-secret/rotate", rest.RotateWebhookView.as_view(), name="api_webhook_rotate"),
    path(f"{_ONE}/test", rest.TestWebhookView.as_view(), name="api_webhook_test"),
    path(f"{_ONE}/replay", rest.ReplayWebhookView.as_view(), name="api_webhook_replay"),
    path(f"{_ONE}/events", rest.WebhookDeliveriesView.as_view(), name="api_webhook_deliveries"),
    path(_EVENT, rest.WebhookDeliveryView.as_view(), name="api_webhook_delivery"),
    path(f"{_EVENT}/attempts", rest.WebhookAttemptsView.as_view(), name="api_webhook_attempts"),
    path(f"{_EVENT}/replay", rest.ReplayWebhookDeliveryView.as_view(), name="api_webhook_delivery_replay"),
]
