"""Finds passages of the pages, refusals, reasons and operations of the API, by SQLite's full-text search (FTS5) in memory.

All of it is the same for everybody and comes with the code, so the index is made once in each process, at the first search.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from threading import Lock

from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from accounts.catalogue import REFUSALS
from events.reasons import REASONS
from plugsend import api_docs
from plugsend.documentation.pages import pages, url_of

LONGEST_QUERY = 200  # characters
_OPEN, _CLOSE = "\x02", "\x03"
# What a word counts in the title, in a heading, in the text, in other names of the page.
_RANK = "bm25(passage, 10.0, 6.0, 1.0, 8.0)"


@dataclass(frozen=True, slots=True)
class Hit:
    """`title`: of the page and, behind a ›, of the passage. `snippet`: HTML in which what was found is marked."""

    title: str
    url: str
    section: str
    snippet: SafeString


@dataclass(frozen=True, slots=True)
class _Entry:
    title: str
    heading: str
    text: str
    url: str
    section: str
    names: str = ""  # other words for the whole page: its short title, its address


def find(query: str, limit: int = 10) -> list[Hit]:
    """The best first. All words must be in a passage, the last perhaps in part; where no passage has all, some."""
    words = _words(query[:LONGEST_QUERY])
    if not words:
        return []
    quoted = [f'"{word}"' for word in words[:-1]] + [f'"{words[-1]}" *']
    index = _index()
    return index.ask(" ".join(quoted), words, limit) or index.ask(" OR ".join(quoted), words, limit)


def _words(text: str) -> list[str]:
    """As FTS5's tokenizer sees them: an underscore parts words."""
    return re.findall(r"[^\W_]+", text)


class _Index:
    """One connection for all threads, which take turns: a search takes a millisecond."""

    def __init__(self, entries: Iterator[_Entry]) -> None:
        self._lock = Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE VIRTUAL TABLE passage USING fts5"
            "(title, heading, text, names, url UNINDEXED, section UNINDEXED, tokenize='porter unicode61', prefix='2 3')"
        )
        self._database.create_function("words", 1, lambda text: " ".join(_words(text)).lower(), deterministic=True)
        rows = [(entry.title, entry.heading, entry.text, entry.names, entry.url, entry.section) for entry in entries]
        self._database.executemany("INSERT INTO passage VALUES (?, ?, ?, ?, ?, ?)", rows)

    def ask(self, match: str, words: list[str], limit: int) -> list[Hit]:
        """Where a title is, or begins with, what was asked for, it comes first; a page of that name before its parts."""
        whole = " ".join(words).lower()
        with self._lock:
            rows = self._database.execute(
                f"SELECT title, heading, url, section, snippet(passage, 2, ?, ?, '…', 24) FROM passage WHERE passage MATCH ? "  # noqa: S608 - a constant
                f"ORDER BY {_RANK} - CASE WHEN words(title) = ? THEN 40 WHEN words(title) LIKE ? || '%' THEN 5 ELSE 0 END"
                " - CASE WHEN names <> '' AND words(title || ' ' || names) LIKE '%' || ? || '%' THEN 8 ELSE 0 END, url LIMIT ?",
                (_OPEN, _CLOSE, match, whole, whole, whole, limit),
            ).fetchall()
        return [_hit(*row) for row in rows]


def _hit(title: str, heading: str, url: str, section: str, snippet: str) -> Hit:
    marked = escape(snippet).replace(_OPEN, "<mark>").replace(_CLOSE, "</mark>")
    return Hit(f"{title} › {heading}" if heading else title, url, section, mark_safe(marked))  # noqa: S308


@cache
def _index() -> _Index:
    return _Index(_entries())


def _entries() -> Iterator[_Entry]:
    for page in pages().values():
        for passage in page.passages:
            url = url_of(page.slug, passage.id)
            names = "" if passage.heading else f"{page.short_title} {page.slug}"
            yield _Entry(page.title, passage.heading, passage.text, url, page.section, names)
    for refusal in REFUSALS.values():
        codes = f"{refusal.smtp} {refusal.enhanced}, HTTP {refusal.http}"
        detail = re.sub(r"\{(\w+)\}", r"<\1>", refusal.detail)
        text = f"{refusal.title}. {detail} {refusal.advice} {codes}"
        yield _Entry(refusal.code, "", text, reverse("error_help", args=[refusal.code]), "Error codes")
    for reason in REASONS.values():
        url = url_of("retries-and-reasons", reason.code)
        yield _Entry(reason.code, "", f"{reason.title}. {reason.advice}", url, "Reasons")
    for group in api_docs.groups():
        for operation in group.operations:
            url = f"{reverse('docs_api', args=[group.tag])}#{operation.id}"
            text = f"{operation.method} {operation.path}. {operation.text}"
            yield _Entry(operation.title, "", text, url, "API reference")
