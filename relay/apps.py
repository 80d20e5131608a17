from django.apps import AppConfig


class RelayConfig(AppConfig):
    name = "relay"

    def ready(self) -> None:
        from domains.signals import domain_lost
        from relay.sender_loss import when_a_domain_is_lost

        domain_lost.connect(when_a_domain_is_lost, dispatch_uid="relay.sender_loss")
