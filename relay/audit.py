"""Whether the queue and the event log tell the same story: what no crash, race or mistake may ever part.

Each look is one statement, so it sees one moment and may run beside everything else. It reads the tables from end to end.
"""

from __future__ import annotations

from typing import Any

import psycopg

from events.vocabulary import CHANGE_NO_STATE
from relay.models import RecipientState

TOLD_MOST = 1000

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

# Some types of events are no states (events.vocabulary): `released` leads back to where it was, others change none. What ended
# while it waited (relay.expiry, relay.sender_loss) has an event that names the attempt before it once more.
_RECIPIENTS = """
    WITH log AS (
        SELECT recipient_id, count(*) FILTER (WHERE type = 'submitted') AS submissions,
               (array_agg(type ORDER BY id DESC) FILTER (WHERE type <> ALL(%(no_state)s)))[1] AS last,
               count(*) FILTER (WHERE attempt > 0) - count(DISTINCT attempt) FILTER (WHERE attempt > 0) AS repeated,
               bool_or(type = 'bounced' AND reason IN ('expired', 'sender_gone', 'domain_taken_over')) AS ended_waiting,
               count(DISTINCT attempt) FILTER (WHERE attempt > 0) AS ended, max(attempt) AS latest
        FROM events_event GROUP BY recipient_id),
    story AS (
        SELECT *, attempts - (leased_by IS NOT NULL)::int AS over
        FROM relay_recipient r FULL JOIN log ON log.recipient_id = r.id)
    SELECT coalesce(id, recipient_id), told FROM story CROSS JOIN LATERAL (VALUES
        (id IS NULL, 'has events and no row'),
        (id IS NOT NULL AND submissions IS DISTINCT FROM 1, format('has %%s submitted events', coalesce(submissions, 0))),
        (last NOT IN (state, 'released') OR (last = 'released' AND state NOT IN ('submitted', 'scheduled', 'deferred')),
         format('is %%s, its last event is %%s', state, last)),
        (ended <> over OR latest <> over OR repeated > ended_waiting::int,
         format('has ended %%s attempts; events tell of %%s, the latest of them %%s, repeating %%s',
                over, ended, latest, repeated)),
        ((next_attempt_at IS NULL) <> (state = ANY(%(final)s)),
         format('is %%s, and its next attempt is at %%s', state, coalesce(next_attempt_at::text, 'no time')))
    ) AS finding (is_so, told) WHERE is_so ORDER BY 1 LIMIT %(most)s
"""

_MESSAGES = """
    SELECT m.id, format('was for %%s recipients and has %%s', m.recipient_count, count(r.id))
    FROM relay_message m LEFT JOIN relay_recipient r ON r.message_id = m.id
    GROUP BY m.id HAVING m.recipient_count <> count(r.id) ORDER BY 1 LIMIT %(most)s
"""

# Else the engines would not look back as far as its day (relay.scheduled).
_SCHEDULED = """
    SELECT DISTINCT m.id, format('has open recipients; its row in relay_scheduledmessage %%s',
                                 CASE WHEN s.send_at IS NULL THEN 'is missing' ELSE 'names a later time' END)
    FROM relay_message m JOIN relay_recipient r ON r.message_id = m.id AND r.next_attempt_at IS NOT NULL
    LEFT JOIN relay_scheduledmessage s ON s.message_id = m.id
    WHERE m.scheduled_at IS NOT NULL AND (s.send_at IS NULL OR r.next_attempt_at < s.send_at)
    ORDER BY 1 LIMIT %(most)s
"""

_LOOKS = (("recipient", _RECIPIENTS), ("message", _MESSAGES), ("message", _SCHEDULED))


def disagreements(connection: psycopg.Connection[Any]) -> list[str]:
    """One line for each, at most `TOLD_MOST` of a kind; empty when all is well."""
    terms = {"final": FINAL, "no_state": list(CHANGE_NO_STATE), "most": TOLD_MOST}
    return [
        f"{kind} {id_} {told}"
        for kind, look in _LOOKS
        for id_, told in connection.execute(look.encode(), terms).fetchall()
    ]
