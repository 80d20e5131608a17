"""Finding messages: by what is known of them and of their recipients, a page at a time.

A search walks through time, one window of days after the other, and stops when the page is full. In each window one table's
index gives candidates in order, a handful at a time, and the other table is asked about just those. So what a page costs
follows from how far its rows lie apart, and not from what the planner makes of a join over all partitions: sorted merging of
partitions, its way to serve ORDER BY, would look for the first match in each of them before it gives the first row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from psycopg.errors import QueryCanceled

from accounts.ids import first_id_at, time_of
from accounts.models import Organization
from accounts.walls import across_organizations
from events.models import Event
from relay.finding.filters import MessageFilter, RecipientFilter
from relay.models import Message, Recipient

SEARCH_S = 5.0
CANDIDATES_FIRST, CANDIDATES_MOST = 64, 4096  # at a time
SWEPT = 500  # messages at a time, of a sweep
DAY = timedelta(days=1)
AHEAD = timedelta(hours=1)  # of our clock, by which another machine's may have made an id
BEGINNING = UUID(int=0)
EVERYONE = RecipientFilter()


@dataclass(frozen=True, slots=True)
class Sought:
    """Messages of which a recipient is wanted and which fit themselves."""

    recipients: RecipientFilter = EVERYONE
    messages: MessageFilter = field(default_factory=MessageFilter)

    @property
    def is_plain(self) -> bool:
        """Whether the key alone finds them."""
        return not self.recipients and self.messages.is_by_key


EVERYTHING = Sought()


class TookTooLong(Exception):
    """A search that no index answers went through too much."""


def find_messages(
    organization: Organization,
    sought: Sought,
    most: int,
    *,
    below: UUID | None = None,
    above: UUID | None = None,
) -> list[Message]:
    """At most so many: the newest first, of those below an id; or, with `above`, the oldest first of those above it.

    Raises TookTooLong.
    """
    span = _span(sought.messages, below, above)
    if span.is_empty:
        return []
    with nullcontext(_no_check) if sought.is_plain else within(SEARCH_S) as check:
        return _Walk(organization, sought, is_upwards=above is not None, check=check).through(span, most)


def sweep(organization: Organization, sought: Sought, span: Span) -> Iterator[tuple[list[Message], UUID]]:
    """All of them, the newest first: some at a time, with the id from which on everything has been seen.

    For work in the background, which ends and goes on anywhere: each step is bounded, also where nothing fits.
    """
    return _Walk(organization, sought, is_upwards=False, check=_no_check).all_of(span)


def recipients_meant(organization: Organization, wanted: RecipientFilter, ids: Sequence[UUID]) -> QuerySet[Recipient]:
    """Those of these messages' recipients who are wanted."""
    span = Span.of(ids)
    found = Recipient.objects.of(organization).filter(wanted.condition(), message_id__in=ids, **span.of_recipients())
    if wanted.exchanger:
        # Later days' partitions, too: an attempt may come long after its message.
        tried = Event.objects.of(organization).filter(wanted.event_condition(), message_id__in=ids, id__gte=span.low)
        found = found.filter(id__in=set(tried.values_list("recipient_id", flat=True)))
    return found


def span_of(organization: Organization, messages: MessageFilter, until: UUID) -> Span:
    """Where they can be, up to an id: down to the organization's first message."""
    span = _span(messages, until, None)
    first = _first_of(organization)
    return Span(max(span.low, first), span.high) if first else Span(span.high, span.high)


# ---- Ranges of ids ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """Ids from `low` on up to, and without, `high`. Bounds on both sides leave all other partitions out of a plan."""

    low: UUID
    high: UUID

    @classmethod
    def of(cls, ids: Collection[UUID]) -> Span:
        return cls(min(ids), _after(max(ids)))

    @property
    def is_empty(self) -> bool:
        return self.low >= self.high

    def on(self, column: str) -> dict[str, UUID]:
        return {f"{column}__gte": self.low, f"{column}__lt": self.high}

    def of_recipients(self) -> dict[str, UUID]:
        """The same over recipients, whose ids are made right after their message's (relay.submission.accept)."""
        return self.on("message_id") | Span(self.low, first_id_at(time_of(self.high) + AHEAD)).on("id")


def _span(messages: MessageFilter, below: UUID | None, above: UUID | None) -> Span:
    """An id is whatever a client sends: one of a time to come is the same as none."""
    end = first_id_at(datetime.now(UTC) + AHEAD)
    low = max(first_id_at(messages.since) if messages.since else BEGINNING, _after(above) if above else BEGINNING)
    high = min(first_id_at(messages.until) if messages.until else end, below or end)
    if messages.ids:
        low, high = max(low, min(messages.ids)), min(high, _after(max(messages.ids)))
    return Span(min(low, end), min(high, end))


def _after(identifier: UUID) -> UUID:
    return UUID(int=min(identifier.int + 1, (1 << 128) - 1))


# ---- Walking ---------------------------------------------------------------------------------------------------------


