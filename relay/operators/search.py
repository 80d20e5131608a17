"""Finding messages and recipients of all organizations, by whatever an operator has: ids, addresses, domains, names.

Each word narrows. What a word means is found out first, by keys, so that the list itself is a look into one index. There is
none from an address to its mail over all organizations, since the mail path would pay for it: an address alone is looked for
day after day, in each organization's own index, until a page is full or `PATIENCE_S` are over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Lower
from django.db.models.lookups import Exact

from accounts.admin_lists import PATIENCE_S, as_uuid
from accounts.ids import first_id_at
from accounts.models import Organization
from domains.models import SendingDomain, SmtpUser
from domains.names import DomainRefused, normalize_domain
from relay.finding.filters import MessageFilter
from relay.models import Message, Recipient
from relay.submission.addresses import parse_address

FOUND_MOST = 100  # rows by an address; messages by a Message-ID
NEWEST = 500  # messages, of which recipients are listed
NAMED_MOST = 20  # organizations of one name
DAYS_BACK = 400

_BY_ADDRESS = """
    SELECT r.id, r.message_id FROM accounts_organization o
    CROSS JOIN LATERAL (
        SELECT id, message_id FROM relay_recipient r
        WHERE r.organization_id = o.id AND r.destination = %(destination)s AND lower(r.address) = lower(%(address)s)
          AND r.id >= %(low)s AND r.id < %(high)s
        ORDER BY message_id DESC LIMIT %(most)s) r
    ORDER BY r.id DESC LIMIT %(most)s
