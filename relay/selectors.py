"""Reading messages: the list, and one message with its recipients and their timelines."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from accounts.models import Organization
from events.models import Event
from events.selectors import timelines
from relay.filters import RecipientFilter
from relay.models import Content, ExchangerGroup, Message, Recipient, RecipientState
from relay.search import EVERYONE, Sought, find_messages

PAGE_SIZE = 50
MOVING = {RecipientState.SUBMITTED, RecipientState.DEFERRED, RecipientState.IN_DOUBT}

# Of several recipients' states, the list shows the one that most wants attention.
_PRECEDENCE = [
    RecipientState.BOUNCED,
    RecipientState.UNKNOWN_OUTCOME,
    RecipientState.IN_DOUBT,
    RecipientState.HELD,
    RecipientState.DEFERRED,
    RecipientState.SUBMITTED,
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
        return any(timeline.recipient.state in MOVING for timeline in self.recipients)


def summary_state(recipients: list[Recipient]) -> str:
    states = {recipient.state for recipient in recipients}
    return next((state.value for state in _PRECEDENCE if state in states), RecipientState.SUBMITTED.value)


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
    messages = find_messages(organization, Sought(wanted), limit + 1, below=before)
    more, messages = len(messages) > limit, messages[:limit]
    recipients: dict[UUID, list[Recipient]] = defaultdict(list)
    if messages:
        oldest = messages[-1].id
        of_these = Recipient.objects.of(organization).filter(message_id__in=[m.id for m in messages], id__gte=oldest)
        for recipient in of_these.order_by("id"):
            recipients[recipient.message_id].append(recipient)
    rows = [MessageRow(m, of := recipients[m.id], [r for r in of if wanted.matches(r)]) for m in messages]
    return MessagePage(rows, messages[-1].id if more else None)


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
    return recipient.state in MOVING and recipient.leased_by is None


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
