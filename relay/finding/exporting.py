"""What a filter of the message list finds, as a file: made in the background, a row for each recipient. Suppressions likewise.

The file is kept in pieces in the database, for web server and worker may be on different machines. What is written and how far
it has come stand in one transaction, so that whoever goes on, after a crash or when another export has had its turn, begins
exactly there. One process at a time works on exports, and all of them take turns: what is left of the machine is the mail's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.ids import time_of, uuid7
from accounts.models import Organization
from relay.finding.asked import Asked, in_a_sentence
from relay.finding.export_rows import Names, Writer, header_of, suppression_row
from relay.finding.naming import sought_of
from relay.finding.search import Sought, Span, recipients_meant, span_of, sweep
from relay.models import OPEN_EXPORTS, ExportKind, ExportState, Message, MessageExport, MessageExportPiece, Suppression
from relay.retention import days_kept
from relay.suppressing.suppressions import Filter, suppressions_like
from relay.upkeep import work_off

logger = logging.getLogger(__name__)

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
LOCK = 7212
KEPT_DAYS = 7
MOST_BYTES = 1 << 30
PIECE_BYTES = 512 * 1024
ROWS_AT_ONCE = 1000  # suppressions
LONGEST_REST_S = 0.2
TRIES = 5
_ENDED = (ExportState.DONE, ExportState.CANCELLED, ExportState.FAILED)


class OneAtATime(Exception):
    """The organization has an export that is under way."""


def request_export(organization: Organization, asked: Asked, format_: str, *, by: Actor = SYSTEM) -> MessageExport:
    """Raises OneAtATime."""
    return _request(organization, ExportKind.MESSAGES, asked.query, in_a_sentence(asked.values), format_, by)


def request_suppression_export(
    organization: Organization, wanted: Filter, format_: str, *, by: Actor = SYSTEM
) -> MessageExport:
    """Raises OneAtATime."""
    return _request(organization, ExportKind.SUPPRESSIONS, wanted.query, wanted.in_a_sentence, format_, by)


def _request(
    organization: Organization, kind: ExportKind, query: str, in_words: str, format_: str, by: Actor
) -> MessageExport:
    try:
        with transaction.atomic():
            export = MessageExport.objects.create(
                organization=organization, kind=kind, query=query, format=format_, until=uuid7(), requested_by=by.name
            )
            after = {"filter": in_words, "format": format_}
            note(by, "message_export.requested", export, organization_id=organization.pk, after=after)
            transaction.on_commit(_tell_a_worker, robust=True)
    except IntegrityError as error:
        if "one_export_at_a_time" in str(error):
            raise OneAtATime from error
        raise
    return export


def end_export(export: MessageExport, *, by: Actor = SYSTEM) -> ExportState | None:
    """Cancels one that is under way, removes one that has ended. Returns the state that it was in; None: it is gone."""
    with transaction.atomic():
        current = MessageExport.objects.of(export.organization_id).select_for_update().filter(pk=export.pk).first()
        if current is None:
            return None
        MessageExportPiece.objects.of(export.organization_id).filter(export=current).delete()
        if current.is_open:
            note(by, "message_export.cancelled", current, organization_id=current.organization_id)
            _end(current, ExportState.CANCELLED)
            return ExportState.RUNNING
        note(by, "message_export.removed", current, organization_id=current.organization_id)
        was = ExportState(current.state)
        current.delete()
        return was


def pieces_of(export: MessageExport) -> Iterator[bytes]:
    """The file. Each piece is read when it is asked for."""
    pieces = MessageExportPiece.objects.of(export.organization_id).filter(export_id=export.pk)
    for number in range(export.pieces_written):
        content = pieces.filter(number=number).values_list("content", flat=True).first()
        if content is None:
            raise RuntimeError(f"{export} was removed while it was sent.")  # so that nobody takes half of it for all
        yield bytes(content)


def progress_of(export: MessageExport) -> int:
    """In percent: how much of the time that it looks through is behind it."""
    if export.state == ExportState.DONE:
        return 100
    if export.since is None or export.position is None:
        return 0
    whole = time_of(export.until) - time_of(export.since)
    behind = time_of(export.until) - time_of(export.position)
    return min(99, int(100 * behind / whole)) if whole else 0


def forget_expired() -> None:
    expired = MessageExport.objects.filter(expires_at__lt=timezone.now(), state__in=_ENDED)
    for export in expired.order_by("expires_at"):
        with transaction.atomic():
            MessageExportPiece.objects.of(export.organization_id).filter(export=export).delete()
            if MessageExport.objects.of(export.organization_id).filter(pk=export.pk).delete()[0]:
                note(SYSTEM, "message_export.expired", export, organization_id=export.organization_id)


# ---- The work --------------------------------------------------------------------------------------------------------


def work_on_exports(seconds: float) -> bool:
    """For so long at most. Returns whether something is left to do."""
    return work_off(LOCK, seconds, _next, _take_turn)


def _next() -> MessageExport | None:
    """Whose last turn is the longest ago."""
    waiting = MessageExport.objects.filter(state__in=OPEN_EXPORTS).select_related("organization__plan")
    return waiting.order_by(F("worked_at").asc(nulls_first=True), "id").first()


def _take_turn(export: MessageExport, until: float) -> None:
    # Counted before and taken back after: a process that dies of an export has not done it any good.
    turn = {"worked_at": timezone.now(), "failures": export.failures + 1}
    if not _open(export).update(**turn):
        return
    if export.failures >= TRIES:
        _give_up(export)
        return
    try:
        _go_on(export, until)
    except Exception:  # such as a statement that was cancelled: it is tried again at its next turn
        logger.exception("The %s of organization %s met an error", export, export.organization_id)
        time.sleep(LONGEST_REST_S)


def _open(export: MessageExport) -> Any:
    return MessageExport.objects.of(export.organization_id).filter(pk=export.pk, state__in=OPEN_EXPORTS)


def _go_on(export: MessageExport, until: float) -> None:
    organization = export.organization
    if export.kind == ExportKind.SUPPRESSIONS:
        _go_on_with_suppressions(export, until)
        return
    sought = sought_of(organization, Asked.parse(export.query), now=export.created_at)
    if export.since is None and not _begin(export, span_of(organization, sought.messages, export.until)):
        return
    names = Names(organization)
    assert export.since is not None
    assert export.position is not None
    span = Span(export.since, export.position)
    if span.is_empty:
        _step(export, partial(_write_messages, sought, names, []), span.low)
        return
    for messages, seen in sweep(organization, sought, span):
        began = time.monotonic()
        if not _step(export, partial(_write_messages, sought, names, messages), seen) or time.monotonic() >= until:
            return
        time.sleep(min(time.monotonic() - began, LONGEST_REST_S))


def _go_on_with_suppressions(export: MessageExport, until: float) -> None:
    found = suppressions_like(export.organization, Filter.parse(export.query))
    if export.since is None:
        first = Suppression.objects.of(export.organization).order_by("id").values_list("pk", flat=True).first()
        if not _begin(export, Span(first or export.until, export.until)):
            return
    while True:
        began = time.monotonic()
        rows = list(found.filter(pk__gte=export.since, pk__lt=export.position).order_by("-pk")[:ROWS_AT_ONCE])
        assert export.since is not None
        seen = rows[-1].pk if len(rows) == ROWS_AT_ONCE else export.since
        if not _step(export, partial(_write_suppressions, rows), seen) or time.monotonic() >= until:
            return
        time.sleep(min(time.monotonic() - began, LONGEST_REST_S))


def _begin(export: MessageExport, span: Span) -> bool:
    with transaction.atomic():
        current = _open(export).select_for_update().first()
        if current is None or current.since is not None:
            return False
        writer = Writer(current, PIECE_BYTES)
        writer.write(header_of(current.kind, current.format))
        writer.flush()
        current.state, current.since, current.until, current.position = (
            ExportState.RUNNING,
            span.low,
            span.high,
            span.high,
        )
        current.save()
    export.since, export.position = current.since, current.position
    return True


def _step(export: MessageExport, write: Callable[[MessageExport], None], seen: UUID) -> bool:
    """Writes what was found, and that all down to `seen` is done. Returns whether to go on."""
    with transaction.atomic():
        current = _open(export).select_for_update().first()
        if current is None or current.position != export.position:
            return False  # cancelled, or somebody else has gone on
        write(current)
        current.position, current.failures = seen, 0
        assert current.since is not None
        current.is_cut = current.size_bytes >= MOST_BYTES and seen > current.since
        is_over = current.is_cut or seen <= current.since
        if is_over:
            _end(current, ExportState.DONE)
            after = {"messages": current.messages, "rows": current.rows, "size_bytes": current.size_bytes}
            note(SYSTEM, "message_export.finished", current, organization_id=current.organization_id, after=after)
        else:
            current.save()
    export.position = seen
    return not is_over


def _write_messages(sought: Sought, names: Names, messages: list[Message], export: MessageExport) -> None:
    if messages:
        writer = Writer(export, PIECE_BYTES)
        by_id = {message.pk: message for message in messages}
        names.learn(messages)
        meant = recipients_meant(export.organization, sought.recipients, list(by_id))
        for recipient in meant.order_by("-message_id", "id").iterator(chunk_size=1000):
            writer.write(names.row(by_id[recipient.message_id], recipient, export.format))
            export.rows += 1
        writer.flush()
    export.messages += len(messages)


def _write_suppressions(suppressions: list[Suppression], export: MessageExport) -> None:
    writer = Writer(export, PIECE_BYTES)
    for suppression in suppressions:
        writer.write(suppression_row(suppression, export.format))
    export.rows += len(suppressions)
    writer.flush()


def _give_up(export: MessageExport) -> None:
    with transaction.atomic():
        current = _open(export).select_for_update().first()
        if current is not None:
            MessageExportPiece.objects.of(current.organization_id).filter(export=current).delete()
            note(SYSTEM, "message_export.failed", current, organization_id=current.organization_id)
            _end(current, ExportState.FAILED)


def _end(export: MessageExport, state: ExportState) -> None:
    """It is kept no longer than the mail that it tells of."""
    export.state, export.ended_at = state, timezone.now()
    export.expires_at = export.ended_at + timedelta(days=min(KEPT_DAYS, days_kept(export.organization.plan)[1]))
    export.save()


def _tell_a_worker() -> None:
    """A lost word does no harm: beat sends others."""
    from relay.tasks import export_messages

    export_messages.apply_async(retry=False, expires=60)
