from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class PlugsendConfig(AppConfig):
    name = "plugsend"

    def ready(self) -> None:
        # Every Django process sends its wake-ups through this Celery application.
        from plugsend import celery  # noqa: F401

        post_migrate.connect(when_migrated, sender=_last_told())


def _last_told() -> AppConfig:
    """Of the apps that the signal is sent for, which are those with models: then all tables are there."""
    return [app for app in apps.get_app_configs() if app.models_module is not None][-1]


def when_migrated(using: str, **_: Any) -> None:
    from accounts import row_security

    if using == "default":
        row_security.lay()
