"""What people do with mail in the queue: retry now, cancel, hold, release, reschedule. State and event change together.

What is being delivered at this moment (`leased_by`) is not touched: nobody could say how that attempt ends. It is counted
and told instead.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.ids import time_of, uuid7
from accounts.models import MailHold, Organization
from events.log import Detail
from events.models import Event, EventType
from relay.acting.entries import Entries, named
from relay.delivery.queue import OPEN_DAYS
from relay.finding.filters import RecipientFilter
from relay.lanes import Lane
from relay.models import Message, Recipient, RecipientState, ScheduledMessage
from relay.scheduled import bring_forward, forget_ended, keep_in_play, put_off

logger = logging.getLogger(__name__)

BATCH = 1000  # rows that are locked together, for tens of milliseconds
MOST_AT_ONCE = 20_000  # some seconds' work; whoever wants more asks again
COUNTED_MOST = 100_000
LOOKED_BACK = timedelta(days=OPEN_DAYS) - timedelta(hours=1)

RETRIABLE = (
    RecipientState.SUBMITTED,
    RecipientState.SCHEDULED,
    RecipientState.DEFERRED,
    RecipientState.IN_DOUBT,
)


# Of what the platform holds (`relay.mail_hold`), and alone releases. A suspension stops the clock: `expires_at` is put off by
# the longest that anything may be held, and what is released has as much of its retry period left as it had (`state_at`).
STOPS_CLOCK = frozenset({"organization_suspended", "organization_on_hold"})
PLATFORM_HOLDS = STOPS_CLOCK | {"organization_being_deleted"}
LONGEST_HELD = timedelta(days=30)


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
_OF_HELD_QUEUE = Exists(
    Organization.objects.of_any().filter(
        pk=OuterRef("organization_id"), mail_hold__in=(MailHold.HOLDING, MailHold.HELD)
    )
)
_HELD_BY_PLATFORM = _FREE & Q(state=RecipientState.HELD, reason__in=PLATFORM_HOLDS)

# What an action changes does not fulfil its condition any more: acting again goes on where the last time ended.
_POSSIBLE: dict[Action, Q] = {
    Action.RETRY: _FREE & Q(state__in=RETRIABLE, next_attempt_at__gt=Now()),
    Action.HOLD: _FREE & ~Q(state=RecipientState.HELD),
    Action.RELEASE: _FREE & Q(~_OF_HELD_QUEUE, state=RecipientState.HELD) & ~Q(reason__in=PLATFORM_HOLDS),
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
        return frozenset({Action.CANCEL} if recipient.reason in PLATFORM_HOLDS else {Action.RELEASE, Action.CANCEL})
    waits = recipient.state in RETRIABLE and recipient.next_attempt_at > now
    return frozenset({Action.HOLD, Action.CANCEL} | ({Action.RETRY} if waits else set()))


# ---- Acting ----------------------------------------------------------------------------------------------------------


def act_on_message(
    action: Action,
    organization: Organization,
    message_id: UUID,
    *,
    by: Actor = SYSTEM,
    recipient_id: UUID | None = None,
) -> Acted:
    """On a message's recipients, or on that one of them."""
    recipients = recipients_of(organization, message_id, recipient_id)
    acted = act(action, recipients, by=by)
    return replace(acted, not_applicable=recipients.count() - acted.changed - acted.busy)


def act_on_matching(
    action: Action, organization: Organization, wanted: RecipientFilter, *, started: datetime, by: Actor = SYSTEM
) -> Acted:
    """On an organization's recipients that match, `MOST_AT_ONCE` at most.

    `started`: the moment at which somebody asked for it. Going on leaves out what has moved since: a recipient that was
    tried again and deferred again has had its retry.
    """
    chosen = matching(organization, wanted).filter(state_at__lte=started)
    return act(action, chosen, by=by, chosen_as=wanted.words)


