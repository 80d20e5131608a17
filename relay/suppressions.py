"""Addresses that an organization's mail is not sent to any more: made by hard bounces or by hand, ended by hand.

The delivery engine makes and heeds them too. It compares `lower(local part) || '@' || destination` of a recipient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.audit import SYSTEM, Actor, Thing, note
from accounts.ids import first_id_at
from accounts.models import Organization
from accounts.scoping import OrganizationQuerySet
from events.reasons import REASONS
from relay.models import Recipient, Suppression
from relay.submission.addresses import domain_of

MANUAL, COMPLAINT = "manual", "complaint"
ORIGINS = ["bounce", "complaint", "manual"]  # Resend's words
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
    organization: Organization,
    address: str,
    *,
    reason: str = MANUAL,
    message_id: UUID | None = None,
    reply: str = "",
    by: Actor = SYSTEM,
) -> tuple[Suppression, bool]:
    """The address's suppression, and whether it is new: the first one stays with its reason. Raises AddressRefused."""
    key = normalized(address.strip())
    if key is None:
        raise AddressRefused(f"“{address.strip()}” is not a valid address. Write it as name@domain.com.")
    values = {"reason": reason, "message_id": message_id, "reply": reply}
    with transaction.atomic():
        suppressions = Suppression.objects.of(organization)
        found, is_new = suppressions.get_or_create(organization_id=organization.pk, address=key, defaults=values)
        if is_new:
            _note_added(organization, [found], by)
    return found, is_new


def suppress_all(
    organization: Organization, addresses: Iterable[str], *, by: Actor = SYSTEM
) -> dict[str, tuple[Suppression, bool]]:
    """As `suppress`, for many. `addresses`: as from `normalized`; so are the keys of what is returned."""
    # In the order in which the engine suppresses, so that neither waits for the other in a circle. What is there already is
    # locked, so that it cannot go before it is read.
    made = [
        Suppression(organization_id=organization.pk, address=address, reason=MANUAL)
        for address in sorted(set(addresses))
    ]
    new = {suppression.pk for suppression in made}
    with transaction.atomic():
        Suppression.objects.bulk_create(
            made, update_conflicts=True, unique_fields=["organization", "address"], update_fields=["address"]
        )
        found = list(Suppression.objects.of(organization).filter(address__in=[one.address for one in made]))
        _note_added(organization, [one for one in found if one.pk in new], by)
    return {one.address: (one, one.pk in new) for one in found}


def find_suppression(organization: Organization, which: str) -> Suppression | None:
    """`which`: its id, or the address in whatever spelling."""
    query = Suppression.objects.of(organization)
    try:
        return query.filter(pk=UUID(which)).first()
    except ValueError:
        address = normalized(which)
        return query.filter(address=address).first() if address else None


def remove_suppressions(
    organization: Organization, *, addresses: Iterable[str] = (), ids: Iterable[UUID] = (), by: Actor = SYSTEM
) -> list[Suppression]:
    """Removes those that are there and returns them. `addresses`: as from `normalized`."""
    condition = Q(address__in=list(addresses)) | Q(pk__in=list(ids))
    with transaction.atomic():
        query = Suppression.objects.of(organization).filter(condition).order_by("address")
        found = list(query.select_for_update())
        Suppression.objects.of(organization).filter(pk__in=[one.pk for one in found]).delete()
        _note_removed(organization, found, by)
    return found


def unsuppress(organization: Organization, suppression_id: UUID, *, by: Actor = SYSTEM) -> bool:
    """Mail to the address is sent again. False: there was no such suppression."""
    return bool(remove_suppressions(organization, ids=[suppression_id], by=by))


def suppressions_page(
    organization: Organization, *, search: str = "", before: UUID | None = None, limit: int = PAGE_SIZE
) -> SuppressionPage:
    """The newest first. `search`: an address, or a part of one."""
    query = suppressions_like(organization, search=search).order_by("-id")
    if before:
        query = query.filter(id__lt=before)
    rows = list(query[: limit + 1])
    return SuppressionPage(rows[:limit], rows[limit - 1].pk if len(rows) > limit else None)


def suppressions_like(
    organization: Organization, *, search: str = "", origin: str = "", reason: str = "", since: datetime | None = None
) -> OrganizationQuerySet[Suppression]:
    """Empty parts do not narrow. `search`: an address, or a part of one; `origin`: of ORIGINS."""
    query = Suppression.objects.of(organization)
    if search:
        whole = normalized(search)
        query = query.filter(address=whole) if whole else query.filter(address__contains=search.lower())
    if origin == "bounce":
        query = query.exclude(reason__in=[MANUAL, COMPLAINT])
    elif origin:
        query = query.filter(reason=origin)
    if reason:
        query = query.filter(reason=reason)
    if since:
        # Ids are made with the rows, give or take a moment, and have an index.
        query = query.filter(created_at__gte=since, pk__gte=first_id_at(since - timedelta(seconds=60)))
    return query


def suppressions_of(organization: Organization, recipients: Iterable[Recipient]) -> dict[UUID, Suppression]:
    """By recipient id, for those whose address is suppressed now."""
    keys = {recipient.id: _key(recipient.address, recipient.destination) for recipient in recipients}
    found = {one.address: one for one in Suppression.objects.of(organization).filter(address__in=set(keys.values()))}
    return {identifier: found[key] for identifier, key in keys.items() if key in found}


def origin_of(reason: str) -> str:
    """One of ORIGINS."""
    return reason if reason in {MANUAL, COMPLAINT} else "bounce"


def reason_title(reason: str) -> str:
    if reason == MANUAL:
        return "Added by hand"
    return REASONS[reason].title if reason in REASONS else reason.replace("_", " ").capitalize()


def _key(address: str, destination: str) -> str:
    return f"{address.rpartition('@')[0].lower()}@{destination}"


# ---- In the audit log: one entry for each request


def _note_added(organization: Organization, added: Sequence[Suppression], by: Actor) -> None:
    if len(added) == 1:
        after = {"reason": added[0].reason}
        note(by, "suppression.added", added[0], organization_id=organization.pk, after=after)
    elif added:
        note(by, "suppression.added", _many(added), organization_id=organization.pk, after=_listed(added))


def _note_removed(organization: Organization, removed: Sequence[Suppression], by: Actor) -> None:
    if len(removed) == 1:
        before = {"reason": removed[0].reason, "suppressed_since": removed[0].created_at}
        note(by, "suppression.removed", removed[0], organization_id=organization.pk, before=before)
    elif removed:
        note(by, "suppression.removed", _many(removed), organization_id=organization.pk, before=_listed(removed))


def _many(suppressions: Sequence[Suppression]) -> Thing:
    return Thing(None, f"{len(suppressions):,} addresses")


def _listed(suppressions: Sequence[Suppression]) -> dict[str, object]:
    return {"count": len(suppressions), "addresses": [one.address for one in suppressions]}
