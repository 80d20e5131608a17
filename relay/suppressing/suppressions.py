"""Addresses that an organization's mail, or that of one stream, is not sent to any more.

Made by hard bounces, complaints, recipients who unsubscribe, soft bounces in a row (`soft_bounces`), by hand and from files
(`importing`); ended by hand. Both doors heed them when they store a message; the delivery engine, which makes them too, once
more at each claim. They compare `lower(local part) || '@' || destination` of a recipient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, Thing
from accounts.audit import note as audited
from accounts.ids import first_id_at
from accounts.models import Organization
from accounts.scoping import OrganizationQuerySet
from domains.streams import is_stream
from events.reasons import REASONS
from relay.finding.search import SEARCH_S, within
from relay.models import NOTE_LENGTH, Recipient, SoftBouncePardon, Suppression
from relay.submission.addresses import domain_of

MANUAL, COMPLAINT, UNSUBSCRIBE, SOFT_BOUNCES = "manual", "complaint", "unsubscribe", "soft_bounces"
ORIGINS = ["bounce", "complaint", "manual", "unsubscribe"]  # Resend's words, and the last is ours
TITLES = {
    MANUAL: "Added by hand or from a file",
    COMPLAINT: "Reported as spam",
    UNSUBSCRIBE: "Unsubscribed",
    SOFT_BOUNCES: "Bounced again and again",
}
_NOT_BOUNCES = {MANUAL, COMPLAINT, UNSUBSCRIBE}
ALL_MAIL = "all-mail*"  # in place of a stream, of which it is none
PAGE_SIZE = 50
AROUND = timedelta(seconds=60)


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
    stream: str = "",
    note: str = "",
    by: Actor = SYSTEM,
) -> tuple[Suppression, bool]:
    """The address's suppression, and whether it is new: the first one stays with its reason. Raises AddressRefused.

    `stream`: whose mail is not sent any more; empty: all. `note`: for whoever reads the list.
    """
    key = normalized(address.strip())
    if key is None:
        raise AddressRefused(f"“{address.strip()}” is not a valid address. Write it as name@domain.com.")
    values = {
        "reason": reason,
        "message_id": message_id,
        "reply": reply,
        "note": note[:NOTE_LENGTH],
        "added_by": _name(by),
    }
    with transaction.atomic():
        suppressions = Suppression.objects.of(organization)
        found, is_new = suppressions.get_or_create(
            organization_id=organization.pk, address=key, stream=stream, defaults=values
        )
        if is_new:
            _note_added(organization, [found], by)
    return found, is_new


def suppress_all(
    organization: Organization,
    addresses: Iterable[str],
    *,
    stream: str = "",
    note: str = "",
    by: Actor = SYSTEM,
) -> dict[str, tuple[Suppression, bool]]:
    """As `suppress`, for many. `addresses`: as from `normalized`; so are the keys of what is returned."""
    # In the order in which the engine suppresses, so that neither waits for the other in a circle. What is there already is
    # locked, so that it cannot go before it is read.
    made = [
        Suppression(
            organization_id=organization.pk,
            address=address,
            stream=stream,
            reason=MANUAL,
            note=note[:NOTE_LENGTH],
            added_by=_name(by),
        )
        for address in sorted(set(addresses))
    ]
    new = {suppression.pk for suppression in made}
    with transaction.atomic():
        Suppression.objects.bulk_create(
            made, update_conflicts=True, unique_fields=["organization", "address", "stream"], update_fields=["address"]
        )
        addresses = [one.address for one in made]
        found = list(Suppression.objects.of(organization).filter(address__in=addresses, stream=stream))
        _note_added(organization, [one for one in found if one.pk in new], by)
    return {one.address: (one, one.pk in new) for one in found}


def find_suppression(organization: Organization, which: str) -> Suppression | None:
    """`which`: its id, or the address in whatever spelling; of an address that of all mail, or else the first stream's."""
    query = Suppression.objects.of(organization)
    try:
        return query.filter(pk=UUID(which)).first()
    except ValueError:
        address = normalized(which)
        return query.filter(address=address).order_by("stream").first() if address else None


def remove_suppressions(
    organization: Organization,
    *,
    addresses: Iterable[str] = (),
    ids: Iterable[UUID] = (),
    because: str = "",
    by: Actor = SYSTEM,
) -> list[Suppression]:
    """Removes those that are there, of whatever stream, and returns them. `addresses`: as from `normalized`.

    Bounces of before will not count towards the rule for soft bounces again.
    """
    condition = Q(address__in=list(addresses)) | Q(pk__in=list(ids))
    with transaction.atomic():
        query = Suppression.objects.of(organization).filter(condition).order_by("address")
        found = list(query.select_for_update())
        Suppression.objects.of(organization).filter(pk__in=[one.pk for one in found]).delete()
        pardons = [
            SoftBouncePardon(organization_id=organization.pk, address=address, at=timezone.now())
            for address in sorted({one.address for one in found if one.reason == SOFT_BOUNCES})
        ]
        SoftBouncePardon.objects.bulk_create(
            pardons, update_conflicts=True, unique_fields=["organization", "address"], update_fields=["at"]
        )
        _note_removed(organization, found, because, by)
    return found


