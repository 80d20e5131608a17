"""Where large messages and requests lie while they arrive, without a name."""

from pathlib import Path

from django.conf import settings


def spool_directory() -> Path:
    directory = Path(settings.VAR) / "spool"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory
