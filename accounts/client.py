"""From where a request comes."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings


def client_address(meta: Mapping[str, Any]) -> str:
    """Who speaks to us; behind a proxy, who spoke to it."""
    address = str(meta.get("REMOTE_ADDR", ""))
    if settings.BEHIND_PROXY:
        forwarded = meta.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        return forwarded or address
    return address
