"""From events of one hour to what is added to rollups. No I/O.

How many values a dimension has is bounded: of each organization and day the first `VALUES_MOST` that occur are counted by
themselves, and so are the providers that are known; further ones are counted together, under the empty value. Which these
are follows from the log alone, so a value's figures of a day are either complete or not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from events.models import EventType
from events.reasons import suppresses
from relay.statistics.models import Dimension
from relay.statistics.providers import PROVIDERS, provider_of

VALUES_MOST = 100
EXAMPLES_MOST = 3

COUNTERS = (
    "submitted", "delivered", "bounced_hard", "bounced_soft", "deferred", "complained", "suppressed", "cancelled",
    "unknown_outcome",
)  # fmt: skip
# Others change no figure, or lead to one of these.
COUNTED = (
    EventType.SUBMITTED, EventType.DELIVERED, EventType.BOUNCED, EventType.DEFERRED, EventType.COMPLAINED,
    EventType.SUPPRESSED, EventType.CANCELLED, EventType.UNKNOWN_OUTCOME,
)  # fmt: skip
UNTRIED = (EventType.SUBMITTED, EventType.SUPPRESSED, EventType.CANCELLED)
FAILURES = (EventType.BOUNCED, EventType.DEFERRED, EventType.UNKNOWN_OUTCOME)


@dataclass(frozen=True, slots=True)
class Group:
    """Events that are alike in all that is counted by, `number` of them."""

    organization_id: UUID
    type: str
    reason: str
    exchanger: str  # empty: none was spoken to
    destination: str  # empty: nobody asks for it (UNTRIED)
    domain_id: UUID | None
    smtp_user_id: UUID | None
    template_id: UUID | None
    tags: tuple[str, ...]
    latency: int | None  # the bucket; of deliveries
    number: int
    first_id: UUID
    examples: tuple[UUID, ...] = ()  # messages, the newest first


@dataclass(slots=True)
class Tally:
    """What is added to a row of Rollup, and to the rows of Failure beside it, by type and reason."""

    counts: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)

    @property
    def buckets(self) -> list[int]:
        return [self.latency[bucket] for bucket in range(max(self.latency, default=-1) + 1)]


Key = tuple[UUID, str, str]  # organization, dimension, value
Admitted = dict[
    tuple[UUID, str], set[str]
]  # by organization and dimension: values that have rows of their own on the day


def fold(groups: Iterable[Group], admitted: Admitted) -> dict[Key, Tally]:
    """Of one hour, in the order of the log: what came before is in `admitted` already, which grows."""
    tallies: dict[Key, Tally] = defaultdict(Tally)
    for group in sorted(groups, key=lambda one: one.first_id):
        for key in _keys(group, admitted):
            _add(tallies[key], group)
    return tallies


def _keys(group: Group, admitted: Admitted) -> Iterator[Key]:
    yield group.organization_id, Dimension.ALL.value, ""
    for dimension, values in _values(group):
        places = admitted.setdefault((group.organization_id, dimension), set())
        for value in {_place(value, places) for value in sorted(values)}:  # of several without a place, once
            yield group.organization_id, dimension, value


def _values(group: Group) -> Iterator[tuple[str, set[str]]]:
    # Who keeps a mailbox is known when its exchanger has been asked, not when mail for it is accepted.
    if group.type not in UNTRIED:
        yield Dimension.PROVIDER.value, {provider_of(group.exchanger, group.destination)}
    yield Dimension.TAG.value, set(group.tags)
    for dimension, value in (
        (Dimension.DOMAIN, group.domain_id),
        (Dimension.SMTP_USER, group.smtp_user_id),
        (Dimension.TEMPLATE, group.template_id),
    ):
        yield dimension.value, {str(value)} if value else set()


def _place(value: str, places: set[str]) -> str:
    """The value itself, or the empty one where all places are taken."""
    if value in places or value in PROVIDERS:
        return value
    if len(places) >= VALUES_MOST:
        return ""
    places.add(value)
    return value


def counter_of(type_: str, reason: str) -> str:
    if type_ == EventType.BOUNCED:
        return "bounced_hard" if suppresses(reason) else "bounced_soft"
    return str(type_)


def _add(tally: Tally, group: Group) -> None:
    tally.counts[counter_of(group.type, group.reason)] += group.number
    if group.latency is not None:
        tally.latency[group.latency] += group.number
    if group.type in FAILURES:
        what = (group.type, group.reason)
        tally.failures[what] += group.number
        newest = {*tally.examples.get(what, ()), *group.examples}
        tally.examples[what] = sorted(newest, reverse=True)[:EXAMPLES_MOST]
