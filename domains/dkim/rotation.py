"""DKIM keys in turn: one signs, the next one waits with its record asked for, the former one retires.

A look at DNS decides (`after_look`): the next key takes over only where its record was seen, and should that record vanish,
the former key signs again. What people and programs ask for is in `domains.dkim.requests`. All here runs in a transaction
that holds the lock on the domain's row; keys and records are changed under that lock only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.notices import notify_owners
from domains.dkim.keys import create_dkim_key
from domains.models import DkimAlgorithm, DkimKey, DkimKeyState, DnsRecord, RecordStatus, SendingDomain
from domains.record_rows import lay_out_records
from domains.records import key_record

# For a day both keys sign, so that a record removed right after the switch, by whichever mistake, breaks no mail: the other
# signature holds, and until the day is over a look has seen the loss.
OVERLAP = timedelta(days=1)
# Mail that a key has signed is verified at the end of its way. Servers in between try for up to five days (RFC 5321,
# 4.5.4.1); one day is for their clocks and queues.
IN_FLIGHT = timedelta(days=6)
RETIRES_AFTER = OVERLAP + IN_FLIGHT

ROTATION_DAYS = (30, 90, 180, 365)  # what a schedule may say

# A look that began before a record was published may end after the switch that a later look allowed. It proves no loss.
A_LOOK_TAKES = timedelta(seconds=30)
# A key that fell back may be seen again the next minute, and vanish again.
SETTLES_AFTER_FALLBACK = timedelta(hours=1)
LOOK_AT_FORMER_EVERY = timedelta(hours=1)  # while there is one to fall back to
LOOK_FOR_NEXT_AT_MOST_EVERY, LOOK_FOR_NEXT_AT_LEAST_EVERY = timedelta(seconds=15), timedelta(hours=1)

# What a look says for certain. A record that some do not see yet is not one to sign by while there is another.
_NOT_SEEN = {RecordStatus.MISSING, RecordStatus.DIFFERENT, RecordStatus.PROPAGATING}


@dataclass(slots=True)
class KeyRing:
    """A domain's keys that are not retired, the newest first; by key, the status of its record and the state before."""

    domain: SendingDomain
    keys: list[DkimKey]
    statuses: dict[Any, str]
    before: dict[UUID, str]
    now: datetime
    by: Actor

    @classmethod
    def of(cls, domain: SendingDomain, records: Iterable[DnsRecord], now: datetime, by: Actor = SYSTEM) -> KeyRing:
        keys = list(domain.dkim_keys.exclude(state=DkimKeyState.RETIRED).order_by("-created_at", "-id"))
        statuses = {record.dkim_key_id: record.status for record in records if record.dkim_key_id}
        return cls(domain, keys, statuses, {key.pk: key.state for key in keys}, now, by)

    def all(self, algorithm: str, state: str) -> list[DkimKey]:
        return [key for key in self.keys if (key.algorithm, key.state) == (algorithm, state)]

    def first(self, algorithm: str, state: str) -> DkimKey | None:
        return next(iter(self.all(algorithm, state)), None)

    def is_found(self, key: DkimKey) -> bool:
        return self.statuses.get(key.pk) == RecordStatus.FOUND

    def is_not_seen(self, key: DkimKey) -> bool:
        return self.statuses.get(key.pk) in _NOT_SEEN

    @property
    def is_changed(self) -> bool:
        return self.before != {key.pk: key.state for key in self.keys}

    @property
    def is_pending(self) -> bool:
        return self.domain.dkim_rotation_requested_at is not None

    @property
    def is_due(self) -> bool:
        due_at = rotation_due_at(self.domain, self.first(DkimAlgorithm.RSA, DkimKeyState.ACTIVE))
        return due_at is not None and due_at <= self.now

    def note(self, action: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        domain = self.domain
        note(self.by, action, domain, organization_id=domain.organization_id, before=before, after=after)


def after_look(domain: SendingDomain, records: Sequence[DnsRecord], now: datetime) -> datetime | None:
    """What a look at DNS means for the keys. `domain`: locked; `records`: with the statuses that the look brought.

    Afterwards `records` have the purposes and `required` that hold now. Returns the moment by which the keys want another
    look; None: they want none.
    """
    ring = KeyRing.of(domain, records, now)
    seen = [key.pk for key in ring.keys if ring.is_found(key)]
    domain.dkim_keys.filter(pk__in=seen).update(seen_at=now)
    for algorithm in DkimAlgorithm:
        _fall_back(ring, algorithm)
    _take_over(ring)
    _take_over_ed25519(ring)
    settle(ring)
    rows = {row.pk: row for row in domain.records.all()}
    for record in records:
        row = rows.get(record.pk)
        record.required = row is not None and row.required  # a retired key's row is gone
        if row is not None:
            record.purpose, record.position = row.purpose, row.position
    return next_look_at(ring)


def settle(ring: KeyRing) -> None:
    """What is due by time alone, then the records of the keys as they are now."""
    retired = _retire(ring)
    make_next(ring)
    if ring.is_changed:
        lay_out_records(ring.domain)
    if retired:
        _tell_retired(ring, retired)


def retire_due(now: datetime | None = None) -> int:
    """Retires keys also of domains that nobody looks at any more. Returns of how many domains."""
    now = now or timezone.now()
    due = DkimKey.objects.filter(state=DkimKeyState.RETIRING, retire_after__lte=now)
    count = 0
    for domain_id in set(due.values_list("domain_id", flat=True)):
        with transaction.atomic():
            domain = SendingDomain.objects.select_for_update().filter(pk=domain_id).first()
            if domain is not None:
                settle(KeyRing.of(domain, domain.records.all(), now))
                count += 1
    return count


def rotation_due_at(domain: SendingDomain, active: DkimKey | None) -> datetime | None:
    """When the schedule replaces the key that signs. None: never."""
    if not domain.dkim_rotation_days or not domain.is_verified or active is None:
        return None
    return (active.activated_at or active.created_at) + timedelta(days=domain.dkim_rotation_days)


def next_look_at(ring: KeyRing) -> datetime | None:
    """When the keys want the next look: soon while a record is awaited, hourly while a key may fall back, else when due."""
    moments = []
    if ring.is_pending:
        asked_for = ring.now - (ring.domain.dkim_rotation_requested_at or ring.now)
        wait = min(max(asked_for / 20, LOOK_FOR_NEXT_AT_MOST_EVERY), LOOK_FOR_NEXT_AT_LEAST_EVERY)
        moments.append(ring.now + wait)
    elif ring.first(DkimAlgorithm.RSA, DkimKeyState.WAITING) is not None:
        due_at = rotation_due_at(ring.domain, ring.first(DkimAlgorithm.RSA, DkimKeyState.ACTIVE))
        # When it is due and could not be decided, DNS gave no answer.
        moments += [max(due_at, ring.now + LOOK_FOR_NEXT_AT_LEAST_EVERY)] if due_at else []
    if any(key.state == DkimKeyState.RETIRING for key in ring.keys):
        moments.append(ring.now + LOOK_AT_FORMER_EVERY)
    return min(moments, default=None)


# ---- Turns -----------------------------------------------------------------------------------------------------------


def switch(ring: KeyRing, new: DkimKey, old: DkimKey | None) -> None:
    """`new` signs from now on; its record must have been seen. `old` retires."""
    if old is not None:
        _begin_to_retire(ring, old)
    new.state, new.activated_at, new.retire_after = DkimKeyState.ACTIVE, ring.now, None
    new.save(update_fields=["state", "activated_at", "retire_after"])
    if new.algorithm == DkimAlgorithm.RSA:
        _set_pending(ring, None)
        _renew_ed25519(ring)
    ring.note(
        "domain.dkim_rotated" if old else "domain.dkim_key_activated",
        {"selector": old.selector} if old else None,
        {"selector": new.selector, "algorithm": new.algorithm}
        | ({"former_kept_until": old.retire_after.isoformat()} if old and old.retire_after else {}),
    )


def _begin_to_retire(ring: KeyRing, key: DkimKey) -> None:
    key.state, key.retire_after = DkimKeyState.RETIRING, ring.now + RETIRES_AFTER
    key.save(update_fields=["state", "retire_after"])


def request(ring: KeyRing) -> None:
    """The next key takes over by itself once its record is seen."""
    _set_pending(ring, ring.now)
    waiting = ring.first(DkimAlgorithm.RSA, DkimKeyState.WAITING)
    ring.note("domain.dkim_rotation_requested", None, {"selector": waiting.selector if waiting else ""})


def withdraw(ring: KeyRing) -> None:
    waiting = ring.first(DkimAlgorithm.RSA, DkimKeyState.WAITING)
    _set_pending(ring, None)
    ring.note("domain.dkim_rotation_withdrawn", {"selector": waiting.selector if waiting else ""}, None)


def make_next(ring: KeyRing) -> None:
    """The key that waits, unless the former one has yet to retire. Domains of before had none."""
    if not any(ring.all(DkimAlgorithm.RSA, state) for state in (DkimKeyState.WAITING, DkimKeyState.RETIRING)):
        _make(ring, DkimAlgorithm.RSA)


def _make(ring: KeyRing, algorithm: DkimAlgorithm) -> None:
    key = create_dkim_key(ring.domain, algorithm)
    ring.keys.insert(0, key)
    ring.note("domain.dkim_key_made", None, {"selector": key.selector, "algorithm": key.algorithm})


def _fall_back(ring: KeyRing, algorithm: DkimAlgorithm) -> None:
    """The record of the key that signs is not to be seen: the former key signs again where its own is.

    Without such a one an RSA key goes on signing, for a while (see `domains.course`); an Ed25519 key stops, as its signature
    is an addition.
    """
    active = ring.first(algorithm, DkimKeyState.ACTIVE)
    if active is None or not ring.is_not_seen(active):
        return
    former = next((key for key in ring.all(algorithm, DkimKeyState.RETIRING) if ring.is_found(key)), None)
    has_just_begun = active.activated_at is not None and ring.now - active.activated_at < A_LOOK_TAKES
    if algorithm == DkimAlgorithm.RSA and (former is None or has_just_begun):
        return
    active.state = DkimKeyState.WAITING
    active.save(update_fields=["state"])
    if former is None:
        ring.note("domain.dkim_key_paused", {"selector": active.selector}, None)
        return
    former.state, former.retire_after = DkimKeyState.ACTIVE, None
    former.save(update_fields=["state", "retire_after"])
    ring.note("domain.dkim_fallback", {"selector": active.selector}, {"selector": former.selector})
    if algorithm == DkimAlgorithm.RSA:
        _set_pending(ring, ring.now)
        _tell(ring, "dkim_fallback", selector=active.selector, former=former.selector, record=_record_of(active))


def _take_over(ring: KeyRing) -> None:
    waiting = ring.first(DkimAlgorithm.RSA, DkimKeyState.WAITING)
    if waiting is None or not (ring.is_pending or ring.is_due):
        return
    if ring.is_found(waiting):
        if not _has_just_fallen_back(ring, waiting):
            switch(ring, waiting, ring.first(DkimAlgorithm.RSA, DkimKeyState.ACTIVE))
    elif not ring.is_pending and ring.is_not_seen(waiting):
        request(ring)
        _tell(ring, "dkim_rotation_due", selector=waiting.selector, record=_record_of(waiting))


def _has_just_fallen_back(ring: KeyRing, waiting: DkimKey) -> bool:
    requested_at = ring.domain.dkim_rotation_requested_at
    has_signed = waiting.activated_at is not None
    return has_signed and requested_at is not None and ring.now < requested_at + SETTLES_AFTER_FALLBACK


def _take_over_ed25519(ring: KeyRing) -> None:
    """Nobody asks for it: the newest one signs whose record is there. Older ones that wait will not be needed."""
    active = ring.first(DkimAlgorithm.ED25519, DkimKeyState.ACTIVE)
    waiting = ring.all(DkimAlgorithm.ED25519, DkimKeyState.WAITING)
    new = next((key for key in waiting if ring.is_found(key)), None)
    if new is None:
        return
    for older in waiting[waiting.index(new) + 1 :]:
        _begin_to_retire(ring, older)
    switch(ring, new, active)


def _renew_ed25519(ring: KeyRing) -> None:
    """Only one that is in use, and only once for a rotation that falls back and comes again."""
    states = {key.state for key in ring.keys if key.algorithm == DkimAlgorithm.ED25519}
    if states == {DkimKeyState.ACTIVE}:
        _make(ring, DkimAlgorithm.ED25519)


def _retire(ring: KeyRing) -> list[DkimKey]:
    """Ends keys whose time is over, but not while the record of the one that signs cannot be seen."""
    retired = []
    for key in [key for key in ring.keys if key.state == DkimKeyState.RETIRING]:
        active = ring.first(key.algorithm, DkimKeyState.ACTIVE)
        is_needed = ring.domain.is_verified and active is not None and not ring.is_found(active)
        if is_needed or key.retire_after is None or key.retire_after > ring.now:
            continue
        key.state, key.private_key = DkimKeyState.RETIRED, b""
        key.save(update_fields=["state", "private_key"])
        ring.keys.remove(key)
        ring.note("domain.dkim_key_retired", {"selector": key.selector}, None)
        retired.append(key)
    return retired


def _set_pending(ring: KeyRing, since: datetime | None) -> None:
    ring.domain.dkim_rotation_requested_at = since
    ring.domain.save(update_fields=["dkim_rotation_requested_at"])


# ---- Word to the owners ----------------------------------------------------------------------------------------------


def _tell_retired(ring: KeyRing, retired: Sequence[DkimKey]) -> None:
    """With the records to publish for the next turn, in the same mail."""
    has_ed25519 = ring.first(DkimAlgorithm.ED25519, DkimKeyState.ACTIVE) is not None
    wanted = [
        _record_of(key)
        for key in ring.keys
        if key.state == DkimKeyState.WAITING
        and not ring.is_found(key)
        and (key.algorithm == DkimAlgorithm.RSA or has_ed25519)
    ]
    _tell(ring, "dkim_key_retired", removable=[str(key) for key in retired], wanted=wanted)


def _record_of(key: DkimKey) -> dict[str, str]:
    record = key_record(key.domain, key)
    return {"name": record.name, "value": record.value}


def _tell(ring: KeyRing, template: str, **values: Any) -> None:
    domain = ring.domain
    notify_owners(domain.organization, template, domain=domain.display_name, domain_id=str(domain.pk), **values)
