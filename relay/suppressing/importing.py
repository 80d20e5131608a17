"""Lists of addresses read into the suppressions in the background: a CSV with a header line, or an address a line.

What was uploaded is kept in pieces of whole lines. A piece's suppressions, its counts and how far the import has come stand in
one transaction, so that whoever goes on, after a crash or when another import has had its turn, begins exactly there. One
process at a time works on imports, and all of them take turns.
"""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.ids import uuid7
from accounts.models import Organization
from domains.streams import is_stream
from events.reasons import REASONS
from relay.models import NOTE_LENGTH, OPEN_IMPORTS, ImportState, SuppressionImport, SuppressionImportPiece
from relay.suppressing.suppressions import MANUAL, TITLES, normalized
from relay.upkeep import work_off

logger = logging.getLogger(__name__)

LOCK = 7251
MOST_BYTES = 40 * 1024 * 1024
MOST_LINES = 1_000_000
LINE_BYTES = 4096
PIECE_LINES = 2000
REFUSALS_MOST = 1000  # told; the others are counted
KEPT_DAYS = 30
LONGEST_REST_S = 0.2
TRIES = 5
ADDRESS_COLUMNS = ("email", "address", "email address", "e-mail", "recipient")
_ENDED = (ImportState.DONE, ImportState.CANCELLED, ImportState.FAILED)

# What is there already stays as it is.
_ADD = """
    WITH added AS (
        INSERT INTO relay_suppression (id, organization_id, address, stream, reason, note, added_by, reply, created_at)
        SELECT id, %s, address, stream, reason, note, %s, '', created_at
        FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
            AS r (id, address, stream, reason, note, created_at)
        ORDER BY address, stream ON CONFLICT (organization_id, address, stream) DO NOTHING RETURNING 1)
    SELECT count(*) FROM added
"""


class ImportRefused(Exception):
    """`message` says what is wrong with the file."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Line(NamedTuple):
    """Of a list."""

    address: str
    stream: str
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a list's lines. `columns`: of its header line, lower case; none: a line is an address."""

    columns: tuple[str, ...]
    stream: str  # where a line names none
    note: str

    def read(self, line: str) -> Line:
        """Raises ValueError, which says why it is refused."""
        if not self.columns:
            return self._line({"email": line.strip().rstrip(",; \t").strip('"')})
        try:
            [values] = csv.reader([line], strict=True)
        except (csv.Error, ValueError):
            raise ValueError("no line of CSV") from None
        return self._line(dict(zip(self.columns, (unguarded(value.strip()) for value in values), strict=False)))

    def _line(self, values: dict[str, str]) -> Line:
        typed = next((values[name] for name in ADDRESS_COLUMNS if values.get(name)), "")
        address = normalized(typed) if len(typed) <= 1000 else None
        if address is None or "\0" in address:
            raise ValueError("no valid address")
        stream = values.get("stream") or self.stream
        if stream and not is_stream(stream):
            raise ValueError("no valid stream")
        reason = values.get("reason", "")
        known = reason in TITLES or (reason in REASONS and REASONS[reason].hard)
        written = values.get("note") or self.note
        return Line(address, stream, reason if known else MANUAL, written.replace("\0", "")[:NOTE_LENGTH])


def unguarded(value: str) -> str:
    """Without the apostrophe by which our exports keep spreadsheets from taking it for a formula."""
    return value[1:] if value[:2] in {"'=", "'+", "'-", "'@", "'\t", "'\r"} else value


