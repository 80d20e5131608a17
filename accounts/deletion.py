"""Deleting an organization: asked for, undone while its grace period lasts, hastened by operators.

From the request on both doors refuse (`accounts.credentials`), its queue is held (`relay.mail_hold`) and its pages tell of
nothing else (`accounts.http`). After the grace period `plugsend.erasure` takes everything away. A suspension is another matter:
it neither hinders a deletion nor ends with its undoing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.models import Erasure, MailHold, Organization
from accounts.notices import notify_owners
from accounts.signals import mail_hold_changed

REMINDED_BEFORE = timedelta(days=1)


def grace_period() -> timedelta:
    return timedelta(hours=settings.DELETION_GRACE_HOURS)


def request_deletion(organization: Organization, *, by: Actor = SYSTEM) -> bool:
    """Nothing is gone yet. False: it was asked for already. Raises PermissionDenied for the platform's own."""
    with transaction.atomic():
        current = _locked(organization)
        if current is None or current.is_being_deleted:
            return False
        if current.is_system:
            raise PermissionDenied("This organization sends the platform's own mail.")
        now = timezone.now()
        _set(current, deletion_requested_at=now, deletion_requested_by=by.name, erase_at=now + grace_period(),
             mail_hold=MailHold.HOLDING)  # fmt: skip
        _note(by, "organization.deletion_requested", current, after={"erase_at": _iso(current.erase_at)})
        notify_owners(current, "organization_deletion_requested", by=by.name, erase_at=_in_words(current.erase_at))
        mail_hold_changed.send(Organization, organization_id=current.pk)
    organization.refresh_from_db()
    return True


def undo_deletion(organization: Organization, *, by: Actor = SYSTEM) -> bool:
    """All is as it was. False: it is not being deleted, or its erasure has begun."""
    with transaction.atomic():
        current = _locked(organization)
        if current is None or not current.is_being_deleted or Erasure.objects.filter(pk=current.pk).exists():
            return False
        before = {"erase_at": _iso(current.erase_at)}
        _set(current, deletion_requested_at=None, deletion_requested_by="", erase_at=None, deletion_reminded_at=None,
             mail_hold=MailHold.HOLDING if current.is_suspended else MailHold.RELEASING)  # fmt: skip
        _note(by, "organization.deletion_undone", current, before=before)
        who = "A PlugSend operator" if by.kind == "operator" else by.name
        notify_owners(current, "organization_deletion_undone", by=who, is_suspended=current.is_suspended)
        mail_hold_changed.send(Organization, organization_id=current.pk)
    organization.refresh_from_db()
    return True


def erase_at_once(organization: Organization, *, by: Actor) -> bool:
    """Of one whose deletion was asked for: does not wait for the end of the grace period. False: nobody asked for it."""
    with transaction.atomic():
        current = _locked(organization)
        now = timezone.now()
        if current is None or not current.is_being_deleted or current.erase_at is None or current.erase_at <= now:
            return False
        before = {"erase_at": _iso(current.erase_at)}
        _set(current, erase_at=now, deletion_reminded_at=now)
        _note(by, "organization.erasure_hastened", current, before=before, after={"erase_at": _iso(now)})
    organization.refresh_from_db()
    return True


def remind() -> int:
    """Tells the owners of those that are soon to be erased, once. Returns of how many."""
    soon = timezone.now() + min(REMINDED_BEFORE, grace_period() / 2)
    reminded = 0
    query = Organization.objects.filter(erase_at__lte=soon, deletion_reminded_at__isnull=True)
    for key in query.order_by("erase_at").values_list("pk", flat=True):
        with transaction.atomic():
            current = query.select_for_update(skip_locked=True, no_key=True).filter(pk=key).first()
            if current is None:
                continue
            _set(current, deletion_reminded_at=timezone.now())
            erase_at = _in_words(current.erase_at)
            notify_owners(current, "organization_erasure_near", by=current.deletion_requested_by, erase_at=erase_at)
        reminded += 1
    return reminded


def _locked(organization: Organization) -> Organization | None:
    return Organization.objects.of(organization).select_for_update(no_key=True).first()


def _set(organization: Organization, **values: Any) -> None:
    for name, value in values.items():
        setattr(organization, name, value)
    organization.save(update_fields=list(values))


def _note(by: Actor, action: str, organization: Organization, **changes: dict[str, Any]) -> None:
    note(by, action, organization, organization_id=organization.pk, **changes)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _in_words(moment: datetime | None) -> str:
    return f"{moment:%-d %B %Y, %H:%M} UTC" if moment else ""
