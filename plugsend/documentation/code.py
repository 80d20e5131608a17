"""Blocks of code: coloured by Pygments, and filled with what is the reader's own.

The files in `docs/` hold placeholders, so that they read well anywhere. Two things fill them. A block that names a snippet is
made anew of its template (`snippets.py`), where each value is written as the language wants it. In all other code the
placeholders are replaced, and then only by values that mean the same in every language, bare and in any quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

USER, DOMAIN = "admin@yourdomain.com", "yourdomain.com"
HOST, PORT, URL = "smtp.plugsend.example", 587, "https://plugsend.example"
PASSWORD = "ps_live_…"  # noqa: S105 - never filled in
RECIPIENT = "you@example.com"

# Each whole: no longer name that merely begins or ends so, but names below the domain and other addresses on it.
_END = r"(?![\w-]|\.\w)"
_PLACEHOLDERS = re.compile(
    rf"{re.escape(URL)}{_END}|(?<![\w.-]){re.escape(HOST)}(?::{PORT}\b)?{_END}"
    rf"|(?<![\w.+-]){re.escape(USER)}{_END}|(?<![\w-]){re.escape(DOMAIN)}{_END}"
)
# Nothing that a shell, a string in any quotes, JSON or HTML would take for more than itself.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Values:
    """What stands in code in place of the placeholders."""

    user: str = USER
    host: str = HOST
    port: int = PORT
    url: str = URL
    recipient: str = RECIPIENT
    sandbox: bool = False

    @property
    def domain(self) -> str:
        return self.user.rpartition("@")[2]

    @property
    def is_readers_own(self) -> bool:
        return self.user != USER


PLAIN = Values()  # as in the files


def platform_values(user: str = USER) -> Values:
    """Where the doors of this platform are; `user`: an SMTP user's address."""
    return Values(
        user=user,
        host=settings.SMTP_PUBLIC_HOST,
        port=settings.SMTP_PORT,
        url=settings.WEB_URL,
        recipient="hello@example.test" if settings.SANDBOX else RECIPIENT,
        sandbox=settings.SANDBOX,
    )


def fill(code: str, values: Values) -> str:
    """Replaces the placeholders. An address that some language would have to escape is left out: the placeholder stays."""
    user = values.user if _PLAIN.fullmatch(values.user) else USER
    by = {
        URL: values.url,
        f"{HOST}:{PORT}": f"{values.host}:{values.port}",
        HOST: values.host,
        USER: user,
        DOMAIN: values.domain if user == values.user else DOMAIN,
    }
    return _PLACEHOLDERS.sub(lambda found: by[found[0]], code)


def has_placeholders(code: str) -> bool:
    return _PLACEHOLDERS.search(code) is not None


@cache
def _lexer(language: str) -> Lexer | None:
    """None: not to be coloured."""
    options = {"startinline": True} if language == "php" else {}
    try:
        return get_lexer_by_name(language, stripnl=False, **options) if language not in ("", "text") else None
    except ClassNotFound:
        return None


_FORMATTER = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=2048)
def coloured(code: str, language: str) -> SafeString:
    """HTML with the classes that `plugsend/styles/documentation.css` colours."""
    lexer = _lexer(language)
    if lexer is None:
        return escape(code)
    return mark_safe(highlight(code, lexer, _FORMATTER).rstrip("\n"))  # noqa: S308 - Pygments escapes what it is given