def request_import(
    organization: Organization,
    filename: str,
    chunks: Iterable[bytes],
    *,
    stream: str = "",
    note_: str = "",
    by: Actor = SYSTEM,
) -> SuppressionImport:
    """`chunks`: the file. Raises ImportRefused."""
    pieces = _pieces(_lines(chunks))
    try:
        first = next(pieces, None)
        if first is None:
            raise ImportRefused("The file is empty. Put an address on each line.")
        columns = _header(first[0])
        if columns:
            first = first[1:]
        with transaction.atomic():
            made = SuppressionImport.objects.create(
                organization=organization, filename=filename[-255:] or "list", stream=stream, note=note_[:NOTE_LENGTH],
                columns=list(columns), size_bytes=0, pieces=0, requested_by=by.name,
            )  # fmt: skip
            for piece in _all(first, pieces):
                content = b"\n".join(piece)
                SuppressionImportPiece.objects.create(import_of=made, number=made.pieces, content=content)
                made.pieces += 1
                made.size_bytes += len(content)
            made.save(update_fields=["pieces", "size_bytes"])
            after = {"filename": made.filename, "size_bytes": made.size_bytes, "stream": stream}
            note(by, "suppression_import.requested", made, organization_id=organization.pk, after=after)
            transaction.on_commit(_tell_a_worker, robust=True)
    except IntegrityError as error:
        if "one_import_at_a_time" in str(error):
            raise ImportRefused("Another import is under way. Wait until it is done, or cancel it.") from error
        raise
    return made


def cancel_import(made: SuppressionImport, *, by: Actor = SYSTEM) -> bool:
    """What it has added stays. False: it had ended."""
    with transaction.atomic():
        current = _open(made).select_for_update().first()
        if current is None:
            return False
        note(by, "suppression_import.cancelled", current, organization_id=current.organization_id)
        _end(current, ImportState.CANCELLED)
    return True


def forget_old() -> None:
    """What was added stays."""
    SuppressionImport.objects.filter(state__in=_ENDED, ended_at__lt=timezone.now() - timedelta(days=KEPT_DAYS)).delete()


# ---- The file --------------------------------------------------------------------------------------------------------


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Without their ends, empty ones left out. Raises ImportRefused."""
    rest, octets, is_first = b"", 0, True
    for chunk in chunks:
        octets += len(chunk)
        if octets > MOST_BYTES:
            raise ImportRefused(f"The file is larger than {MOST_BYTES // 1024 // 1024} MB. Divide it.")
        if is_first:
            if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise ImportRefused("The file is UTF-16. Save it as CSV in UTF-8.")
            chunk, is_first = chunk.removeprefix(b"\xef\xbb\xbf"), False
        *whole, rest = (rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        yield from (line for line in whole if line.strip())
        if len(rest) > LINE_BYTES:
            raise ImportRefused(f"A line has more than {LINE_BYTES} octets: this is no list of addresses.")
    if rest.strip():
        yield rest


def _pieces(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Raises ImportRefused."""
    piece: list[bytes] = []
    for number, line in enumerate(lines):
        if number > MOST_LINES:
            raise ImportRefused(f"The file has more than {MOST_LINES:,} lines. Divide it.")
        piece.append(line)
        if len(piece) == PIECE_LINES:
            yield piece
            piece = []
    if piece:
        yield piece


