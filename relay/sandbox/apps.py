from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "relay.sandbox"
    label = "sandbox"
