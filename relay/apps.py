from django.apps import AppConfig


class RelayConfig(AppConfig):
    name = "relay"

    def ready(self) -> None:
        from accounts.signals import deletion_changed
        from domains.signals import domain_lost
        from relay.deletion_hold import when_a_deletion_changes
        from relay.sender_loss import when_a_domain_is_lost

        deletion_changed.connect(when_a_deletion_changes, dispatch_uid="relay.deletion_hold")
        domain_lost.connect(when_a_domain_is_lost, dispatch_uid="relay.sender_loss")
