"""Reading messages: the list, and one message with its recipients and their timelines."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from uuid import UUID

from accounts.models import Organization
from events.models import Event
from events.selectors import timelines
from relay.models import Content, Message, Recipient, RecipientState

PAGE_SIZE = 50
MOVING = {RecipientState.SUBMITTED, RecipientState.DEFERRED, RecipientState.IN_DOUBT}

# Of several recipients' states, the list shows the one that most wants attention.
_PRECEDENCE = [
    RecipientState.BOUNCED,
    RecipientState.IN_DOUBT,
    RecipientState.DEFERRED,
    RecipientState.SUBMITTED,
    RecipientState.SUPPRESSED,
    RecipientState.CANCELLED,
    RecipientState.DELIVERED,
]


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A line of the message list."""

    message: Message
    recipients: list[Recipient]

    @property
    def state(self) -> str:
        return summary_state(self.recipients)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(recipient.state for recipient in self.recipients))

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


def messages_page(organization: Organization, *, before: UUID | None = None, limit: int = PAGE_SIZE) -> MessagePage:
    """The newest messages first; `before` is the last page's `next` (keyset paging: each page costs the same)."""
    query = Message.objects.of(organization).order_by("-id")
    if before:
        query = query.filter(id__lt=before)
    messages = list(query[: limit + 1])
    more, messages = len(messages) > limit, messages[:limit]
    recipients: dict[UUID, list[Recipient]] = defaultdict(list)
    if messages:
        oldest = messages[-1].id
        of_these = Recipient.objects.of(organization).filter(message_id__in=[m.id for m in messages], id__gte=oldest)
        for recipient in of_these.order_by("id"):
            recipients[recipient.message_id].append(recipient)
    return MessagePage([MessageRow(m, recipients[m.id]) for m in messages], messages[-1].id if more else None)


def message_detail(organization: Organization, message_id: UUID) -> MessageDetail | None:
    message = Message.objects.of(organization).filter(id=message_id).first()
    if message is None:
        return None
    recipients = Recipient.objects.of(organization).filter(message_id=message_id, id__gte=message_id).order_by("id")
    events = timelines(organization, message_id)
    return MessageDetail(message, [RecipientTimeline(r, events.get(r.id, [])) for r in recipients])


def message_content(organization: Organization, message_id: UUID) -> bytes | None:
    """The message as it was accepted; None when it is unknown or its retention is over."""
    if not Message.objects.of(organization).filter(id=message_id).exists():
        return None
    raw = Content.objects.filter(id=message_id).values_list("raw", flat=True).first()
    return None if raw is None else bytes(raw)
