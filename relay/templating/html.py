"""HTML made fit for mail: style sheets written into the elements, and a text for those who read no HTML.

Runs in the process apart (`worker.py`): the libraries are quick, but some HTML keeps them busy or kills them.
"""

from __future__ import annotations

import re

from css_inline import CSSInliner, InlineError
from inscriptis import get_text
from inscriptis.model.config import ParserConfig

# Neither style sheets nor anything else is fetched. `@media` and `@font-face` stay in a style element.
_INLINER = CSSInliner(load_remote_stylesheets=False, keep_link_tags=True, keep_at_rules=True)
_TEXT = ParserConfig(display_links=True, display_anchors=False)
_STYLE = re.compile(r"<style\b", re.I)
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
# A value without quotes ends at the first blank, and what follows is another attribute.
_BARE_ATTRIBUTE = re.compile(r"<[a-z][^<>]*[\s\"'][\w:.-]+\s*=\s*$", re.I)


class StyleError(Exception):
    """A style sheet cannot be written into the elements."""


def inlined(html: str) -> str:
    """The same with the rules of its style elements as `style` attributes. Raises `StyleError`."""
    if not _STYLE.search(html):
        return html  # as it was written, octet for octet
    try:
        return _INLINER.inline(html)
    except InlineError as error:
        raise StyleError(f"the style sheet cannot be read: {error}"[:300]) from None


def text_of(html: str) -> str:
    """What the HTML says, links behind their texts."""
    if not html.strip():
        return ""
    lines = [line.rstrip() for line in get_text(html, _TEXT).replace("\0", "").splitlines()]
    text = _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()
    return f"{text}\n" if text else ""


def is_bare_attribute(text_before: str) -> bool:
    """Whether what is printed after this text would be an attribute's value without quotes."""
    return bool(_BARE_ATTRIBUTE.search(text_before[-2000:]))
