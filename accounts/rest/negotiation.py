"""Which form an answer has: JSON, always. Clients that want something else alone are told so."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

JSON = "application/json"
PROBLEM = "application/problem+json"
_FITTING = frozenset({"*/*", "application/*", "application/*+json", JSON, PROBLEM})


def media_ranges(accept: str) -> set[str]:
    """Of an Accept header, without those of quality 0 (RFC 9110, 12.5.1)."""
    found = set()
    for part in accept.lower().split(","):
        media, *parameters = (word.strip() for word in part.split(";"))
        if not any(parameter.removeprefix("q=").strip("0.") == "" for parameter in parameters if parameter[:2] == "q="):
            found.add(media)
    return found - {""}


def problem_media_type(accept: str) -> str:
    """For those who take plain JSON alone (Resend's Python SDK looks at nothing else) a problem document is that."""
    ranges = media_ranges(accept) if accept else set()
    return JSON if JSON in ranges and not ranges & (_FITTING - {JSON}) else PROBLEM


@lru_cache(maxsize=1000)
def is_acceptable(accept: str) -> bool:
    """Whether whoever sends this header can be answered in JSON."""
    ranges = media_ranges(accept)
    return not ranges or bool(ranges & _FITTING)


def media_type_of(content_type: str) -> str:
    """Without parameters: RFC 8259, 8.1 leaves nothing to them."""
    return content_type.partition(";")[0].strip().lower()


class JsonOnly(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: Any) -> Any:
        """None: 415."""
        media = media_type_of(request.content_type or "")
        return next((parser for parser in parsers if parser.media_type == media), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        if not is_acceptable(request.META.get("HTTP_ACCEPT", "")):
            raise NotAcceptable(available_renderers=renderers)
        return renderers[0], renderers[0].media_type
