"""Events across emails, in an order that never changes behind a reader: whoever goes on from where they stopped misses
nothing and sees nothing twice.

Events are ordered by id. An id carries the moment at which it was made, some time before its transaction commits, so an event
can become visible after one with a later id. The feed therefore ends at a horizon: `MARGIN` before the present, and `MARGIN`
before the beginning of each transaction that is writing now (`pg_stat_activity`). That no event is written with an id from
before such a horizon is seen to where it is written (`events.margin`). All of PlugSend must use one database role, as it
does: of other roles' sessions PostgreSQL shows no transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from uuid import UUID

from django.db import connection

from accounts.ids import first_id_at
from accounts.models import Organization
from accounts.walls import across_organizations
from events.margin import MARGIN
from events.models import COMMON_TYPES, Event

EXAMINED_MOST = 10_000  # events for one page; a reader goes on from there
_Row = tuple[UUID, str, UUID]  # id, type, message_id

# The present is the moment at which the question came, and so before the look at the transactions. A writing transaction has
# an id of its own.
_HORIZON = """
    SELECT least(statement_timestamp(), min(xact_start)) - make_interval(secs => %s)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """`next` is where to go on, always; `has_more`: at once, also where this page is empty."""

    events: list[Event]
    next: UUID
    has_more: bool


def feed(
    organization: Organization,
    *,
    limit: int,
    after: UUID | None = None,
    types: Collection[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    of_messages: Callable[[Collection[UUID]], Collection[UUID]] | None = None,
) -> FeedPage:
    """The oldest first. `of_messages` tells of some messages' ids those whose events are meant; None: all are."""
    top = horizon()  # before the events are read: what has ended by now is visible then
    if until:
        top = min(top, first_id_at(until))
    bottom = max(after.int + 1 if after else 0, first_id_at(since).int if since else 0)
    wanted: list[UUID] = []
    last, examined, is_done = after, 0, False
    is_exact = of_messages is None and set(types).isdisjoint(COMMON_TYPES)  # each row is meant
    size = limit + 1 if is_exact else 2 * limit
    while len(wanted) < limit and examined < EXAMINED_MOST and not is_done:
        rows = _rows(organization, UUID(int=min(bottom, (1 << 128) - 1)), top, types, size)
        is_done = len(rows) < size
        messages = {row[2] for row in rows}
        meant = messages if of_messages is None else set(of_messages(messages))
        for identifier, type_, message_id in rows:
            if len(wanted) == limit:
                is_done = False
                break
            last = identifier
            if message_id in meant and (not types or type_ in types):
                wanted.append(identifier)
        examined += len(rows)
        bottom = last.int + 1 if last else bottom
        size = size if is_exact else min(2 * size, EXAMINED_MOST // 5)
    events = Event.objects.of(organization).filter(id__in=wanted).defer("transcript").order_by("id")
    return FeedPage(list(events) if wanted else [], last or top, has_more=not is_done)


@across_organizations()  # the database tells only the owner when others' transactions began
def horizon() -> UUID:
    """Events with lesser ids are visible, or will never be."""
    with connection.cursor() as cursor:
        cursor.execute(_HORIZON, [MARGIN.total_seconds()])
        return first_id_at(cursor.fetchone()[0])


def _rows(organization: Organization, bottom: UUID, top: UUID, types: Collection[str], most: int) -> list[_Row]:
    """In order. With the types where an index over types has them; else of any."""
    events = Event.objects.of(organization).filter(id__gte=bottom, id__lt=top).order_by("id")
    columns = events.values_list("id", "type", "message_id")
    if not types or not set(types).isdisjoint(COMMON_TYPES):
        return list(columns[:most])
    by_type: Iterable[list[_Row]] = [list(columns.filter(type=type_)[:most]) for type_ in sorted(set(types))]
    return list(islice(merge(*by_type), most))