def act(
    action: Action,
    recipients: QuerySet[Recipient],
    *,
    by: Actor = SYSTEM,
    chosen_as: str = "",
    reason: str | None = None,
    guarded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Acted:
    """On those of the recipients whom it applies to. `by` stands in each event.

    The audit log has one entry for each of their organizations, which says how they were chosen: `chosen_as`.
    `reason`: of rows and events, see `_act_on_batch`; it is given by the platform, which may release what it holds. `guarded`
    is entered around each batch, and ends all by an exception.
    """
    found = (
        recipients.filter(_possible(action, reason)).order_by().values_list("id", "organization_id")[: MOST_AT_ONCE + 1]
    )
    owners = dict(found)
    ids = list(owners)[:MOST_AT_ONCE]
    chosen = Counter(owners[one] for one in ids)
    entries = Entries(_VERBS[action], by, chosen_as, chosen, is_one_batch=len(ids) <= BATCH)
    changed = 0
    for start in range(0, len(ids), BATCH):
        with guarded():
            rows, due = _act_on_batch(action, ids[start : start + BATCH], by, entries, reason)
        changed += len(rows)
        _wake_for(due)
    return Acted(changed, busy=_count(recipients.filter(_BUSY)), more=len(owners) > MOST_AT_ONCE)


def _possible(action: Action, reason: str | None) -> Q:
    return _HELD_BY_PLATFORM if action is Action.RELEASE and reason is not None else _POSSIBLE[action]


def count(action: Action, recipients: QuerySet[Recipient]) -> Count:
    """For asking before acting."""
    return Count(_count(recipients.filter(_POSSIBLE[action])), _count(recipients.filter(_BUSY)))


def is_done_already(action: Action, recipients: QuerySet[Recipient]) -> bool:
    """Whether it is with one of them as the action would make it."""
    return recipients.filter(_ALREADY[action]).exists()


def are_scheduled(recipients: QuerySet[Recipient]) -> bool:
    """Whether all of them that are open wait for their time."""
    states = recipients.filter(_OPEN).order_by().values_list("state", flat=True).distinct()
    return set(states) == {RecipientState.SCHEDULED}


def recipients_of(
    organization: Organization, message_id: UUID, recipient_id: UUID | None = None
) -> QuerySet[Recipient]:
    # No recipient is older than its message, so older partitions need no look.
    recipients = Recipient.objects.of(organization).filter(message_id=message_id, id__gte=message_id)
    return recipients.filter(id=recipient_id) if recipient_id else recipients


def matching(organization: Organization, wanted: RecipientFilter) -> QuerySet[Recipient]:
    return Recipient.objects.of(organization).filter(wanted.condition())


def reschedule(organization: Organization, message_id: UUID, send_at: datetime | None, *, by: Actor = SYSTEM) -> Acted:
    """Another time for the recipients that wait for theirs; `None`: now. What was held meanwhile will wait for it, too."""
    now = timezone.now()
    moment = send_at or now
    recipients = recipients_of(organization, message_id)
    with transaction.atomic():
        waiting = Q(state=RecipientState.SCHEDULED) | Q(state=RecipientState.HELD, attempts=0)
        locked = list(recipients.filter(_FREE, waiting).order_by("id").select_for_update())
        rows = [row for row in locked if row.state == RecipientState.SCHEDULED]
        if rows:
            message = Message.objects.of(organization).get(pk=message_id)
            # How long it is tried is counted from its time.
            Recipient.objects.of(organization).filter(id__in=[row.id for row in rows]).update(
                expires_at=F("expires_at") + (Value(moment) - F("next_attempt_at")), next_attempt_at=moment
            )
            held = Recipient.objects.of(organization).filter(
                id__in=[row.id for row in locked if row.state == RecipientState.HELD]
            )
            expires_at = F("expires_at") + (moment - (message.scheduled_at or moment))
            held.update(expires_at=expires_at, next_attempt_at=expires_at)
            Message.objects.of(organization).filter(pk=message_id).update(scheduled_at=moment)
            others = recipients.filter(_OPEN).exclude(id__in=[row.id for row in locked])
            put_off(message_id, moment, others_are_open=others.exists())
            detail = Detail(by=by.in_events, send_at=moment.isoformat())
            Event.objects.bulk_create(_event(EventType.SCHEDULED, row, now, detail) for row in rows)
            note(
                by, "message.rescheduled", named(rows), organization_id=organization.pk,
                before={"scheduled_at": message.scheduled_at}, after={"scheduled_at": moment, "recipients": len(rows)},
            )  # fmt: skip
    if send_at is None:
        _wake_for(rows)
    busy = _count(recipients.filter(_BUSY))
    return Acted(len(rows), busy, not_applicable=recipients.count() - len(rows) - busy)


def _act_on_batch(
    action: Action, ids: Sequence[UUID], by: Actor, entries: Entries, reason: str | None
) -> tuple[list[Recipient], list[Recipient]]:
    """Locks, looks again, changes and logs. Returns the rows as they were before, and those of them that are due now.

    `reason`: becomes that of the rows and stands in the events; None: theirs stays.
    """
    now = timezone.now()
    with transaction.atomic():
        # In the order of ids, so that two who act on the same rows do not wait for each other in a circle.
        locked = (
            Recipient.objects.of_any().filter(_possible(action, reason), id__in=ids).order_by("id").select_for_update()
        )
        rows = list(locked)
        if not rows:
            return [], []
        times = _times_ahead(rows, now) if action is Action.RELEASE else {}
        at_once = [row for row in rows if row.id not in times]
        if action is Action.RELEASE:
            keep_in_play({row.message_id: row.organization_id for row in at_once if _will_be_old(row, now)})
        if action in {Action.RETRY, Action.RELEASE}:
            bring_forward({row.message_id for row in at_once})
        also = {} if reason is None else {"reason": reason}
        recipients = Recipient.objects.of_any()
        recipients.filter(id__in=[row.id for row in at_once]).update(**_change(action, now, reason) | also)
        recipients.filter(id__in=times).update(
            state=RecipientState.SCHEDULED,
            state_at=now,
            next_attempt_at=Subquery(_SCHEDULED_AT),
            expires_at=_expiry(F("expires_at") - Value(LONGEST_HELD)),
            **also,
        )
        Event.objects.bulk_create(
            _event(_EVENTS[action], row, now, _detail(action, row, by, now, times.get(row.id)), reason or "")
            for row in rows
        )
        if action is Action.CANCEL:
            forget_ended({row.message_id for row in rows})
        entries.write(rows)
    return rows, at_once if action in {Action.RETRY, Action.RELEASE} else []


def _will_be_old(row: Recipient, now: datetime) -> bool:
    """Whether its retry period, which stood still, will go on when engines look no more at the partitions of its day."""
    left = row.expires_at - LONGEST_HELD - row.state_at
    return row.reason in STOPS_CLOCK and now + left > time_of(row.id) + LOOKED_BACK


_SCHEDULED_AT = Message.objects.filter(id=OuterRef("message_id")).values("scheduled_at")[:1]


def _times_ahead(rows: Sequence[Recipient], now: datetime) -> dict[UUID, datetime]:
    """By recipient, the time to which it goes back when it is released: unless it was tried, or sent before its time."""
    untried = [row for row in rows if not row.attempts]
    registered = ScheduledMessage.objects.of_any().filter(pk__in={row.message_id for row in untried})
    messages = Message.objects.of_any().filter(id__in=list(registered.values_list("pk", flat=True)))
    times = dict(messages.values_list("id", "scheduled_at"))
    return {row.id: time for row in untried if (time := times.get(row.message_id)) and now < time < row.expires_at}


def _expiry(of_stopped: Any) -> Case:
    """`of_stopped`: of recipients whose clock stood still."""
    return Case(When(reason__in=STOPS_CLOCK, then=of_stopped), default=F("expires_at"))


def _change(action: Action, now: datetime, reason: str | None) -> dict[str, Any]:
    # The queue's own clock is the database's (relay.delivery.queue), so what is due now is due by that.
    match action:
        case Action.RETRY:
            # How long it is tried is counted from its time.
            brought_forward = F("expires_at") - (F("next_attempt_at") - Now())
            expires_at = Case(When(state=RecipientState.SCHEDULED, then=brought_forward), default=F("expires_at"))
            return {"next_attempt_at": Now(), "expires_at": expires_at}
        case Action.HOLD:
            end = F("expires_at") + Value(LONGEST_HELD) if reason in STOPS_CLOCK else F("expires_at")
            return {"state": RecipientState.HELD, "state_at": now, "expires_at": end, "next_attempt_at": end}
        case Action.RELEASE:
            before = Case(When(attempts__gt=0, then=Value("deferred")), default=Value("submitted"))
            left = _expiry(F("expires_at") - Value(LONGEST_HELD) - F("state_at") + Value(now))
            return {"state": before, "state_at": now, "next_attempt_at": Now(), "expires_at": left}
        case Action.CANCEL:
            return {"state": RecipientState.CANCELLED, "state_at": now, "next_attempt_at": None, "reason": ""}


_EVENTS = {
    Action.RETRY: EventType.RETRY_REQUESTED,
    Action.HOLD: EventType.HELD,
    Action.RELEASE: EventType.RELEASED,
    Action.CANCEL: EventType.CANCELLED,
}
_VERBS = {Action.RETRY: "retried", Action.HOLD: "held", Action.RELEASE: "released", Action.CANCEL: "cancelled"}


def _detail(action: Action, row: Recipient, by: Actor, now: datetime, time: datetime | None) -> Detail:
    if action is Action.RETRY and row.state == RecipientState.SCHEDULED:
        time = now
    return Detail(by=by.in_events, send_at=time.isoformat()) if time else Detail(by=by.in_events)


def _event(kind: EventType, row: Recipient, now: datetime, detail: Detail, reason: str = "") -> Event:
    return Event(
        id=uuid7(),
        organization_id=row.organization_id,
        message_id=row.message_id,
        recipient_id=row.id,
        address=row.address,
        type=kind,
        occurred_at=now,
        reason=reason,
        detail=detail,
    )


def _count(recipients: QuerySet[Recipient]) -> int:
    return recipients.order_by()[:COUNTED_MOST].count()


# ---- Waking ----------------------------------------------------------------------------------------------------------


def _wake_for(rows: Collection[Recipient]) -> None:
    """Tells the engines that these are due. A lost word does no harm."""
    if not rows:
        return
    is_old = any(time_of(row.id) < timezone.now() - LOOKED_BACK for row in rows)
    lanes = sorted({str(Lane(row.organization_id, row.destination)) for row in rows})
    try:
        if is_old:  # an engine does not know how far it must look back for those, before it looks at the queue again
            current_app.send_task("relay.tasks.wake_due", ignore_result=True, retry=False, expires=60)
        current_app.send_task("relay.tasks.deliver", (lanes,), ignore_result=True, retry=False, expires=60)
    except Exception as error:  # any transport error: the next look at the queue finds what is due
        logger.warning("No wake-up could be sent after a retry, delivery waits for the next look: %s", error)
