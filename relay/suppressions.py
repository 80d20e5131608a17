"""Addresses that an organization's mail is not sent to any more: made by hard bounces or by hand, ended by hand.

The delivery engine makes and heeds them too. It compares `lower(local part) || '@' || destination` of a recipient.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from accounts.models import Organization
from events.reasons import REASONS
from relay.models import Recipient, Suppression
from relay.submission.addresses import domain_of

MANUAL = "manual"
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class SuppressionPage:
    rows: list[Suppression]
    next: UUID | None  # `before` of the following page; None: this is the last


class AddressRefused(Exception):
    """No address. `message` says what is wrong with which value."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def normalized(address: str) -> str | None:
    """As suppressions are kept: lower case, the domain in A-label form. None: no address that mail can be sent to.

    Local parts may be case-sensitive (RFC 5321, 2.4). None of the large providers' are: a person who is gone as Ada@ is gone
    as ada@.
    """
    destination = domain_of(address)
    return _key(address, destination) if destination else None


def suppress(
    organization: Organization, address: str, *, reason: str = MANUAL, message_id: UUID | None = None, reply: str = ""
) -> tuple[Suppression, bool]:
    """The address's suppression, and whether it is new: the first one stays with its reason. Raises AddressRefused."""
    key = normalized(address.strip())
    if key is None:
        raise AddressRefused(f"“{address.strip()}” is not a valid address. Write it as name@domain.com.")
    values = {"reason": reason, "message_id": message_id, "reply": reply}
    return Suppression.objects.get_or_create(organization_id=organization.pk, address=key, defaults=values)


def unsuppress(organization: Organization, suppression_id: UUID) -> bool:
    """Mail to the address is sent again. False: there was no such suppression."""
    return bool(Suppression.objects.of(organization).filter(pk=suppression_id).delete()[0])


def suppressions_page(
    organization: Organization, *, search: str = "", before: UUID | None = None, limit: int = PAGE_SIZE
) -> SuppressionPage:
    """The newest first. `search`: an address, or a part of one."""
    query = Suppression.objects.of(organization).order_by("-id")
    if search:
        whole = normalized(search)
        query = query.filter(address=whole) if whole else query.filter(address__contains=search.lower())
    if before:
        query = query.filter(id__lt=before)
    rows = list(query[: limit + 1])
    return SuppressionPage(rows[:limit], rows[limit - 1].pk if len(rows) > limit else None)


def suppressions_of(organization: Organization, recipients: Iterable[Recipient]) -> dict[UUID, Suppression]:
    """By recipient id, for those whose address is suppressed now."""
    keys = {recipient.id: _key(recipient.address, recipient.destination) for recipient in recipients}
    found = {one.address: one for one in Suppression.objects.of(organization).filter(address__in=set(keys.values()))}
    return {identifier: found[key] for identifier, key in keys.items() if key in found}


def reason_title(reason: str) -> str:
    if reason == MANUAL:
        return "Added by hand"
    return REASONS[reason].title if reason in REASONS else reason.replace("_", " ").capitalize()


def _key(address: str, destination: str) -> str:
    return f"{address.rpartition('@')[0].lower()}@{destination}"
