"""Which recipients and which messages somebody means. No I/O.

The message list and REST show by it (`relay.search`), and `relay.actions` acts by it, so that what is seen is what is acted on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import F, Func, Q, TextField, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact, Regex

from domains.names import DomainRefused, normalize_domain, to_unicode
from relay.models import Recipient, RecipientState
from relay.submission.addresses import parse_address

OPEN = "open"  # of whatever state, but not final
OPEN_STATES = frozenset(
    {
        RecipientState.SUBMITTED,
        RecipientState.SCHEDULED,
        RecipientState.DEFERRED,
        RecipientState.IN_DOUBT,
        RecipientState.HELD,
    }
)
# The states that `recipient_by_state` (relay.models) finds whatever the length of the table.
INDEXED_STATES = frozenset(RecipientState) - {RecipientState.SUBMITTED, RecipientState.DELIVERED}
_STATE_WORDS = {OPEN: "in the queue", RecipientState.UNKNOWN_OUTCOME.value: "whose outcome is unknown"}


@dataclass(frozen=True, slots=True)
class RecipientFilter:
    """Empty parts do not narrow. `text` is a part of an address; where `is_whole`, it is one whose domain is `destination`."""

    state: str = ""  # OPEN or a RecipientState
    destination: str = ""  # A-label form, lower case
    text: str = ""
    is_whole: bool = False
    typed: str = ""  # what destination and text were read from

    def __bool__(self) -> bool:
        return bool(self.state or self.destination or self.text)

    @property
    def is_indexed(self) -> bool:
        """Whether an index over recipients leads to them."""
        return self.is_whole or self.state == OPEN or self.state in INDEXED_STATES | OPEN_STATES

    @property
    def is_quick(self) -> bool:
        """Whether an index answers it: then it may be looked at again and again."""
        return not self or self.state == OPEN or self.state in INDEXED_STATES

    @property
    def query(self) -> str:
        """As it stands in an address: what `read_filter` reads."""
        return urlencode({name: value for name, value in (("state", self.state), ("q", self.typed)) if value})

    @property
    def words(self) -> str:
        """Completes “Recipients …”."""
        parts = []
        if self.state:
            parts.append(_STATE_WORDS.get(self.state) or f"that are {self.state.replace('_', ' ')}")
        if self.is_whole:
            parts.append(f"with the address {self.text}")
        elif self.destination:
            parts.append(f"at {to_unicode(self.destination)}")
        elif self.text:
            parts.append(f"whose address holds “{self.text}”")
        return " ".join(parts)

    def condition(self) -> Q:
        """Over `Recipient`."""
        condition = Q()
        if self.state == OPEN or self.state in OPEN_STATES:
            condition &= Q(next_attempt_at__isnull=False)  # said for the sake of the partial indexes
        if self.state and self.state != OPEN:
            condition &= Q(state=self.state)
        if self.destination:
            condition &= Q(destination=self.destination)
        if self.text:
            condition &= self._is_whole_address() if self.is_whole else Q(address__icontains=self.text)
        return condition

    def _is_whole_address(self) -> Q:
        """In whatever way a client wrote the domain. By the index `recipient_by_address`."""
        local = self.text.rpartition("@")[0]
        condition = Q()
        for domain in {self.destination, to_unicode(self.destination)}:
            condition |= Q(Exact(Lower("address"), Lower(Value(f"{local}@{domain}"))))
        return condition

    def matches(self, recipient: Recipient) -> bool:
        """The same as `condition`, for a row that has been read."""
        if self.state == OPEN and recipient.next_attempt_at is None:
            return False
        if self.state and self.state not in {OPEN, recipient.state}:
            return False
        if self.destination and self.destination != recipient.destination:
            return False
        text, address = self.text.lower(), recipient.address.lower()
        if self.is_whole:
            return text.rpartition("@")[0] == address.rpartition("@")[0]
        return text in address


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Empty parts do not narrow. Of ids any one will do; None does not narrow, an empty set leaves nothing."""

    domain_ids: frozenset[UUID] | None = None  # of the sending domain
    smtp_user_ids: frozenset[UUID] | None = None
    api_key_ids: frozenset[UUID] | None = None
    subject: str = ""  # a part of it
    tags: tuple[str, ...] = ()  # all of them; `name` is that tag with any value, `name:value` just that one
    metadata: Mapping[str, str] = field(default_factory=dict)  # all of them
    since: datetime | None = None  # by the id, so to the millisecond
    until: datetime | None = None  # from then on no more

    @property
    def is_time_only(self) -> bool:
        ids = (self.domain_ids, self.smtp_user_ids, self.api_key_ids)
        return not (self.subject or self.tags or self.metadata) and ids == (None, None, None)

    def condition(self) -> Q:
        """Over `Message`; without the time, which is a range of ids."""
        condition = Q()
        if self.domain_ids is not None:
            condition &= Q(domain_id__in=self.domain_ids)
        if self.smtp_user_ids is not None:
            condition &= Q(smtp_user_id__in=self.smtp_user_ids)
        if self.api_key_ids is not None:
            condition &= Q(api_key_id__in=self.api_key_ids)
        if self.subject:
            condition &= Q(subject__icontains=self.subject)
        if whole := [tag for tag in self.tags if ":" in tag]:
            condition &= Q(tags__contains=whole)
        for name in (tag for tag in self.tags if ":" not in tag):
            condition &= Q(Regex(_TAG_TEXT, Value(rf"(^|,){re.escape(name)}(:|,|$)")))
        if self.metadata:
            condition &= Q(metadata__contains=dict(self.metadata))
        return condition


_TAG_TEXT = Func(F("tags"), Value(","), function="array_to_string", output_field=TextField())  # no tag holds a comma


def read_filter(state: str, typed: str) -> RecipientFilter:
    """From what stands in an address bar; nonsense does not narrow.

    `typed`: `@example.com` is a destination, a whole address is just that one, anything else a part of addresses.
    """
    typed = typed.strip().replace("\0", "")[:254]
    state = state if state == OPEN or state in RecipientState.values else ""
    if not typed:
        return RecipientFilter(state)
    if typed.startswith("@"):
        try:
            return RecipientFilter(state, destination=normalize_domain(typed[1:]), typed=typed)
        except DomainRefused:
            return RecipientFilter(state, text=typed, typed=typed)
    parsed = parse_address(typed)
    if parsed:
        return RecipientFilter(state, parsed[1], typed, is_whole=True, typed=typed)
    return RecipientFilter(state, text=typed, typed=typed)