"""


class NotFound(Exception):
    """Nothing goes by this word; says what words may be."""


def message_condition(words: str) -> Q:
    """Over `Message`. Raises NotFound."""
    organizations, rest = _split(words)
    return _of(organizations) & _all(rest, _message_word)


def recipient_condition(words: str) -> Q:
    """Over `Recipient`. Raises NotFound."""
    organizations, rest = _split(words)
    return _of(organizations) & _all(rest, lambda word: _recipient_word(word, is_narrow=bool(organizations)))


def _all(words: list[str], meaning: Callable[[str], Q]) -> Q:
    condition = Q()
    for word in words:
        condition &= meaning(word)
    return condition


def _of(organizations: list[UUID]) -> Q:
    if len(organizations) == 1:  # an equality, by which an index gives rows in order
        return Q(organization_id=organizations[0])
    return Q(organization_id__in=organizations) if organizations else Q()


def _split(words: str) -> tuple[list[UUID], list[str]]:
    """Organizations that are meant, by id or name, and the other words."""
    organizations, rest = list[UUID](), list[str]()
    if named := _named(words.strip()):  # a name of several words
        return named, []
    for word in words.split():
        identifier = as_uuid(word)
        if identifier and Organization.objects.filter(pk=identifier).exists():
            organizations.append(identifier)
        elif not identifier and "@" not in word and "." not in word and (found := _named(word)):
            organizations += found
        else:
            rest.append(word)
    return organizations, rest


def _named(name: str) -> list[UUID]:
    return (
        list(Organization.objects.filter(name__iexact=name).values_list("pk", flat=True)[:NAMED_MOST]) if name else []
    )


# ---- What a word means -----------------------------------------------------------------------------------------------


def _message_word(word: str) -> Q:
    if identifier := as_uuid(word):
        return _message_by_id(identifier)
    text = word.strip("<>")
    if "@" in text.strip("@"):
        if by_header := _by_message_id(text):
            return Q(id__in=by_header)
        smtp_user = SmtpUser.objects.filter(address=text.lower()).order_by("-id").values_list("pk", flat=True).first()
        if smtp_user:
            return Q(smtp_user_id=smtp_user)
        return Q(id__in=[message_id for _, message_id in _by_address(text)])
    if domains := _domains(text):
        return Q(domain_id=domains[0]) if len(domains) == 1 else Q(domain_id__in=domains)
    raise NotFound(
        f"Nothing goes by “{word}”: no organization has that name, and nobody sends as that domain. Subjects are content, and "
        "are not searched here."
    )


def _recipient_word(word: str, *, is_narrow: bool) -> Q:
    """`is_narrow`: an organization is named as well, whose own index is looked into."""
    if identifier := as_uuid(word):
        by_sender = _sender(identifier)
        if by_sender is not None:
            return Q(
                message_id__in=list(
                    Message.objects.filter(by_sender).order_by("-id").values_list("pk", flat=True)[:NEWEST]
                )
            )
        return Q(id=identifier) | Q(message_id=identifier)
    text = word.strip("<>")
    is_open = Q() if is_narrow else Q(next_attempt_at__isnull=False)
    if "@" in text.strip("@"):
        if by_header := _by_message_id(text):
            return Q(message_id__in=by_header)
        parsed = parse_address(text)
        if parsed is None:
            raise NotFound(f"“{word}” is neither an address nor a Message-ID that there is.")
        if is_narrow:
            return Q(destination=parsed[1]) & Q(Exact(Lower("address"), text.lower()))
        return Q(id__in=[recipient_id for recipient_id, _ in _by_address(text)])
    try:
        return is_open & Q(destination=normalize_domain(text.removeprefix("@")))
    except DomainRefused:
        raise NotFound(f"Nothing goes by “{word}”: no organization has that name, and it is no domain.") from None


def _message_by_id(identifier: UUID) -> Q:
    by_sender = _sender(identifier)
    if by_sender is not None:
        return by_sender
    of_recipient = Recipient.objects.filter(pk=identifier).values_list("message_id", flat=True).first()
    return Q(id=of_recipient or identifier)


def _sender(identifier: UUID) -> Q | None:
    if SendingDomain.objects.filter(pk=identifier).exists():
        return Q(domain_id=identifier)
    return Q(smtp_user_id=identifier) if SmtpUser.objects.filter(pk=identifier).exists() else None


def _by_message_id(text: str) -> list[UUID]:
    condition = MessageFilter(message_id=text).condition()
    return list(Message.objects.filter(condition).values_list("pk", flat=True)[:FOUND_MOST])


def _domains(text: str) -> list[UUID]:
    try:
        name = normalize_domain(text.removeprefix("@"))
    except DomainRefused:
        return []
    return list(SendingDomain.objects.filter(name=name).values_list("pk", flat=True)[:NAMED_MOST])


def _by_address(address: str) -> list[tuple[UUID, UUID]]:
    """(recipient, message) of the newest mail to it: what is in the queue at once, the rest day after day. Raises NotFound."""
    parsed = parse_address(address)
    if parsed is None:
        raise NotFound(f"“{address}” is neither an address nor a Message-ID that there is.")
    of_address = Recipient.objects.filter(Exact(Lower("address"), address.lower()), destination=parsed[1])
    found = dict(of_address.filter(next_attempt_at__isnull=False).values_list("id", "message_id")[:FOUND_MOST])
    until, high = time.monotonic() + PATIENCE_S, datetime.now(UTC) + timedelta(hours=1)
    midnight = high.replace(hour=0, minute=0, second=0, microsecond=0)
    first = Recipient.objects.order_by("id").values_list("id", flat=True).first()
    for _ in range(DAYS_BACK):
        if len(found) >= FOUND_MOST or time.monotonic() > until or (first and first_id_at(high) <= first):
            break
        low = midnight if midnight < high else high - timedelta(days=1)
        terms: dict[str, Any] = {"destination": parsed[1], "address": address, "most": FOUND_MOST}
        terms |= {"low": first_id_at(low), "high": first_id_at(high)}
        with connection.cursor() as cursor:
            cursor.execute(_BY_ADDRESS, terms)
            found |= dict(cursor.fetchall())
        high = low
    return sorted(found.items(), reverse=True)[:FOUND_MOST]
