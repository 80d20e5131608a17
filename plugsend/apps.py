from django.apps import AppConfig


class PlugsendConfig(AppConfig):
    name = "plugsend"

    def ready(self) -> None:
        # Every Django process sends its wake-ups through this Celery application.
        from plugsend import celery  # noqa: F401
