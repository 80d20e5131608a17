"""Which recipients and which messages somebody means. No I/O.

The message list and REST show by it (`relay.finding.search`), and `relay.acting.actions` acts by it, so that what is seen is
what is acted on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.db.models import F, Func, Q, TextField, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact, Regex

from domains.names import DomainRefused, normalize_domain, to_unicode
from events.reasons import REASONS
from relay.models import HAS_OUR_MESSAGE_ID, Recipient, RecipientState
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
    reason: str = ""  # of events.reasons: the last one
    exchanger: str = ""  # lower case: a host, what is below a domain, or an IP address that an attempt was at

    def __bool__(self) -> bool:
        return bool(self.state or self.destination or self.text or self.reason or self.exchanger)

    @property
    def is_indexed(self) -> bool:
        """Whether an index over recipients leads to them."""
        return bool(self.destination or self.reason) or self.state == OPEN or self.state in INDEXED_STATES | OPEN_STATES

    @property
    def is_quick(self) -> bool:
        """Whether an index answers it: then it may be looked at again and again."""
        by_index = self.state == OPEN or self.state in INDEXED_STATES or bool(self.reason)
        return not self or (by_index and not self.exchanger)

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
        if self.reason:
            parts.append(f"for the reason “{REASONS[self.reason].title}”")
        if self.exchanger:
            parts.append(f"that were tried at {self.exchanger}")
        return " ".join(parts)

    def condition(self) -> Q:
        """Over `Recipient`; without the exchanger, which events tell."""
        condition = Q()
        if self.state == OPEN or self.state in OPEN_STATES:
            condition &= Q(next_attempt_at__isnull=False)  # said for the sake of the partial indexes
        if self.state and self.state != OPEN:
            condition &= Q(state=self.state)
        if self.destination:
            condition &= Q(destination=self.destination)
        if self.text:
            condition &= self._is_whole_address() if self.is_whole else Q(address__icontains=self.text)
        if self.reason:
            condition &= Q(reason=self.reason) & ~Q(reason="")  # the second, too, for the sake of the partial index
        return condition

    def event_condition(self) -> Q:
        """Over `Event`: the exchanger's part."""
        host = Q(detail__exchanger__host__iexact=self.exchanger)
        host |= Q(detail__exchanger__host__iendswith=f".{self.exchanger}")
        return host | Q(detail__exchanger__address=self.exchanger)

    def _is_whole_address(self) -> Q:
        """In whatever way a client wrote the domain. By the index `recipient_by_address`."""
        local = self.text.rpartition("@")[0]
        condition = Q()
        for domain in {self.destination, to_unicode(self.destination)}:
            condition |= Q(Exact(Lower("address"), Lower(Value(f"{local}@{domain}"))))
        return condition

    def matches(self, recipient: Recipient) -> bool:
        """The same as `condition`, for a row that has been read."""
        if self.reason not in {"", recipient.reason}:
            return False
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

    ids: frozenset[UUID] | None = None
    domain_ids: frozenset[UUID] | None = None  # of the sending domain
    smtp_user_ids: frozenset[UUID] | None = None
    api_key_ids: frozenset[UUID] | None = None
    sender: str = ""  # a part of it, as in `read_filter`: of the envelope's or of the From header
    subject: str = ""  # a part of it
    message_id: str = ""  # the whole header, without angle brackets
    tags: tuple[str, ...] = ()  # all of them; `name` is that tag with any value, `name:value` just that one
    metadata: Mapping[str, str] = field(default_factory=dict)  # all of them
    since: datetime | None = None  # by the id, so to the millisecond
    until: datetime | None = None  # from then on no more

    def __bool__(self) -> bool:
        return not self.is_by_key or self.ids is not None or bool(self.since or self.until)

    @property
    def is_by_key(self) -> bool:
        """Whether there is nothing but ids and the time that they tell."""
        ids = (self.domain_ids, self.smtp_user_ids, self.api_key_ids)
        texts = (self.sender, self.subject, self.message_id, self.tags, self.metadata)
        return not any(texts) and ids == (None, None, None)

    def condition(self) -> Q:
        """Over `Message`; without the time, which is a range of ids."""
        condition = Q()
        if self.ids is not None:
            condition &= Q(id__in=self.ids)
        if self.sender:
            condition &= _is_from(self.sender)
        if self.message_id:
            condition &= _has_message_id(self.message_id)
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


def _has_message_id(text: str) -> Q:
    """One that we made names the message; the index is over the others (`relay.models`)."""
    others = Q(message_id_header=text) & ~HAS_OUR_MESSAGE_ID
    identifier = as_uuid(text.partition("@")[0])
    return others | Q(id=identifier, message_id_header=text) if identifier else others


def _is_from(text: str) -> Q:
    """Of the envelope, where the address stands alone, or of the header, where it may stand in angle brackets after a name."""
    parsed = parse_address(text)
    if parsed:
        condition = Q()
        for domain in {parsed[1], to_unicode(parsed[1])}:
            address = f"{parsed[0]}@{domain}"
            condition |= Q(envelope_sender__iexact=address) | Q(header_from__iexact=address)
            condition |= Q(header_from__icontains=f"<{address}>")
        return condition
    if not text.startswith("@"):
        return Q(envelope_sender__icontains=text) | Q(header_from__icontains=text)
    try:
        names = {normalize_domain(text[1:]), to_unicode(normalize_domain(text[1:]))}
    except DomainRefused:
        names = {text[1:]}
    condition = Q()
    for name in names:
        condition |= Q(envelope_sender__iendswith=f"@{name}") | Q(header_from__iendswith=f"@{name}")
        condition |= Q(header_from__icontains=f"@{name}>")
    return condition


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def read_filter(state: str, typed: str, *, reason: str = "", exchanger: str = "") -> RecipientFilter:
    """From what stands in an address bar; nonsense does not narrow.

    `typed`: `@example.com` is a destination, a whole address is just that one, anything else a part of addresses.
    """
    typed = typed.strip().replace("\0", "")[:254]
    state = state if state == OPEN or state in RecipientState.values else ""
    wanted = RecipientFilter(
        state=state, reason=reason if reason in REASONS else "", exchanger=exchanger.lower().rstrip(".")
    )
    if not typed:
        return wanted
    if typed.startswith("@"):
        try:
            return replace(wanted, destination=normalize_domain(typed[1:]))
        except DomainRefused:
            return replace(wanted, text=typed)
    parsed = parse_address(typed)
    if parsed:
        return replace(wanted, destination=parsed[1], text=typed, is_whole=True)
    return replace(wanted, text=typed)
