"""What the files in `docs/` hold that is made of the code: tables, and snippets. `manage.py write_docs` renews it.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a fence that names a snippet holds it with plain values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from django.conf import settings

from accounts.catalogue import REFUSALS
from events.reasons import REASONS
from events.vocabulary import WORDS
from plugsend import api_docs
from plugsend.documentation.code import PLAIN
from plugsend.documentation.snippets import snippet
from relay.webhooks.payload import NAMES, TEST

_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SNIPPET = re.compile(r'(^```[^\n]* snippet="([\w-]+)"[^\n]*\n).*?(^```$)', re.DOTALL | re.MULTILINE)


def renewed(source: str) -> str:
    """A file's text with all that is generated in it made anew. Raises KeyError, TemplateDoesNotExist."""
    source = _TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", source)
    return _SNIPPET.sub(lambda found: f"{found[1]}{snippet(found[2], PLAIN)}\n{found[3]}", source)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _reasons() -> str:
    rows = ((f"`{reason.code}`", reason.title, reason.advice) for reason in REASONS.values())
    return _table(("reason", "what happened", "what to do"), rows)


def _events() -> str:
    return _table(("event", "what it means"), ((f"`{word.type}`", word.meaning) for word in WORDS.values()))


def _webhook_types() -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for event_type, name in NAMES.items():
            yield f"`{name}`", f"`{event_type}`", WORDS[event_type].meaning  # type: ignore[index]
        yield f"`{TEST}`", "", "The button *Send a test*, or `POST /api/v1/webhooks/{id}/test`."

    return _table(("type", "our event", "what it means"), rows())


def _refusals() -> str:
    rows = (
        (
            f"`{refusal.code}`",
            f"{refusal.smtp} {refusal.enhanced}",
            str(refusal.http),
            f"{refusal.title}. {refusal.advice}",
        )
        for refusal in REFUSALS.values()
    )
    return _table(("code", "SMTP", "HTTP", "what it means, what to do"), rows)


def _operations() -> str:
    rows = (
        (f"`{operation.method} {operation.path}`", operation.title)
        for group in api_docs.groups()
        for operation in group.operations
    )
    return _table(("operation", "what it does"), rows)


def _settings() -> str:
    """Of `.env.example`: under each of its headings the settings, with what is written above them there."""
    parts: list[str] = []
    rows: list[tuple[str, ...]] = []
    words: list[str] = []

    def close() -> None:
        if rows:
            parts.append(_table(("setting", "default or example", "what it does"), iter(rows)))
            rows.clear()

    lines = (settings.BASE_DIR / ".env.example").read_text(encoding="utf-8").splitlines()
    previous = ""
    for line in lines:
        if heading := re.fullmatch(r"# -{3,} (.*?) -+", line):
            close()
            parts.append(f"## {heading[1]}")
            words = []
        elif setting := re.fullmatch(r"#([A-Z][A-Z0-9_]*)=(.*)", line):
            value = f"`{setting[2]}`" if setting[2] else ""
            together = not words and previous == "setting" and rows
            text = "With the one above." if together else " ".join(words)
            rows.append((f"`{setting[1]}`", value, text))
            words = []
            previous = "setting"
            continue
        elif line.startswith("# "):
            if previous != "words":
                words = []
            words.append(_as_markdown(line[2:]))
            previous = "words"
            continue
        else:
            words = []
        previous = ""
    close()
    return "\n\n".join(parts)


def _as_markdown(text: str) -> str:
    """Names of settings as code; nothing in it is meant as markup."""
    text = re.sub(r"([*_<>\[\]])(?![A-Z_])", r"\\\1", text)
    return re.sub(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b", lambda found: f"`{found[0]}`", text)


TABLES: dict[str, Callable[[], str]] = {
    "reasons": _reasons,
    "events": _events,
    "webhook-types": _webhook_types,
    "refusals": _refusals,
    "operations": _operations,
    "settings": _settings,
}
