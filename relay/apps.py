from django.apps import AppConfig


class RelayConfig(AppConfig):
    name = "relay"

    def ready(self) -> None:
        from accounts.signals import mail_hold_changed
        from domains.signals import domain_lost
        from relay.mail_hold import when_a_hold_changes
        from relay.sender_loss import when_a_domain_is_lost

        mail_hold_changed.connect(when_a_hold_changes, dispatch_uid="relay.mail_hold")
        domain_lost.connect(when_a_domain_is_lost, dispatch_uid="relay.sender_loss")
