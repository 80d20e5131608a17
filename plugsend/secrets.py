"""The installation's own secrets: made on first use, kept in `var/secrets.env`, readable by their owner only.

Losing that file costs the DKIM private keys (they are encrypted with FIELD_ENCRYPTION_KEY) and every API key and
return path in circulation, so a backup of an installation is the database *and* this file.
"""

import base64
import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_NAME = "secrets.env"

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
    found = _read(path)
    if not _complete(found):
        var.mkdir(parents=True, exist_ok=True)
        with _one_writer(var):
            found = _read(path)
            if not _complete(found):
                found |= {key: make() for key, make in _MAKERS.items() if not found.get(key)}
                _write(path, found)
    return {key: found[key] for key in _MAKERS}


def _complete(found: dict[str, str]) -> bool:
    return all(found.get(key) for key in _MAKERS)


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _write(path: Path, values: dict[str, str]) -> None:
    # mkstemp makes the file 0600, and a rename is all or nothing: a reader never sees half of it.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write("# Made by PlugSend on its first start. Back this up together with the database.\n")
            file.writelines(f"{key}={value}\n" for key, value in values.items())
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _one_writer(directory: Path) -> Iterator[None]:
    """Holds the directory itself as the lock, so that no lock file is left lying about."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
