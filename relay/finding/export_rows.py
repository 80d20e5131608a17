"""The rows of an export, one for each recipient or suppression: CSV for spreadsheets (RFC 4180), JSON lines for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from accounts.audit_export import safe_cell
from accounts.models import ApiKey, Organization
from domains.models import SendingDomain, SmtpUser
from events.reasons import REASONS
from relay.models import ExportKind, Message, MessageExport, MessageExportPiece, Recipient, Suppression

COLUMNS = [
    "id", "submitted_at", "recipient", "state", "state_at", "reason", "reason_in_words", "attempts", "last_reply", "from",
    "envelope_sender", "subject", "message_id", "tags", "metadata", "scheduled_at", "size_bytes", "door", "domain", "smtp_user",
    "api_key", "recipient_id",
]  # fmt: skip
# In words that an import takes again (relay.suppressing.importing).
SUPPRESSION_COLUMNS = ["email", "stream", "reason", "note", "created_at", "source_id", "reply", "added_by", "id"]
_NAMES_KEPT = 10_000


def header_of(kind: str, format_: str) -> str:
    columns = SUPPRESSION_COLUMNS if kind == ExportKind.SUPPRESSIONS else COLUMNS
    return _csv_line(columns) if format_ == "csv" else ""


def suppression_row(one: Suppression, format_: str) -> str:
    values = [
        one.address, one.stream, one.reason, one.note, one.created_at, one.message_id, one.reply or None, one.added_by or None,
        one.pk,
    ]  # fmt: skip
    return _row(SUPPRESSION_COLUMNS, values, format_)


class Names:
    """What ids of domains, SMTP users and API keys are called; those that are gone have no name."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization
        self._names: dict[UUID, str] = {}

    def learn(self, messages: Sequence[Message]) -> None:
        if len(self._names) > _NAMES_KEPT:
            self._names.clear()
        self._ask(SendingDomain, "name", (one.domain_id for one in messages))
        self._ask(SmtpUser, "address", (one.smtp_user_id for one in messages))
        self._ask(ApiKey, "name", (one.api_key_id for one in messages))

    def _ask(self, model: Any, field: str, ids: Iterable[UUID | None]) -> None:
        unknown = {one for one in ids if one and one not in self._names}
        if unknown:
            found = dict(model.objects.of(self._organization).filter(pk__in=unknown).values_list("pk", field))
            self._names |= {one: found.get(one, "") for one in unknown}

    def row(self, message: Message, recipient: Recipient, format_: str) -> str:
        reason = REASONS.get(recipient.reason)
        values: list[Any] = [
            message.pk, message.submitted_at, recipient.address, recipient.state, recipient.state_at, recipient.reason or None,
            reason.title if reason else None, recipient.attempts, recipient.last_reply or None, message.header_from,
            message.envelope_sender, message.subject, message.message_id_header, message.tags, message.metadata,
            message.scheduled_at, message.size_bytes, message.door, self._named(message.domain_id),
            self._named(message.smtp_user_id), self._named(message.api_key_id), recipient.pk,
        ]  # fmt: skip
        return _row(COLUMNS, values, format_)

    def _named(self, identifier: UUID | None) -> str | None:
        return self._names.get(identifier) or None if identifier else None


class Writer:
    """Gathers text and stores it in pieces. Changes the export's figures, which the caller saves."""

    def __init__(self, export: MessageExport, piece_bytes: int) -> None:
        self._export, self._piece_bytes = export, piece_bytes
        self._waiting = bytearray()

    def write(self, text: str) -> None:
        self._waiting += text.encode(errors="replace")
        if len(self._waiting) >= self._piece_bytes:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        MessageExportPiece.objects.create(
            export=self._export, number=self._export.pieces_written, content=bytes(self._waiting)
        )
        self._export.pieces_written += 1
        self._export.size_bytes += len(self._waiting)
        self._waiting.clear()


def _row(columns: Sequence[str], values: Sequence[Any], format_: str) -> str:
    if format_ == "csv":
        return _csv_line([safe_cell(_cell(value)) for value in values])
    plain = {name: _plain(value) for name, value in zip(columns, values, strict=True)}
    return json.dumps(plain, ensure_ascii=False) + "\n"


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return str(_plain(value))


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value