class _Walk:
    def __init__(
        self, organization: Organization, sought: Sought, *, is_upwards: bool, check: Callable[[], None]
    ) -> None:
        self.organization, self.sought, self.is_upwards, self.check = organization, sought, is_upwards, check
        self.size = CANDIDATES_FIRST

    def through(self, span: Span, most: int) -> list[Message]:
        found: list[Message] = []
        for window in self._upwards(span) if self.is_upwards else self._downwards(span):
            self.check()
            if not self.sought.recipients:
                found += self._messages(window)[: most - len(found)]
            else:
                for ids in self._candidates(window):
                    found += self._fitting(ids)
                    if len(found) >= most:
                        break
            if len(found) >= most:
                return found[:most]
        return found

    def all_of(self, span: Span) -> Iterator[tuple[list[Message], UUID]]:
        self.size = SWEPT
        for window in self._downwards(span, growth=1):
            if window.is_empty:  # the first, from midnight: it would lead nowhere
                continue
            for ids in self._candidates(window, growth=1):
                yield self._fitting(ids), ids[-1]
            yield [], window.low

    # The first window is within one day, then they grow.

    def _downwards(self, span: Span, growth: int = 2) -> Iterator[Span]:
        edge, width = _midnight(time_of(span.high)), DAY
        yield Span(max(first_id_at(edge), span.low), span.high)
        bottom = time_of(span.low) if span.low > BEGINNING else self._time_of_first()
        while bottom and bottom < edge:
            upper, edge, width = edge, max(edge - width, bottom), width * growth
            yield Span(max(first_id_at(edge), span.low), first_id_at(upper))

    def _upwards(self, span: Span) -> Iterator[Span]:
        low, end = span.low, time_of(span.high)
        edge, width = _midnight(time_of(low)) + DAY, DAY
        while edge < end:
            yield Span(low, first_id_at(edge))
            low, edge, width = first_id_at(edge), edge + width, width * 2
        yield Span(low, span.high)

    def _time_of_first(self) -> datetime | None:
        first = _first_of(self.organization)
        return time_of(first) if first else None

    def _candidates(self, window: Span, growth: int = 2) -> Iterator[Sequence[UUID]]:
        """Ids of messages, in order, to which one table agrees: recipients, where an index leads to those that are wanted."""
        while not window.is_empty:
            if self.sought.recipients.is_indexed:
                ids = self._of_recipients(window)
            else:
                ids = list(self._messages(window).values_list("id", flat=True)[: self.size])
            if ids:
                yield ids
            if len(ids) < self.size:
                return
            window = Span(_after(ids[-1]), window.high) if self.is_upwards else Span(window.low, ids[-1])
            self.size = min(self.size * growth, CANDIDATES_MOST)
            self.check()

    def _of_recipients(self, window: Span) -> list[UUID]:
        by_message = self._recipients(window).order_by("message_id" if self.is_upwards else "-message_id")
        # Row security lets no index over lower(address) be used: the function is not leakproof (PostgreSQL manual, 39.5).
        # What is read here are ids; what becomes of them is read behind the wall.
        with across_organizations() if self.sought.recipients.is_whole else nullcontext():
            return list(by_message.values_list("message_id", flat=True).distinct()[: self.size])

    def _fitting(self, ids: Sequence[UUID]) -> list[Message]:
        """Those of the candidates to which the other table agrees, too."""
        wanted, exactly = self.sought.recipients, Span.of(ids)
        if wanted and (wanted.exchanger or not wanted.is_indexed):
            meant = recipients_meant(self.organization, wanted, ids)
            ids = list(meant.order_by().values_list("message_id", flat=True).distinct())
        return list(self._messages(exactly).filter(id__in=ids)) if ids else []

    def _messages(self, span: Span) -> QuerySet[Message]:
        messages = Message.objects.of(self.organization).filter(self.sought.messages.condition(), **span.on("id"))
        return messages.order_by("id" if self.is_upwards else "-id")

    def _recipients(self, span: Span) -> QuerySet[Recipient]:
        recipients = Recipient.objects.of(self.organization).filter(self.sought.recipients.condition())
        return recipients.filter(**span.of_recipients())


def _first_of(organization: Organization) -> UUID | None:
    first: UUID | None = Message.objects.of(organization).order_by("id").values_list("id", flat=True).first()
    return first


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


# ---- Patience --------------------------------------------------------------------------------------------------------


def _no_check() -> None:
    """For what takes no time."""


@contextmanager
def within(seconds: float) -> Iterator[Callable[[], None]]:
    """Ends statements that take longer; where there are several, call what it gives between them. Raises TookTooLong."""
    deadline, granted = time.monotonic() + seconds, seconds

    def check() -> None:
        nonlocal granted
        left = deadline - time.monotonic()
        if left <= 0:
            raise TookTooLong
        if left < granted / 2:
            grant(left)
            granted = left

    def grant(seconds: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [max(1, int(seconds * 1000))])

    try:
        with transaction.atomic():
            grant(seconds)
            yield check
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise
