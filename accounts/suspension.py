"""Suspending an organization: by an operator with a reason, or by the platform itself because of its rates.

From then on both doors refuse (`accounts.credentials`) and its queue is held (`relay.mail_hold`); its pages stay open to its
members and tell why. Resumed, the same keys work again and what was held goes out. A deletion is another matter: neither ends
the other.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, note
from accounts.models import MailHold, Organization, ReviewCause, Suspension
from accounts.notices import notify_owners
from accounts.signals import mail_hold_changed

_FIELDS = [
    "suspended_at", "suspension", "suspension_reason", "mail_hold", "reviewed_at", "review_since", "review_cause",
]  # fmt: skip


def suspend(organization: Organization, reason: str, *, by: Actor) -> bool:
    """`reason`: in words, as its members are told. Also makes an automatic hold one for good. False: it is so already.

    Raises PermissionDenied for the platform's own organization, ValueError without a reason.
    """
    return _suspend(organization, reason, Suspension.OPERATOR, by)


def hold_for_rates(organization: Organization, reason: str) -> bool:
    """Until an operator has looked. False: it is suspended or held already."""
    return _suspend(organization, reason, Suspension.RATES, SYSTEM)


def resume(organization: Organization, *, by: Actor) -> bool:
    """Of either kind. Whoever resumes it has found it in order. False: it is not suspended."""
    with transaction.atomic():
        current = _locked(organization)
        if current is None or not current.is_suspended:
            return False
        before = {"suspended_at": current.suspended_at, "suspension_reason": current.suspension_reason}
        current.suspended_at, current.suspension, current.suspension_reason = None, Suspension.NONE, ""
        current.mail_hold = MailHold.HOLDING if current.is_being_deleted else MailHold.RELEASING
        _reviewed(current)
        current.save(update_fields=_FIELDS)
        note(by, "organization.resumed", current, organization_id=current.pk, before=before)
        notify_owners(current, "organization_resumed", is_being_deleted=current.is_being_deleted)
        mail_hold_changed.send(Organization, organization_id=current.pk)
    organization.refresh_from_db()
    return True


def approve(organization: Organization, *, by: Actor) -> bool:
    """An operator finds it in order: the limits of its first days end, and what was held for its rates goes out.

    False: it waits for no look.
    """
    with transaction.atomic():
        current = _locked(organization)
        if current is None or current.review_since is None:
            return False
        cause = current.review_cause
        if current.is_held_for_rates:
            resume(current, by=by)
        else:
            _reviewed(current)
            current.save(update_fields=_FIELDS)
        note(by, "organization.approved", current, organization_id=current.pk, before={"review": cause})
    organization.refresh_from_db()
    return True


def _suspend(organization: Organization, reason: str, kind: Suspension, by: Actor) -> bool:
    if not reason.strip():
        raise ValueError("A suspension has a reason.")
    with transaction.atomic():
        current = _locked(organization)
        if (
            current is None
            or current.suspension == Suspension.OPERATOR
            or (current.is_suspended and kind != Suspension.OPERATOR)
        ):
            return False
        if current.is_system:
            raise PermissionDenied("This organization sends the platform's own mail.")
        now = timezone.now()
        current.suspended_at, current.suspension = current.suspended_at or now, kind
        current.suspension_reason = reason.strip()[:500]
        current.mail_hold = MailHold.HOLDING
        if kind == Suspension.RATES:
            current.review_since, current.review_cause = now, ReviewCause.RATES
        else:
            current.review_since, current.review_cause = None, ReviewCause.NONE
        current.save(update_fields=_FIELDS)
        action = "organization.held" if kind == Suspension.RATES else "organization.suspended"
        note(by, action, current, organization_id=current.pk, after={"reason": current.suspension_reason})
        template = "organization_held" if kind == Suspension.RATES else "organization_suspended"
        notify_owners(current, template, reason=current.suspension_reason)
        mail_hold_changed.send(Organization, organization_id=current.pk)
    organization.refresh_from_db()
    return True


def _reviewed(organization: Organization) -> None:
    organization.reviewed_at = timezone.now()
    organization.review_since, organization.review_cause = None, ReviewCause.NONE


def _locked(organization: Organization) -> Organization | None:
    return Organization.objects.of(organization).select_for_update(no_key=True).first()
