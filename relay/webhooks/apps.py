from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "relay.webhooks"
    label = "webhooks"
