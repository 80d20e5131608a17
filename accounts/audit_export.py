"""The audit log as files: CSV for spreadsheets, JSON lines for programs. Operators are not named in them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from accounts.audit_search import CHUNK
from accounts.audit_words import told, who
from accounts.models import AuditEntry

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
COLUMNS = [
    "id", "time", "actor_kind", "actor_id", "actor", "client", "action", "in_words", "object_type", "object_id", "object",
    "before", "after",
]  # fmt: skip
# What spreadsheets take for a formula's beginning.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """The members of an entry, in exports and over REST."""
    actor = who(entry)
    return {
        "object": "audit_entry",
        "id": str(entry.pk),
        "created_at": entry.occurred_at.isoformat().replace("+00:00", "Z"),
        "actor": {"kind": actor.kind, "id": str(actor.id) if actor.id else None, "name": actor.name},
        "client": actor.client,
        "action": entry.action,
        "target": {
            "type": entry.object_type,
            "id": str(entry.object_id) if entry.object_id else None,
            "name": entry.object_name,
        },
        "text": told(entry).sentence,
        "before": entry.before,
        "after": entry.after,
    }


def in_pieces(lines: Iterator[str]) -> Iterator[str]:
    """As many at once as are read at once: each piece that is sent has the walls between tenants put up for it."""
    while piece := "".join(islice(lines, CHUNK)):
        yield piece


def json_lines(entries: Iterable[AuditEntry]) -> Iterator[str]:
    for entry in entries:
        yield json.dumps(as_json(entry), ensure_ascii=False) + "\n"


def csv_lines(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """RFC 4180. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for entry in entries:
        yield writer.writerow([safe_cell(value) for value in _row(entry)])


def safe_cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(entry: AuditEntry) -> list[str]:
    actor = who(entry)
    values = [
        entry.pk, entry.occurred_at.isoformat(), actor.kind, actor.id, actor.name, actor.client, entry.action,
        told(entry).sentence, entry.object_type, entry.object_id, entry.object_name, _cell(entry.before), _cell(entry.after),
    ]  # fmt: skip
    return ["" if value is None else str(value) for value in values]


def _cell(fields: dict[str, Any] | None) -> str | None:
    return json.dumps(fields, ensure_ascii=False) if fields else None


class _Line:
    """A file whose `write` hands the line back."""

    def write(self, line: str) -> str:
        return line
