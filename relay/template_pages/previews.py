"""Where a preview's HTML waits for the frame that shows it: in the cache, for minutes, one of each member."""

from __future__ import annotations

import re
from hashlib import sha256
from uuid import UUID

from django.core.cache import cache

KEPT_S = 300
# Which scheme the reader of a mail prefers, the reader of the preview chooses.
_SCHEME = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.I)
_ALWAYS, _NEVER = "(min-width: 0)", "(max-width: 0)"
_HEAD = re.compile(r"<head\b[^>]*>", re.I)
# Links open nowhere: the sandbox forbids new windows, and `_blank` keeps them from replacing the preview.
_BASE = '<base target="_blank">'
_FRAME = f'<!doctype html><html><head><meta charset="utf-8">{_BASE}</head><body>'
GONE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Preview</title><style>body{margin:24px;font:15px/1.5 '
    "system-ui,sans-serif;color:#5d5d59}</style></head><body>This preview is over. Change something, or press Preview."
    "</body></html>"
)


def keep(member_id: UUID, html: str) -> str:
    """Returns the digest by which it is asked for. The member's preview before it is gone then."""
    digest = sha256(html.encode()).hexdigest()[:32]
    cache.set(_key(member_id), (digest, html), KEPT_S)
    return digest


def kept(member_id: UUID, digest: str, *, is_dark: bool) -> str:
    """A whole document; serve it with `relay.reading.preview.preview_policy`, which lets no script in it run."""
    found = cache.get(_key(member_id))
    if not found or found[0] != digest:
        return GONE
    html = _SCHEME.sub(lambda scheme: _ALWAYS if (scheme[1].lower() == "dark") == is_dark else _NEVER, found[1])
    head = _HEAD.search(html)
    return html[: head.end()] + _BASE + html[head.end() :] if head else _FRAME + html


def _key(member_id: UUID) -> str:
    return f"template-preview:{member_id}"
