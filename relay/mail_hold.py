"""The queue of an organization that is suspended, held for its rates, or being deleted: held, and released again.

A recipient held for this has one of `actions.PLATFORM_HOLDS` as its reason; those that somebody held before stay as they are.
While a suspension holds a recipient its retry period stands still (`actions.STOPS_CLOCK`); what comes to the end of it while
the organization is being deleted ends as any other (`relay.expiry`). How far this is stands in the organization's row
(`mail_hold`): each batch looks at it under a lock, so a late hold cannot overtake an undoing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import MailHold, Organization
from relay.acting.actions import PLATFORM_HOLDS, Action, act
from relay.models import Recipient, RecipientState
from relay.upkeep import alone

# What the doors knew before the request may be accepted so much later (relay.submission.directory: 3 s), its commit included.
LATE_MAIL = timedelta(seconds=40)

LOCK = 7211

_ACTIONS = {MailHold.HOLDING: Action.HOLD, MailHold.RELEASING: Action.RELEASE}
_CHOSEN_AS = {Action.HOLD: "that wait, for {}", Action.RELEASE: "that were held for {}"}
_ENDS = {MailHold.HOLDING: MailHold.HELD, MailHold.RELEASING: MailHold.NONE}
_CAUSES = {
    "organization_suspended": "the suspension",
    "organization_on_hold": "its rates",
    "organization_being_deleted": "the deletion",
}


class _Changed(Exception):
    """What is to become of its queue has changed meanwhile."""


def when_a_hold_changes(**_: Any) -> None:
    """Of the signal `accounts.signals.mail_hold_changed`. A task that is lost does no harm: beat sends another."""
    from relay.tasks import settle_mail_holds

    transaction.on_commit(lambda: settle_mail_holds.apply_async(retry=False), robust=True)


def settle_all(seconds: float) -> None:
    """One pass over the queues that are not yet as they are to be, for so long at most."""
    until = time.monotonic() + seconds
    for key in (
        Organization.objects.filter(mail_hold__in=_ACTIONS).order_by("erase_at", "pk").values_list("pk", flat=True)
    ):
        with alone(LOCK, key) as is_alone:
            if is_alone:
                settle(key, until)
        if time.monotonic() >= until:
            return


def settle(organization_id: UUID, until: float) -> None:
    """Until nothing is left to do, or all that is left is being delivered right now; or it is time."""
    organization = Organization.objects.filter(pk=organization_id, mail_hold__in=_ACTIONS).first()
    if organization is None:
        return
    stage = MailHold(organization.mail_hold)
    action, cause = _ACTIONS[stage], _cause(organization)
    open_ones = Recipient.objects.of(organization).filter(next_attempt_at__isnull=False)
    held = open_ones.filter(state=RecipientState.HELD, reason__in=PLATFORM_HOLDS)
    recipients, reason = (open_ones, cause) if action is Action.HOLD else (held, "")
    chosen_as = _CHOSEN_AS[action].format(_CAUSES.get(cause, "a suspension or deletion"))
    guarded = partial(_while_at, stage, cause, organization_id)
    try:
        more = True
        while more and time.monotonic() < until:
            more = act(action, recipients, chosen_as=chosen_as, reason=reason, guarded=guarded).more
        if more or (action is Action.HOLD and _may_still_come(organization)):
            return
        with guarded():
            # Looked at last: what was being delivered a moment ago may wait again by now.
            is_left = held if action is Action.RELEASE else open_ones.exclude(state=RecipientState.HELD)
            if not is_left.exists():
                Organization.objects.filter(pk=organization_id).update(mail_hold=_ENDS[stage])
    except _Changed:
        return


def _cause(organization: Organization) -> str:
    """A reason of `events.reasons`; empty: there is none any more."""
    if organization.is_held_for_rates:
        return "organization_on_hold"
    if organization.is_suspended:
        return "organization_suspended"
    return "organization_being_deleted" if organization.is_being_deleted else ""


def _may_still_come(organization: Organization) -> bool:
    since = [moment for moment in (organization.suspended_at, organization.deletion_requested_at) if moment]
    return not since or timezone.now() < max(since) + LATE_MAIL


@contextmanager
def _while_at(stage: MailHold, cause: str, organization_id: UUID) -> Iterator[None]:
    with transaction.atomic():
        query = Organization.objects.select_for_update(no_key=True).filter(pk=organization_id, mail_hold=stage)
        current = query.first()
        if current is None or _cause(current) != cause:
            raise _Changed
        yield
