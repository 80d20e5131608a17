"""The statements by which deliveries are claimed, settled and given up. The queue is `WebhookDelivery` itself.

A claim moves `next_attempt_at` to the end of a lease: what a process that died had in hand is due again then. Settling matches
process and attempt, so that one that comes late changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from accounts.ids import first_id_at, time_of
from relay.webhooks.attempts import (
    FAILURES_WAITED_FOR,
    GIVEN_UP_AFTER,
    GONE,
    PAUSED_AFTER,
    PAUSED_AFTER_FAILURES,
    Attempt,
    Outcome,
    delay_after,
    scaled,
)
from relay.webhooks.endpoints import mark_gone, pause, secrets_of
from relay.webhooks.models import DeliveryState, EndpointState, WebhookEndpoint

LEASE = timedelta(seconds=45)  # an attempt takes 15 s at most
LOOKED_AT = 50  # of an endpoint's due deliveries, beyond those that may be claimed
ENDED_AT_ONCE = 1000
_TABLE = "webhooks_webhookdelivery"

# A loose index scan: a probe for each endpoint with open deliveries, however many they are.
_OPEN = f"""
    WITH RECURSIVE found AS (
        (SELECT endpoint_id, next_attempt_at FROM {_TABLE} WHERE next_attempt_at IS NOT NULL AND id >= %(low)s
         ORDER BY endpoint_id, next_attempt_at LIMIT 1)
        UNION ALL
        SELECT n.* FROM found CROSS JOIN LATERAL (
            SELECT endpoint_id, next_attempt_at FROM {_TABLE}
            WHERE next_attempt_at IS NOT NULL AND endpoint_id > found.endpoint_id AND id >= %(low)s
            ORDER BY endpoint_id, next_attempt_at LIMIT 1) n
    )
    SELECT f.endpoint_id, f.next_attempt_at, e.organization_id, e.state, e.failures > 0 OR e.last_attempt_at IS NULL,
           o.erase_at IS NOT NULL
    FROM found f LEFT JOIN webhooks_webhookendpoint e ON e.id = f.endpoint_id
    LEFT JOIN accounts_organization o ON o.id = e.organization_id
"""  # noqa: S608

# Of each endpoint the first that are due. One behind which an earlier of the same recipient waits is put off until that is
# tried; where the earlier is being tried it stays as it is, for the next claim.
_CLAIM = f"""
    WITH due AS MATERIALIZED (
        SELECT d.id, d.endpoint_id, w.most,
               row_number() OVER (PARTITION BY d.endpoint_id ORDER BY d.next_attempt_at, d.id) AS place,
               b.next_attempt_at AS waits_until, b.is_leased
        FROM unnest(%(endpoints)s::uuid[], %(most)s::int[]) w (endpoint_id, most)
        CROSS JOIN LATERAL (
            SELECT id, endpoint_id, recipient_id, next_attempt_at FROM {_TABLE}
            WHERE endpoint_id = w.endpoint_id AND next_attempt_at <= statement_timestamp() AND id >= %(low)s
            ORDER BY next_attempt_at, id LIMIT w.most + {LOOKED_AT} FOR UPDATE SKIP LOCKED
        ) d
        LEFT JOIN LATERAL (
            SELECT e.next_attempt_at, e.leased_by IS NOT NULL AS is_leased FROM {_TABLE} e
            WHERE e.recipient_id = d.recipient_id AND e.endpoint_id = d.endpoint_id AND e.id < d.id AND e.id >= %(low)s
                AND e.next_attempt_at IS NOT NULL
                AND e.attempts - (e.leased_by IS NOT NULL)::int < {FAILURES_WAITED_FOR}
            ORDER BY is_leased DESC, e.next_attempt_at DESC LIMIT 1
        ) b ON true
    ),
    put_off AS (
        UPDATE {_TABLE} d SET next_attempt_at = due.waits_until FROM due
        WHERE d.id = due.id AND d.id >= %(low)s AND NOT due.is_leased AND due.waits_until > statement_timestamp()
    ),
    free AS (
        SELECT id, most, row_number() OVER (PARTITION BY endpoint_id ORDER BY place) AS place FROM due
        WHERE waits_until IS NULL
    )
    UPDATE {_TABLE} d
    SET leased_by = %(holder)s, attempts = attempts + 1,
        next_attempt_at = statement_timestamp() + make_interval(secs => %(lease_s)s)
    FROM free WHERE d.id = free.id AND d.id >= %(low)s AND free.place <= free.most
    RETURNING d.id, d.endpoint_id, d.organization_id, d.webhook_id, d.body, d.attempts
"""  # noqa: S608

_SETTLE = f"""
    UPDATE {_TABLE} d SET state = n.state, next_attempt_at = n.next_attempt_at, leased_by = NULL, last_status = n.status,
        last_ms = n.ms, log = d.log || n.attempt
    FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::timestamptz[], %s::int[], %s::float[], %s::jsonb[])
        n (id, attempts, state, next_attempt_at, status, ms, attempt)
    WHERE d.id = n.id AND d.id >= %s AND d.leased_by = %s AND d.attempts = n.attempts
    RETURNING d.id
