"""What people do with mail in the queue: retry now, cancel, hold, release. State and event change in one transaction.

What is being delivered at this moment (`leased_by`) is not touched: nobody could say how that attempt ends. It is counted
and told instead.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import Organization
from events.log import Detail
from events.models import Event, EventType
from relay.filters import RecipientFilter
from relay.lanes import Lane
from relay.models import Recipient, RecipientState

logger = logging.getLogger(__name__)

BATCH = 1000  # rows that are locked together, for tens of milliseconds
MOST_AT_ONCE = 20_000  # some seconds' work; whoever wants more asks again
COUNTED_MOST = 100_000

RETRIABLE = (RecipientState.SUBMITTED, RecipientState.DEFERRED, RecipientState.IN_DOUBT)


class Action(StrEnum):
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of it, in recipients."""

    changed: int
    busy: int = 0  # being delivered right now: not touched
    not_applicable: int = 0  # told where a single message is meant
    more: bool = False  # `MOST_AT_ONCE` were changed; others wait


@dataclass(frozen=True, slots=True)
class Count:
    """How many an action would change; at most `COUNTED_MOST` are counted."""

    possible: int
    busy: int

    @property
    def is_cut(self) -> bool:
        return self.possible >= COUNTED_MOST


# ---- To whom it applies ----------------------------------------------------------------------------------------------

_OPEN = Q(next_attempt_at__isnull=False)
_BUSY = _OPEN & Q(leased_by__isnull=False)
_FREE = _OPEN & Q(leased_by__isnull=True)

# What an action changes does not fulfil its condition any more: acting again goes on where the last time ended.
_POSSIBLE = {
    Action.RETRY: _FREE & Q(state__in=RETRIABLE, next_attempt_at__gt=Now()),
    Action.HOLD: _FREE & ~Q(state=RecipientState.HELD),
    Action.RELEASE: _FREE & Q(state=RecipientState.HELD),
    Action.CANCEL: _FREE,
}
# Where it is so already: asking once more is no mistake.
_ALREADY = {
    Action.RETRY: _OPEN & Q(state__in=RETRIABLE),
    Action.HOLD: _OPEN & Q(state=RecipientState.HELD),
    Action.RELEASE: _OPEN & ~Q(state=RecipientState.HELD),
    Action.CANCEL: Q(state=RecipientState.CANCELLED),
}


def possible_actions(recipient: Recipient, now: datetime) -> frozenset[Action]:
    """The same as the conditions above, for a row that has been read."""
    if recipient.next_attempt_at is None or recipient.leased_by is not None:
        return frozenset()
    if recipient.state == RecipientState.HELD:
        return frozenset({Action.RELEASE, Action.CANCEL})
    waits = recipient.state in RETRIABLE and recipient.next_attempt_at > now
    return frozenset({Action.HOLD, Action.CANCEL} | ({Action.RETRY} if waits else set()))


# ---- Acting ----------------------------------------------------------------------------------------------------------


def act_on_message(
    action: Action, organization: Organization, message_id: UUID, *, by: str, recipient_id: UUID | None = None
) -> Acted:
    """On a message's recipients, or on that one of them."""
    recipients = recipients_of(organization, message_id, recipient_id)
    acted = act(action, recipients, by=by)
    return replace(acted, not_applicable=recipients.count() - acted.changed - acted.busy)


def act_on_matching(
    action: Action, organization: Organization, wanted: RecipientFilter, *, by: str, started: datetime
) -> Acted:
    """On an organization's recipients that match, `MOST_AT_ONCE` at most.

    `started`: the moment at which somebody asked for it. Going on leaves out what has moved since: a recipient that was
    tried again and deferred again has had its retry.
    """
    return act(action, matching(organization, wanted).filter(state_at__lte=started), by=by)


