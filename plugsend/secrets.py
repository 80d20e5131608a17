"""The installation's own secrets: made on first use, kept in `var/secrets.env`, readable by their owner only.

Losing that file costs the DKIM private keys (they are encrypted with FIELD_ENCRYPTION_KEY) and every API key and
return path in circulation, so a backup of an installation is the database *and* this file.
"""

import base64
import secrets
from collections.abc import Callable
from pathlib import Path

from accounts.files import one_writer, read_settings, write_whole

FILE_NAME = "secrets.env"
HEAD = "# Made by PlugSend on its first start. Back this up together with the database.\n"

_MAKERS: dict[str, Callable[[], str]] = {
    "INSTANCE_ID": lambda: secrets.token_hex(4),
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "API_KEY_PEPPER": lambda: secrets.token_urlsafe(32),
    "FIELD_ENCRYPTION_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),  # a Fernet key
    "RETURN_PATH_KEY": lambda: secrets.token_urlsafe(32),
    "POSTGRES_PASSWORD": lambda: secrets.token_hex(24),  # hex: these two stand in URLs
    "VALKEY_PASSWORD": lambda: secrets.token_hex(24),
}


def load_or_create(var: Path) -> dict[str, str]:
    """All secrets of the installation whose state lies in `var`; what is missing is made and stored.

    Processes that race get the same values. Raises OSError when `var` cannot be read or written.
    """
    path = var / FILE_NAME
    found = read_settings(path)
    if not _complete(found):
        var.mkdir(parents=True, exist_ok=True)
        with one_writer(var):
            found = read_settings(path)
            if not _complete(found):
                found |= {key: make() for key, make in _MAKERS.items() if not found.get(key)}
                lines = "".join(f"{key}={value}\n" for key, value in found.items())
                write_whole(path, HEAD + lines)
    return {key: found[key] for key in _MAKERS}


def _complete(found: dict[str, str]) -> bool:
    return all(found.get(key) for key in _MAKERS)
