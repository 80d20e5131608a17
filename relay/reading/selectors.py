"""Reading messages: the list, and one message with its recipients and their timelines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import BinaryField, Count, F, Func, QuerySet, Value
from django.utils import timezone

from accounts.models import Organization
from events.models import Event
from events.selectors import events_of_message, timelines
from relay.destinations import pauses_of
from relay.finding.search import EVERYTHING, Sought, Span, find_messages
from relay.models import Content, ExchangerGroup, Message, PausedDestination, Recipient, RecipientState

PAGE_SIZE = 50
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
    next: UUID | None  # `before` of the older page; None: there is none
    previous: UUID | None = None  # `after` of the newer page; None: none, or nobody has looked


@dataclass(frozen=True, slots=True)
class RecipientTimeline:
    recipient: Recipient
    events: list[Event]
    suspension: ExchangerGroup | None = None  # of its exchangers, which is what it waits for
    pause: PausedDestination | None = None  # of its destination, by operators


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """One message and how all its recipients fare. Their timelines: `timelines_of`. `events`: how many there are."""

    message: Message
    recipients: list[Recipient]
    events: int
    suspensions: dict[str, ExchangerGroup]  # of the exchangers that recipients wait for, by destination
    pauses: dict[str, PausedDestination] = field(default_factory=dict)  # that recipients wait for, by destination

    @property
    def is_moving(self) -> bool:
        return any(recipient.state in GOING_ON for recipient in self.recipients)

    def suspension(self, recipient: Recipient) -> ExchangerGroup | None:
        return self.suspensions.get(recipient.destination) if _waits(recipient) else None

    def pause(self, recipient: Recipient) -> PausedDestination | None:
        return self.pauses.get(recipient.destination) if _waits(recipient) else None


def summary_state(recipients: Iterable[Recipient]) -> str:
    return summary_of({recipient.state for recipient in recipients})


def summary_of(states: Container[str]) -> str:
    return next((state.value for state in _PRECEDENCE if state in states), RecipientState.SUBMITTED.value)


def messages_page(
    organization: Organization,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
    limit: int = PAGE_SIZE,
    sought: Sought = EVERYTHING,
) -> MessagePage:
    """The newest messages first. `before`, `after`: another page's `next`, `previous` (by key: each costs the same).

    Where recipients are sought: only messages with such a one. Raises TookTooLong.
    """
    found = find_messages(organization, sought, limit + 1, below=before, above=after)
    more, messages = len(found) > limit, found[:limit]
    if after:
        messages.reverse()
    recipients: dict[UUID, list[Recipient]] = defaultdict(list)
    if messages:
        for recipient in _of_messages(organization, [m.id for m in messages]).order_by("id"):
            recipients[recipient.message_id].append(recipient)
    wanted = sought.recipients
    rows = [MessageRow(m, of := recipients[m.id], [r for r in of if wanted.matches(r)]) for m in messages]
    return MessagePage(
        rows,
        next=messages[-1].id if messages and (more or after) else None,
        previous=messages[0].id if messages and (before or (after and more)) else None,
    )


def message_detail(
    organization: Organization, message_id: UUID, recipient_id: UUID | None = None
) -> MessageDetail | None:
    """`recipient_id`: as though the message had this one alone. None: there is no such message or recipient."""
    message = Message.objects.of(organization).filter(id=message_id).first()
    if message is None:
        return None
    query = Recipient.objects.of(organization).filter(message_id=message_id, id__gte=message_id)
    events = events_of_message(organization, message_id)
    if recipient_id is not None:
        query, events = query.filter(pk=recipient_id), events.filter(recipient_id=recipient_id)
    recipients = list(query.order_by("id"))
    if not recipients:
        return None
    destinations = {one.destination for one in recipients if _waits(one)}
    return MessageDetail(message, recipients, events.count(), _suspensions(destinations), pauses_of(destinations))


def timelines_of(
    organization: Organization, detail: MessageDetail, recipients: Sequence[Recipient]
) -> list[RecipientTimeline]:
    """Of some of its recipients, with the transcripts."""
    ids = [one.id for one in recipients]
    events = timelines(organization, detail.message.pk, ids, with_transcripts=True)
    return [
        RecipientTimeline(one, events.get(one.id, []), detail.suspension(one), detail.pause(one)) for one in recipients
    ]


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


# ---- For REST: bounded, however many recipients there are ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reach:
    """A message's recipients in short. `addresses` of the envelope are in order, and None where they were not asked for."""

    states: dict[str, int]
    addresses: list[str] | None

    @property
    def state(self) -> str:
        return summary_of(self.states)


def reach(organization: Organization, messages: Sequence[Message], *, addresses_most: int) -> dict[UUID, Reach]:
    """By message. `addresses_most`: those of messages with more recipients are left out."""
    few = [message.id for message in messages if message.recipient_count <= addresses_most]
    many = [message.id for message in messages if message.recipient_count > addresses_most]
    states: dict[UUID, Counter[str]] = defaultdict(Counter)
    addresses: dict[UUID, list[str]] = {message_id: [] for message_id in few}
    rows = _of_messages(organization, few).order_by("id").values_list("message_id", "state", "address")
    for message_id, state, address in rows:
        states[message_id][state] += 1
        addresses[message_id].append(address)
    counted = _of_messages(organization, many).order_by().values("message_id", "state").annotate(number=Count("*"))
    for message_id, state, number in counted.values_list("message_id", "state", "number"):
        states[message_id][state] = number
    return {one.id: Reach(dict(sorted(states[one.id].items())), addresses.get(one.id)) for one in messages}


def _of_messages(organization: Organization, ids: Sequence[UUID]) -> QuerySet[Recipient]:
    if not ids:
        return Recipient.objects.none()
    return Recipient.objects.of(organization).filter(message_id__in=ids, **Span.of(ids).of_recipients())


def with_events(organization: Organization, recipients: Sequence[Recipient]) -> list[RecipientTimeline]:
    """Recipients of one message, each with its course, without the transcripts."""
    if not recipients:
        return []
    events = timelines(organization, recipients[0].message_id, [one.id for one in recipients])
    return [RecipientTimeline(one, events.get(one.id, [])) for one in recipients]


def message_heads(ids: Sequence[UUID], octets: int) -> dict[UUID, bytes]:
    """The first octets of contents, by message of those that the caller found. Without those whose retention is over."""
    head = Func(F("raw"), Value(1), Value(octets), function="substring", output_field=BinaryField())
    contents = Content.objects.of_any().filter(id__in=ids).annotate(head=head)
    return {message_id: bytes(raw) for message_id, raw in contents.values_list("id", "head")}


def message_content(organization: Organization, message_id: UUID) -> bytes | None:
    """The message as it was accepted; None when it is unknown or its retention is over."""
    if not Message.objects.of(organization).filter(id=message_id).exists():
        return None
    raw = Content.objects.of_any().filter(id=message_id).values_list("raw", flat=True).first()
    return None if raw is None else bytes(raw)
