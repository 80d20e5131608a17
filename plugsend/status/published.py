"""What the watch tells the web processes without the database: in Valkey, for other machines, and in a file of this one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.core.cache import cache

from accounts.files import write_whole
from plugsend.status.components import COMPONENTS, State

logger = logging.getLogger(__name__)

KEY, KEPT_S = "status:published", 24 * 3600
Published = tuple[
    dict[str, tuple[State, datetime]], datetime
]  # by component its state and since when; when it was found


def publish(states: Mapping[str, tuple[State, datetime]], at: datetime) -> None:
    told = {
        "at": at.isoformat(),
        "states": {code: [state, since.isoformat()] for code, (state, since) in states.items()},
    }
    text = json.dumps(told)
    for tell in (lambda: cache.set(KEY, text, KEPT_S), lambda: write_whole(_file(), text, mode=0o644)):
        try:
            tell()
        except Exception as error:  # no Valkey, no room: the other way may do
            logger.warning("The status cannot be published: %s", error)


def published() -> Published | None:
    """The newest that can be read."""
    found = [parsed for text in (_of_cache(), _of_file()) if (parsed := _parse(text))]
    return max(found, key=lambda one: one[1], default=None)


def _file() -> Path:
    return Path(settings.VAR) / "status.json"


def _of_cache() -> str:
    try:
        return str(cache.get(KEY) or "")
    except Exception:
        return ""


def _of_file() -> str:
    try:
        return _file().read_text()
    except OSError:
        return ""


def _parse(text: str) -> Published | None:
    try:
        told = json.loads(text)
        states = {
            code: (State(state), datetime.fromisoformat(since))
            for code, (state, since) in told["states"].items()
            if code in COMPONENTS
        }
        return states, datetime.fromisoformat(told["at"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
