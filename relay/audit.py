"""Whether the queue and the event log tell the same story: what no crash, race or mistake may ever part.

It goes through the messages in the order of their ids, some thousand rows at a time: it takes as much memory at any size. Each
look is one statement, so it sees one moment and may run beside everything else. Events are in the partitions from their
message's day on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from accounts.ids import first_id_at
from events.models import EventType
from events.partitions import days_of
from events.vocabulary import AFTER_THE_END, CHANGE_NO_STATE
from relay.models import RecipientState

TOLD_MOST = 1000
EVENTS_AT_ONCE = 20_000  # of whole messages

FINAL = [
    state.value
    for state in (
        RecipientState.DELIVERED,
        RecipientState.BOUNCED,
        RecipientState.SUPPRESSED,
        RecipientState.CANCELLED,
        RecipientState.UNKNOWN_OUTCOME,
    )
]
ATTEMPTED = [
    EventType.DEFERRED.value,
    EventType.DELIVERED.value,
    EventType.IN_DOUBT.value,
    EventType.UNKNOWN_OUTCOME.value,
]

# Some types of events are no states (events.vocabulary): `released` leads back to where it was, others change none. What ended
# while it waited (relay.expiry, relay.sender_loss) has an event that names the attempt before it once more. Each other attempt
# has one event, that in doubt, too. What came back by mail (relay.returns) ends a recipient once more, or one in doubt at last.
_RECIPIENTS = """
    WITH log AS (
        SELECT recipient_id, min(message_id::text)::uuid AS of_message,
               count(*) FILTER (WHERE type = 'submitted') AS submissions,
               (array_agg(type ORDER BY id DESC) FILTER (WHERE type <> ALL(%(no_state)s)))[1] AS last,
               (array_agg(type ORDER BY id DESC) FILTER (WHERE type <> ALL(%(after)s)))[1] AS closing,
               count(*) FILTER (WHERE type = ANY(%(final)s) AND NOT (type = 'bounced' AND detail ? 'reported_by')) AS ends,
               count(*) FILTER (WHERE type = 'bounced' AND detail ? 'reported_by') AS came_back,
               count(*) FILTER (WHERE attempt > 0) - count(DISTINCT attempt) FILTER (WHERE attempt > 0) AS repeated,
               count(*) FILTER (WHERE attempt = 0 AND type = ANY(%(attempted)s)) AS nameless,
               bool_or(type = 'bounced' AND reason IN ('expired', 'sender_gone', 'domain_taken_over')) AS ended_waiting,
               count(DISTINCT attempt) FILTER (WHERE attempt > 0) AS ended, max(attempt) AS latest
        FROM events_event WHERE message_id >= %(low)s AND message_id < %(high)s AND id >= %(low)s GROUP BY recipient_id),
    story AS (
        SELECT *, attempts - (leased_by IS NOT NULL)::int AS over, state = ANY(%(final)s) AS is_final
        FROM (SELECT * FROM relay_recipient WHERE message_id >= %(low)s AND message_id < %(high)s AND id >= %(low)s) r
        FULL JOIN log ON log.recipient_id = r.id)
    SELECT coalesce(id, recipient_id), told FROM story CROSS JOIN LATERAL unnest(array_remove(ARRAY[
        CASE WHEN id IS NULL THEN 'has events and no row' END,
        CASE WHEN id IS NOT NULL AND submissions IS DISTINCT FROM 1
            THEN format('has %%s submitted events', coalesce(submissions, 0)) END,
        CASE WHEN last NOT IN (state, 'released')
                OR (last = 'released' AND state NOT IN ('submitted', 'scheduled', 'deferred'))
            THEN format('is %%s, its last event is %%s', state, last) END,
        CASE WHEN ends <> is_final::int AND came_back = 0 THEN format('is %%s and has %%s final events', state, ends) END,
        CASE WHEN came_back > 0 AND (came_back > 1 OR ends > 1 OR state <> 'bounced')
            THEN format('is %%s, came back %%s times and has %%s other final events', state, came_back, ends) END,
        CASE WHEN is_final AND last = state AND closing <> state
            THEN format('is %%s, and %%s came after that', state, closing) END,
        CASE WHEN ended <> over OR latest <> over OR repeated > ended_waiting::int
            THEN format('has ended %%s attempts; events tell of %%s, the latest of them %%s, repeating %%s',
                        over, ended, latest, repeated) END,
        CASE WHEN nameless > 0 THEN format('has %%s events of attempts without their number', nameless) END,
        CASE WHEN (next_attempt_at IS NULL) <> is_final
            THEN format('is %%s, and its next attempt is at %%s', state, coalesce(next_attempt_at::text, 'no time')) END
    ], NULL)) AS told
    WHERE %(is_kept)s OR EXISTS (SELECT FROM relay_message WHERE id = coalesce(message_id, of_message))
    ORDER BY 1 LIMIT %(most)s