"""  # noqa: S608

_END = f"""
    UPDATE {_TABLE} SET state = %s, next_attempt_at = NULL, leased_by = NULL WHERE id = ANY(ARRAY(
        SELECT id FROM {_TABLE} WHERE {{condition}} AND next_attempt_at IS NOT NULL
        LIMIT {ENDED_AT_ONCE} FOR UPDATE SKIP LOCKED))
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Open:
    """An endpoint with deliveries that have not ended. Without a state it is there no more."""

    endpoint_id: UUID
    first_due_at: datetime
    organization_id: UUID | None
    state: str | None
    is_in_trouble: bool  # or not known yet
    is_held: bool  # its organization is being deleted

    @property
    def may_send(self) -> bool:
        return self.state == EndpointState.ENABLED and not self.is_held

    @property
    def has_ended(self) -> bool:
        return self.state in (None, EndpointState.DISABLED, EndpointState.GONE)


@dataclass(frozen=True, slots=True)
class Claimed:
    id: UUID
    endpoint_id: UUID
    organization_id: UUID
    webhook_id: UUID
    body: str
    attempts: int
    url: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be written of an attempt."""

    claimed: Claimed
    at: datetime
    outcome: Outcome
    headers: list[tuple[str, str]]


def open_endpoints() -> list[Open]:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"low": _low()})
        return [Open(*row) for row in cursor.fetchall()]


def claim(shares: Mapping[UUID, int], holder: UUID) -> list[Claimed]:
    """Up to so many of each endpoint's, in its order."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "endpoints": list(shares),
                "most": list(shares.values()),
                "holder": holder,
                "lease_s": LEASE.total_seconds(),
                "low": _low(),
            },
        )  # fmt: skip
        rows = cursor.fetchall()
    endpoints = WebhookEndpoint.objects.in_bulk({row[1] for row in rows})
    claimed = []
    for key, endpoint_id, organization_id, webhook_id, body, attempts in sorted(rows, key=lambda row: row[0]):
        endpoint = endpoints.get(endpoint_id)
        # One that was removed or stopped meanwhile: its deliveries end when the lease does.
        if endpoint is not None and endpoint.state == EndpointState.ENABLED:
            known = endpoint.url, secrets_of(endpoint)
            claimed.append(Claimed(key, endpoint_id, organization_id, webhook_id, body, attempts, *known))
    return claimed


def settle(settled: Sequence[Settled], holder: UUID) -> None:
    """Writes outcomes, and what follows for endpoints, in one transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        columns = list(zip(*(_row(one) for one in settled), strict=True))
        cursor.execute(_SETTLE, [*map(list, columns), _low(), holder])
        written = {row[0] for row in cursor.fetchall()}
        by_endpoint: dict[UUID, list[Settled]] = {}
        for one in settled:
            if one.claimed.id in written:
                by_endpoint.setdefault(one.claimed.endpoint_id, []).append(one)
        for endpoint_id, theirs in sorted(by_endpoint.items()):
            _note_health(endpoint_id, theirs)


def _row(one: Settled) -> tuple[object, ...]:
    """Of `_SETTLE`."""
    outcome, next_at = one.outcome, None
    state = DeliveryState.DELIVERED if outcome.is_taken else DeliveryState.FAILED
    if not outcome.is_taken and outcome.status != GONE:
        delay = delay_after(one.claimed.attempts, outcome.retry_after_s)
        ends_at = time_of(one.claimed.id) + scaled(GIVEN_UP_AFTER)
        if delay is not None and one.at + delay < ends_at:
            state, next_at = DeliveryState.WAITING, one.at + delay
    attempt: Attempt = {
        "at": one.at.isoformat(timespec="milliseconds"),
        "status": outcome.status,
        "ms": round(outcome.ms, 1),
        "response": outcome.response,
        "error": outcome.error,
        "headers": one.headers,
    }
    return (
        one.claimed.id, one.claimed.attempts, state.value, next_at, outcome.status, round(outcome.ms, 1), Jsonb([attempt]),
    )  # fmt: skip


def _note_health(endpoint_id: UUID, settled: Sequence[Settled]) -> None:
    """Of one endpoint. The row is locked: others settle for it, too."""
    endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).filter(pk=endpoint_id).first()
    if endpoint is None:
        return
    for one in settled:
        if one.outcome.is_taken:
            endpoint.failures, endpoint.failing_since = 0, None
        else:
            endpoint.failures += 1
            endpoint.failing_since = endpoint.failing_since or one.at
    last = settled[-1]
    endpoint.last_attempt_at, endpoint.last_result = last.at, last.outcome.in_words[:300]
    endpoint.save(update_fields=["failures", "failing_since", "last_attempt_at", "last_result"])
    if endpoint.state != EndpointState.ENABLED:
        return
    if any(one.outcome.status == GONE for one in settled):
        mark_gone(endpoint)
    elif (
        endpoint.failing_since
        and endpoint.failures >= PAUSED_AFTER_FAILURES
        and last.at - endpoint.failing_since >= scaled(PAUSED_AFTER)
    ):
        pause(endpoint)


def end_of(endpoint_id: UUID) -> int:
    """Cancels deliveries of an endpoint that is gone, as many as make a transaction. Returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_END.format(condition="endpoint_id = %s"), [DeliveryState.CANCELLED, endpoint_id])
        return int(cursor.rowcount)


def give_up_old() -> int:
    """What is still open after three days: of endpoints that are paused, or that nobody could send."""
    oldest = first_id_at(timezone.now() - scaled(GIVEN_UP_AFTER))
    with connection.cursor() as cursor:
        cursor.execute(_END.format(condition="id < %s"), [DeliveryState.FAILED, oldest])
        return int(cursor.rowcount)


def _low() -> UUID:
    """What may be open has a greater id: so partitions of long ago are not looked at."""
    return first_id_at(timezone.now() - GIVEN_UP_AFTER - timedelta(days=1))
