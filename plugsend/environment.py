"""Reads the environment, the only source of configuration (`.env.example` lists every setting).

Secrets that are not set are generated once into `var/secrets.env` (mode 0600) by `plugsend.secrets`. While
`script/server` runs, `var/up.env` tells where its engines and ports are, so that `manage.py` by hand finds them.
"""

import os
from pathlib import Path

from accounts.files import read_settings
from plugsend import secrets

BASE_DIR = Path(__file__).resolve().parent.parent


VAR = Path(os.environ.get("PLUGSEND_VAR", "").strip() or BASE_DIR / "var").resolve()


try:
    _running = read_settings(VAR / "up.env")
except PermissionError:  # somebody else's
    _running = {}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or _running.get(name, default)


def number(name: str, default: int) -> int:
    value = text(name)
    try:
        return int(value) if value else default
    except ValueError:
        raise SystemExit(f"{name} must be a whole number, not {value!r}.") from None


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def flag(name: str, *, default: bool = False) -> bool:
    value = text(name).lower()
    return value in {"1", "true", "yes", "on"} if value else default


def secret(name: str) -> str:
    """From the environment, else from the generated file of this installation."""
    return text(name) or secrets.load_or_create(VAR)[name]