"""

_MESSAGES = """
    SELECT m.id, format('was for %%s recipients and has %%s', m.recipient_count, count(r.id))
    FROM relay_message m LEFT JOIN relay_recipient r
        ON r.message_id = m.id AND r.message_id >= %(low)s AND r.message_id < %(high)s AND r.id >= %(low)s
    WHERE m.id >= %(low)s AND m.id < %(high)s
    GROUP BY m.id, m.recipient_count HAVING m.recipient_count <> count(r.id) ORDER BY 1 LIMIT %(most)s
"""

# Else the engines would not look back as far as its day (relay.scheduled).
_SCHEDULED = """
    SELECT DISTINCT m.id, format('has open recipients; its row in relay_scheduledmessage %%s',
                                 CASE WHEN s.send_at IS NULL THEN 'is missing' ELSE 'names a later time' END)
    FROM relay_message m JOIN relay_recipient r ON r.message_id = m.id AND r.next_attempt_at IS NOT NULL AND r.id >= %(low)s
    LEFT JOIN relay_scheduledmessage s ON s.message_id = m.id
    WHERE m.scheduled_at IS NOT NULL AND m.id >= %(low)s AND m.id < %(high)s
      AND (s.send_at IS NULL OR r.next_attempt_at < s.send_at)
    ORDER BY 1 LIMIT %(most)s
"""

_LOOKS = (("recipient", _RECIPIENTS), ("message", _MESSAGES), ("message", _SCHEDULED))

# Where so many rows of either table end; what they belong to is looked at whole.
_END = """
    SELECT least((SELECT message_id FROM events_event WHERE message_id >= %(low)s AND message_id < %(high)s
                  ORDER BY message_id OFFSET %(many)s LIMIT 1),
                 (SELECT message_id FROM relay_recipient WHERE message_id >= %(low)s AND message_id < %(high)s
                  ORDER BY message_id OFFSET %(many)s LIMIT 1))
"""


@dataclass(frozen=True, slots=True)
class _Span:
    """Ids of messages. `is_kept`: their day has its partitions; of a day without, they may have been dropped (relay.retention),
    and what came to light on later days is still there."""

    low: UUID
    high: UUID
    is_kept: bool


def disagreements(connection: psycopg.Connection[Any]) -> list[str]:
    """One line for each, about `TOLD_MOST` at most; empty when all is well."""
    found: list[str] = []
    for span in _spans(connection):
        for low, high in _windows(connection, span):
            terms = {
                "final": FINAL, "after": list(AFTER_THE_END), "no_state": list(CHANGE_NO_STATE), "attempted": ATTEMPTED,
                "most": TOLD_MOST, "low": low, "high": high, "is_kept": span.is_kept,
            }  # fmt: skip
            for kind, look in _LOOKS:
                rows = connection.execute(look.encode(), terms).fetchall()
                found += [f"{kind} {id_} {told}" for id_, told in rows]
            if len(found) >= TOLD_MOST:
                return found
    return found


def _spans(connection: psycopg.Connection[Any]) -> Iterator[_Span]:
    """Of each day that has partitions, and of what lies between those: altogether all ids."""
    low = UUID(int=0)
    for day in days_of(connection, "relay_message"):
        first, end = first_id_at(day), first_id_at(day + timedelta(days=1))
        if low < first:
            yield _Span(low, first, is_kept=False)
        yield _Span(first, end, is_kept=True)
        low = end
    yield _Span(low, UUID(int=(1 << 128) - 1), is_kept=False)


def _windows(connection: psycopg.Connection[Any], span: _Span) -> Iterator[tuple[UUID, UUID]]:
    low = span.low
    while True:
        terms = {"low": low, "high": span.high, "many": EVENTS_AT_ONCE}
        [end] = connection.execute(_END.encode(), terms).fetchone() or [None]
        if end == low:  # one message alone
            end = UUID(int=low.int + 1)
        yield low, end or span.high
        if end is None:
            return
        low = end
