"""What people and programs ask of a domain's DKIM keys: a rotation, its withdrawal, a schedule. What a page shows of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor
from accounts.catalogue import Refused
from domains import looking
from domains.dkim.rotation import (
    IN_FLIGHT,
    RETIRES_AFTER,
    ROTATION_DAYS,
    KeyRing,
    make_next,
    request,
    rotation_due_at,
    settle,
    switch,
    withdraw,
)
from domains.models import DkimAlgorithm, DkimKey, DkimKeyState, DomainStatus, SendingDomain

SEEN_RECENTLY = timedelta(minutes=10)  # else DNS is asked again before a key takes over


class RotationRefused(Refused):
    """A rotation that cannot be asked for or withdrawn."""


def rotate(domain: SendingDomain, *, by: Actor = SYSTEM) -> SendingDomain:
    """Replaces the RSA key at once when the next one's record is seen, else as soon as it is. Returns the domain as it is then.

    Asks DNS where it last did so some time ago (some seconds at worst). While it waits, `dkim_rotation_requested_at` is set.
    Raises RotationRefused: dkim_rotation_unverified, dkim_rotation_under_way; Refused: not_found.
    """
    with _locked(domain, by) as ring:
        waiting = _next_key(ring)
        if ring.is_found(waiting) and waiting.seen_at and waiting.seen_at >= ring.now - SEEN_RECENTLY:
            switch(ring, waiting, ring.first(DkimAlgorithm.RSA, DkimKeyState.ACTIVE))
            settle(ring)
            return ring.domain
        # It is asked for first, so that it happens even if this process ends while DNS is asked.
        if not ring.is_pending:
            request(ring)
        waiting.activated_at = None  # should it have fallen back: whoever asks has mended the record
        waiting.save(update_fields=["activated_at"])
        settle(ring)
        _look_soon(ring)
    return looking.check_again(ring.domain, good_since=ring.now)


def withdraw_rotation(domain: SendingDomain, *, by: Actor = SYSTEM) -> SendingDomain:
    """The key that signs goes on. Idempotent. Raises RotationRefused: dkim_rotation_scheduled; Refused: not_found."""
    with _locked(domain, by) as ring:
        if ring.is_pending:
            if ring.is_due:
                raise RotationRefused("dkim_rotation_scheduled", days=ring.domain.dkim_rotation_days)
            withdraw(ring)
    return ring.domain


def schedule_rotation(domain: SendingDomain, days: int | None, *, by: Actor = SYSTEM) -> SendingDomain:
    """The key is replaced when it is `days` old (of ROTATION_DAYS); None: only by hand. Raises Refused: not_found."""
    with _locked(domain, by) as ring:
        before = ring.domain.dkim_rotation_days
        if before != days:
            ring.domain.dkim_rotation_days = days
            ring.domain.save(update_fields=["dkim_rotation_days"])
            ring.note("domain.dkim_schedule_changed", {"dkim_rotation_days": before}, {"dkim_rotation_days": days})
            if ring.is_due:
                _look_soon(ring)
    return ring.domain


@contextmanager
def _locked(domain: SendingDomain, by: Actor) -> Iterator[KeyRing]:
    """The domain first, as everywhere: a look, a removal and another request wait here, and none in a circle."""
    with transaction.atomic():
        current = SendingDomain.objects.of(domain.organization_id).select_for_update().filter(pk=domain.pk).first()
        if current is None:
            raise Refused("not_found", thing="domain")
        yield KeyRing.of(current, current.records.all(), timezone.now(), by)


def _next_key(ring: KeyRing) -> DkimKey:
    if not ring.domain.is_verified:
        raise RotationRefused("dkim_rotation_unverified", name=ring.domain.display_name)
    make_next(ring)
    waiting = ring.first(DkimAlgorithm.RSA, DkimKeyState.WAITING)
    if waiting is None:
        former = ring.all(DkimAlgorithm.RSA, DkimKeyState.RETIRING)[0]
        assert former.retire_after is not None
        raise RotationRefused(
            "dkim_rotation_under_way", selector=former.selector, date=f"{former.retire_after:%-d %B %Y}"
        )
    return waiting


def _look_soon(ring: KeyRing) -> None:
    """The next round of checks takes it."""
    ring.domain.next_check_at = ring.now
    ring.domain.save(update_fields=["next_check_at"])


# ---- For the page ----------------------------------------------------------------------------------------------------

_PAGE_ORDER = [DkimKeyState.ACTIVE, DkimKeyState.WAITING, DkimKeyState.RETIRING]


def page_part(domain: SendingDomain) -> dict[str, Any]:
    """For `domains/parts/dkim.html`."""
    every = list(domain.dkim_keys.select_related("record").order_by("-algorithm", "-created_at"))
    keys = [key for key in every if key.state != DkimKeyState.RETIRED]
    keys.sort(key=lambda key: (key.algorithm != DkimAlgorithm.RSA, _PAGE_ORDER.index(DkimKeyState(key.state))))
    rsa = {key.state: key for key in keys if key.algorithm == DkimAlgorithm.RSA}
    active, former = rsa.get(DkimKeyState.ACTIVE), rsa.get(DkimKeyState.RETIRING)
    now = timezone.now()
    return {
        "dkim_keys": [(key, signs_until(key, now)) for key in keys],
        "dkim_retired": [key for key in every if key.state == DkimKeyState.RETIRED],
        "dkim_active": active,
        "dkim_next": rsa.get(DkimKeyState.WAITING),
        "dkim_former": former,
        "dkim_retires_after_days": RETIRES_AFTER.days,
        "dkim_may_rotate": domain.status == DomainStatus.VERIFIED and former is None,
        "dkim_rotation_due_at": rotation_due_at(domain, active),
        "dkim_is_scheduled": (rotation_due_at(domain, active) or now) < now,
        "dkim_schedule": [(None, "Only by hand")] + [(days, f"Every {days} days") for days in ROTATION_DAYS],
    }


def signs_until(key: DkimKey, now: datetime) -> datetime | None:
    """Until when a key that retires still signs beside the new one. None: it does not."""
    if key.state != DkimKeyState.RETIRING or key.retire_after is None:
        return None
    until = key.retire_after - IN_FLIGHT
    return until if until > now else None