def act(action: Action, recipients: QuerySet[Recipient], *, by: str) -> Acted:
    """On those of the recipients whom it applies to. `by` stands in each event."""
    found = recipients.filter(_POSSIBLE[action]).order_by().values_list("id", flat=True)[: MOST_AT_ONCE + 1]
    ids = list(found)
    changed = 0
    for start in range(0, min(len(ids), MOST_AT_ONCE), BATCH):
        rows = _act_on_batch(action, ids[start : min(start + BATCH, MOST_AT_ONCE)], by)
        changed += len(rows)
        if action in {Action.RETRY, Action.RELEASE}:
            wake({Lane(row.organization_id, row.destination) for row in rows})
    return Acted(changed, busy=_count(recipients.filter(_BUSY)), more=len(ids) > MOST_AT_ONCE)


def count(action: Action, recipients: QuerySet[Recipient]) -> Count:
    """For asking before acting."""
    return Count(_count(recipients.filter(_POSSIBLE[action])), _count(recipients.filter(_BUSY)))


def is_done_already(action: Action, recipients: QuerySet[Recipient]) -> bool:
    """Whether it is with one of them as the action would make it."""
    return recipients.filter(_ALREADY[action]).exists()


def recipients_of(
    organization: Organization, message_id: UUID, recipient_id: UUID | None = None
) -> QuerySet[Recipient]:
    # No recipient is older than its message, so older partitions need no look.
    recipients = Recipient.objects.of(organization).filter(message_id=message_id, id__gte=message_id)
    return recipients.filter(id=recipient_id) if recipient_id else recipients


def matching(organization: Organization, wanted: RecipientFilter) -> QuerySet[Recipient]:
    return Recipient.objects.of(organization).filter(wanted.condition())


def _act_on_batch(action: Action, ids: Sequence[UUID], by: str) -> list[Recipient]:
    """Locks, looks again, changes and logs. Returns the rows as they were before."""
    now = timezone.now()
    with transaction.atomic():
        # In the order of ids, so that two who act on the same rows do not wait for each other in a circle.
        locked = Recipient.objects.filter(_POSSIBLE[action], id__in=ids).order_by("id").select_for_update()
        rows = list(locked)
        if rows:
            Recipient.objects.filter(id__in=[row.id for row in rows]).update(**_change(action, now))
            Event.objects.bulk_create(_event(action, row, by, now) for row in rows)
    return rows


def _change(action: Action, now: datetime) -> dict[str, Any]:
    # The queue's own clock is the database's (relay.delivery.queue), so what is due now is due by that.
    match action:
        case Action.RETRY:
            return {"next_attempt_at": Now()}
        case Action.HOLD:
            return {"state": RecipientState.HELD, "state_at": now, "next_attempt_at": F("expires_at")}
        case Action.RELEASE:
            before = Case(When(attempts__gt=0, then=Value("deferred")), default=Value("submitted"))
            return {"state": before, "state_at": now, "next_attempt_at": Now()}
        case Action.CANCEL:
            return {"state": RecipientState.CANCELLED, "state_at": now, "next_attempt_at": None, "reason": ""}


_EVENTS = {
    Action.RETRY: EventType.RETRY_REQUESTED,
    Action.HOLD: EventType.HELD,
    Action.RELEASE: EventType.RELEASED,
    Action.CANCEL: EventType.CANCELLED,
}


def _event(action: Action, row: Recipient, by: str, now: datetime) -> Event:
    return Event(
        id=uuid7(),
        organization_id=row.organization_id,
        message_id=row.message_id,
        recipient_id=row.id,
        address=row.address,
        type=_EVENTS[action],
        occurred_at=now,
        detail=Detail(by=by),
    )


def _count(recipients: QuerySet[Recipient]) -> int:
    return recipients.order_by()[:COUNTED_MOST].count()


# ---- Waking ----------------------------------------------------------------------------------------------------------


def wake(lanes: set[Lane]) -> None:
    """Tells the engines that these have something due. A lost word does no harm."""
    if not lanes:
        return
    try:
        names = sorted(map(str, lanes))
        current_app.send_task("relay.tasks.deliver", (names,), ignore_result=True, retry=False, expires=60)
    except Exception as error:  # any transport error: the next look at the queue finds what is due
        logger.warning("No wake-up could be sent after a retry, delivery waits for the next look: %s", error)