def unsuppress(organization: Organization, suppression_id: UUID, *, because: str = "", by: Actor = SYSTEM) -> bool:
    """Mail to the address is sent again. False: there was no such suppression."""
    return bool(remove_suppressions(organization, ids=[suppression_id], because=because, by=by))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which suppressions. Empty parts do not narrow; `stream`: None for all, empty for those of all mail."""

    search: str = ""  # an address, or a part of one
    origin: str = ""  # of ORIGINS
    reason: str = ""
    stream: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self != Filter()

    @classmethod
    def parse(cls, query: str) -> Filter:
        """As in the list's address; what is not understood does not narrow."""
        given = {name: value.replace("\0", "").strip() for name, value in parse_qsl(query)}
        since, until = _day(given.get("since", "")), _day(given.get("until", ""))
        origin, stream = given.get("origin", ""), given.get("stream", "")
        return cls(
            search=given.get("q", "")[:254],
            origin=origin if origin in ORIGINS else "",
            stream="" if stream == ALL_MAIL else stream if is_stream(stream) else None,
            since=since,
            until=until + timedelta(days=1) if until else None,
        )

    @property
    def values(self) -> dict[str, str]:
        """What stands in the list's address and in its fields; `until` names the last day."""
        last = self.until - timedelta(days=1) if self.until else None
        return {
            "q": self.search,
            "origin": self.origin,
            "stream": ALL_MAIL if self.stream == "" else self.stream or "",
            "since": f"{self.since:%Y-%m-%d}" if self.since else "",
            "until": f"{last:%Y-%m-%d}" if last else "",
        }

    @property
    def query(self) -> str:
        return urlencode({name: value for name, value in self.values.items() if value})

    @property
    def in_a_sentence(self) -> str:
        words = {
            "q": "“{}”",
            "origin": "made by {}",
            "stream": "stream {}",
            "since": "from {} on",
            "until": "until {}",
        }
        return ", ".join(words[name].format(value) for name, value in self.values.items() if value)


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def suppressions_page(
    organization: Organization,
    wanted: Filter | None = None,
    *,
    before: UUID | None = None,
    limit: int = PAGE_SIZE,
) -> SuppressionPage:
    """The newest first. Raises relay.finding.search.TookTooLong where next to nothing of a long list fits."""
    query = suppressions_like(organization, wanted or Filter()).order_by("-id")
    if before:
        query = query.filter(id__lt=before)
    with within(SEARCH_S) as check:
        check()
        rows = list(query[: limit + 1])
    return SuppressionPage(rows[:limit], rows[limit - 1].pk if len(rows) > limit else None)


def suppressions_like(organization: Organization, wanted: Filter) -> OrganizationQuerySet[Suppression]:
    query = Suppression.objects.of(organization)
    if wanted.search:
        whole = normalized(wanted.search)
        query = query.filter(address=whole) if whole else query.filter(address__contains=wanted.search.lower())
    if wanted.origin == "bounce":
        query = query.exclude(reason__in=_NOT_BOUNCES)
    elif wanted.origin:
        query = query.filter(reason=wanted.origin)
    if wanted.reason:
        query = query.filter(reason=wanted.reason)
    if wanted.stream is not None:
        query = query.filter(stream=wanted.stream)
    # Ids are made with the rows, give or take a moment, and have an index.
    if wanted.since:
        query = query.filter(created_at__gte=wanted.since, pk__gte=first_id_at(wanted.since - AROUND))
    if wanted.until:
        query = query.filter(created_at__lt=wanted.until, pk__lt=first_id_at(wanted.until + AROUND))
    return query


def suppressions_of(
    organization: Organization, recipients: Iterable[Recipient], stream: str = ""
) -> dict[UUID, Suppression]:
    """By recipient id, for those whose address is suppressed now: for all mail, or for the message's stream."""
    keys = {recipient.id: _key(recipient.address, recipient.destination) for recipient in recipients}
    ours = Suppression.objects.of(organization).filter(address__in=set(keys.values()), stream__in={"", stream})
    found = {one.address: one for one in ours.order_by("-stream")}  # that of all mail counts
    return {identifier: found[key] for identifier, key in keys.items() if key in found}


def origin_of(reason: str) -> str:
    """One of ORIGINS."""
    return reason if reason in _NOT_BOUNCES else "bounce"


def reason_title(reason: str) -> str:
    if reason in TITLES:
        return TITLES[reason]
    return REASONS[reason].title if reason in REASONS else reason.replace("_", " ").capitalize()


def _name(by: Actor) -> str:
    """For `added_by`: empty where nobody in particular did."""
    return "" if by.kind == "system" else by.in_events


def _key(address: str, destination: str) -> str:
    return f"{address.rpartition('@')[0].lower()}@{destination}"


# ---- In the audit log: one entry for each request


def _note_added(organization: Organization, added: Sequence[Suppression], by: Actor) -> None:
    if len(added) == 1:
        one = added[0]
        after = {"reason": one.reason} | ({"stream": one.stream} if one.stream else {})
        audited(by, "suppression.added", added[0], organization_id=organization.pk, after=after)
    elif added:
        audited(by, "suppression.added", _many(added), organization_id=organization.pk, after=_listed(added))


def _note_removed(organization: Organization, removed: Sequence[Suppression], because: str, by: Actor) -> None:
    after = {"because": because} if because else None
    if len(removed) == 1:
        one = removed[0]
        before = {"reason": one.reason, "suppressed_since": one.created_at}
        before |= {"stream": one.stream} if one.stream else {}
        audited(by, "suppression.removed", one, organization_id=organization.pk, before=before, after=after)
    elif removed:
        listed = _listed(removed)
        audited(by, "suppression.removed", _many(removed), organization_id=organization.pk, before=listed, after=after)


def _many(suppressions: Sequence[Suppression]) -> Thing:
    return Thing(None, f"{len(suppressions):,} addresses")


def _listed(suppressions: Sequence[Suppression]) -> dict[str, object]:
    return {"count": len(suppressions), "addresses": [one.address for one in suppressions]}