def _all(first: list[bytes], others: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    yield first
    yield from others


def _header(line: bytes) -> tuple[str, ...]:
    """The columns, lower case; none: the line is an address. Raises ImportRefused."""
    text = line.decode("utf-8", "replace")
    try:
        names = tuple(name.strip().lower() for name in next(csv.reader([text]), []))
    except csv.Error:
        names = ()
    if any(name in ADDRESS_COLUMNS for name in names):
        return names
    if len(names) > 1 and "@" not in text:
        raise ImportRefused(
            "The first line names no column “email”. Name the columns, or put an address alone on each line."
        )
    return ("email", *[f"column {number}" for number in range(2, len(names) + 1)]) if len(names) > 1 else ()


# ---- The work --------------------------------------------------------------------------------------------------------


def work_on_imports(seconds: float) -> bool:
    """For so long at most. Returns whether something is left to do."""
    return work_off(LOCK, seconds, _next, _take_turn)


def _next() -> SuppressionImport | None:
    """Whose last turn is the longest ago."""
    waiting = SuppressionImport.objects.filter(state__in=OPEN_IMPORTS)
    return waiting.order_by(F("worked_at").asc(nulls_first=True), "id").first()


def _take_turn(made: SuppressionImport, until: float) -> None:
    # Counted before and taken back after: a process that dies of an import has not done it any good.
    if not _open(made).update(worked_at=timezone.now(), failures=made.failures + 1):
        return
    if made.failures >= TRIES:
        with transaction.atomic():
            current = _open(made).select_for_update().first()
            if current is not None:
                note(SYSTEM, "suppression_import.failed", current, organization_id=current.organization_id)
                _end(current, ImportState.FAILED)
        return
    try:
        while time.monotonic() < until:
            began = time.monotonic()
            if not read_piece(made):
                return
            time.sleep(min(time.monotonic() - began, LONGEST_REST_S))
    except Exception:  # such as a statement that was cancelled: it is tried again at its next turn
        logger.exception("The import %s of organization %s met an error", made.pk, made.organization_id)
        time.sleep(LONGEST_REST_S)


def read_piece(made: SuppressionImport) -> bool:
    """The next piece, in one transaction. Returns whether to go on."""
    with transaction.atomic():
        current = _open(made).select_for_update().first()
        if current is None:
            return False
        pieces = SuppressionImportPiece.objects.of(current.organization_id)
        piece = pieces.filter(import_of=current, number=current.pieces_read).first()
        if piece is not None:
            _read(current, bytes(piece.content).split(b"\n"))
            piece.delete()
        current.pieces_read, current.failures, current.state = current.pieces_read + 1, 0, ImportState.RUNNING
        if current.pieces_read < current.pieces:
            current.save()
            return True
        after = {"added": current.added, "known": current.known, "refused": current.refused}
        note(SYSTEM, "suppression_import.finished", current, organization_id=current.organization_id, after=after)
        _end(current, ImportState.DONE)
    return False


def _read(made: SuppressionImport, lines: Sequence[bytes]) -> None:
    reader = Reader(tuple(made.columns), made.stream, made.note)
    first = made.lines + (2 if _has_header(made) else 1)
    found: dict[tuple[str, str], Line] = {}
    for number, octets in enumerate((line for line in lines if line), first):
        made.lines += 1
        text = octets.decode("utf-8", "replace").replace("\0", "")
        try:
            line = reader.read(text)
        except ValueError as why:
            made.refused += 1
            if len(made.refusals) < REFUSALS_MOST:
                made.refusals.append([number, text[:200], str(why)])
        else:
            if (line.address, line.stream) in found:
                made.known += 1
            found.setdefault((line.address, line.stream), line)
    if not found:
        return
    # In the order in which the engine suppresses, so that neither waits for the other in a circle.
    rows, now = [found[key] for key in sorted(found)], timezone.now()
    terms: list[Any] = [made.organization_id, made.requested_by, [uuid7() for _ in rows]]
    times: list[datetime] = [now] * len(rows)
    columns = [[row.address for row in rows], [row.stream for row in rows], [row.reason for row in rows]]
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [*terms, *columns, [row.note for row in rows], times])
        [added] = cursor.fetchone()
    made.added += added
    made.known += len(rows) - added


def _has_header(made: SuppressionImport) -> bool:
    return any(name in ADDRESS_COLUMNS for name in made.columns) and "column 2" not in made.columns


def _open(made: SuppressionImport) -> Any:
    return SuppressionImport.objects.of(made.organization_id).filter(pk=made.pk, state__in=OPEN_IMPORTS)


def _end(made: SuppressionImport, state: ImportState) -> None:
    SuppressionImportPiece.objects.of(made.organization_id).filter(import_of=made).delete()
    made.state, made.ended_at = state, timezone.now()
    made.save()


def _tell_a_worker() -> None:
    """A lost word does no harm: beat sends others."""
    from relay.tasks import import_suppressions

    import_suppressions.apply_async(retry=False, expires=60)
