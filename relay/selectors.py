"""Reading messages: the list, and one message with its recipients and their timelines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from psycopg.errors import QueryCanceled

from accounts.models import Organization
from events.models import Event
from events.selectors import timelines
from relay.filters import INDEXED_STATES, OPEN, OPEN_STATES, RecipientFilter
from relay.models import Content, ExchangerGroup, Message, Recipient, RecipientState

PAGE_SIZE = 50
SEARCH_S = 5.0
EVERYONE = RecipientFilter()
MOVING = {RecipientState.SUBMITTED, RecipientState.DEFERRED, RecipientState.IN_DOUBT}
GOING_ON = MOVING | {RecipientState.SCHEDULED}  # nobody need do anything for it to go on

# Of several recipients' states, the list shows the one that most wants attention.
_PRECEDENCE = [
    RecipientState.BOUNCED,
    RecipientState.UNKNOWN_OUTCOME,
    RecipientState.IN_DOUBT,
    RecipientState.HELD,
    RecipientState.DEFERRED,
    RecipientState.SUBMITTED,
    RecipientState.SCHEDULED,
    RecipientState.SUPPRESSED,
    RecipientState.CANCELLED,
    RecipientState.DELIVERED,
]


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A line of the message list. Where it is filtered, it shows the recipients that matched."""

    message: Message
    recipients: list[Recipient]
    matching: list[Recipient]

    @property
    def state(self) -> str:
        return summary_state(self.matching or self.recipients)

    @property
    def first(self) -> Recipient | None:
        return next(iter(self.matching or self.recipients), None)

    @property
    def is_moving(self) -> bool:
        return any(recipient.state in MOVING for recipient in self.recipients)


@dataclass(frozen=True, slots=True)
class MessagePage:
    rows: list[MessageRow]
    next: UUID | None  # `before` of the following page; None: this is the last


@dataclass(frozen=True, slots=True)
class RecipientTimeline:
    recipient: Recipient
    events: list[Event]
    suspension: ExchangerGroup | None = None  # of its exchangers, which is what it waits for


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """One message with everything its page shows, except its content."""

    message: Message
    recipients: list[RecipientTimeline]

    @property
    def state(self) -> str:
        return summary_state([timeline.recipient for timeline in self.recipients])

    @property
    def is_moving(self) -> bool:
        return any(timeline.recipient.state in GOING_ON for timeline in self.recipients)


def summary_state(recipients: list[Recipient]) -> str:
    states = {recipient.state for recipient in recipients}
    return next((state.value for state in _PRECEDENCE if state in states), RecipientState.SUBMITTED.value)


class TookTooLong(Exception):
    """A search that no index answers went through too much."""


def messages_page(
    organization: Organization,
    *,
    before: UUID | None = None,
    limit: int = PAGE_SIZE,
    wanted: RecipientFilter = EVERYONE,
) -> MessagePage:
    """The newest messages first; `before` is the last page's `next` (keyset paging: each page costs the same).

    `wanted`: only messages with such a recipient. Raises TookTooLong.
    """
    with within(SEARCH_S) if wanted else nullcontext():
        messages = _messages(organization, before, limit + 1, wanted)
    more, messages = len(messages) > limit, messages[:limit]
    recipients: dict[UUID, list[Recipient]] = defaultdict(list)
    if messages:
        oldest = messages[-1].id
        of_these = Recipient.objects.of(organization).filter(message_id__in=[m.id for m in messages], id__gte=oldest)
        for recipient in of_these.order_by("id"):
            recipients[recipient.message_id].append(recipient)
    rows = [MessageRow(m, of := recipients[m.id], [r for r in of if wanted.matches(r)]) for m in messages]
    return MessagePage(rows, messages[-1].id if more else None)


def _messages(organization: Organization, before: UUID | None, most: int, wanted: RecipientFilter) -> list[Message]:
    query = Message.objects.of(organization).order_by("-id")
    recipients = Recipient.objects.of(organization).filter(wanted.condition())
    if wanted.state == OPEN or wanted.state in INDEXED_STATES | OPEN_STATES:
        # Those are few beside the delivered ones and have their own indexes: start from them.
        if before:
            recipients = recipients.filter(message_id__lt=before)
        ids = recipients.order_by("-message_id").values_list("message_id", flat=True).distinct()[:most]
        return list(query.filter(id__in=list(ids)))
    if before:
        query = query.filter(id__lt=before)
    if wanted:
        query = query.filter(Exists(recipients.filter(message_id=OuterRef("id"), id__gte=OuterRef("id"))))
    return list(query[:most])


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends statements that take longer. Raises TookTooLong."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [int(seconds * 1000)])
            yield
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise


def message_detail(organization: Organization, message_id: UUID) -> MessageDetail | None:
    message = Message.objects.of(organization).filter(id=message_id).first()
    if message is None:
        return None
    recipients = Recipient.objects.of(organization).filter(message_id=message_id, id__gte=message_id).order_by("id")
    events = timelines(organization, message_id)
    suspensions = _suspensions({one.destination for one in recipients if _waits(one)})
    return MessageDetail(
        message,
        [
            RecipientTimeline(one, events.get(one.id, []), suspensions.get(one.destination) if _waits(one) else None)
            for one in recipients
        ],
    )


def _waits(recipient: Recipient) -> bool:
    return recipient.state in GOING_ON and recipient.leased_by is None and not waits_for_its_time(recipient)


def waits_for_its_time(recipient: Recipient) -> bool:
    """Whether it is scheduled, and not due yet."""
    if recipient.state != RecipientState.SCHEDULED or recipient.next_attempt_at is None:
        return False
    return recipient.leased_by is None and recipient.next_attempt_at > timezone.now()


def _suspensions(destinations: set[str]) -> dict[str, ExchangerGroup]:
    """By destination. There are rows of groups in trouble only, so going through them is cheap."""
    if not destinations:
        return {}
    suspended = ExchangerGroup.objects.filter(
        suspended_until__gt=timezone.now(), destinations__overlap=list(destinations)
    )
    return {destination: group for group in suspended for destination in destinations.intersection(group.destinations)}


def message_content(organization: Organization, message_id: UUID) -> bytes | None:
    """The message as it was accepted; None when it is unknown or its retention is over."""
    if not Message.objects.of(organization).filter(id=message_id).exists():
        return None
    raw = Content.objects.filter(id=message_id).values_list("raw", flat=True).first()
    return None if raw is None else bytes(raw)
