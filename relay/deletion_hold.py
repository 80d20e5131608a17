"""The queue of an organization that is being deleted: held, and released again if the deletion is undone.

A recipient held for this has the reason `organization_being_deleted`; those that somebody held before stay as they are. What
comes to the end of its retry period meanwhile ends as any other (`relay.expiry`). How far this is stands in the organization's
row (`mail_hold`): each batch looks at it under a lock, so a late hold cannot overtake an undoing.
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
from relay.actions import Action, act
from relay.models import Recipient, RecipientState
from relay.upkeep import alone

REASON = "organization_being_deleted"
# What the doors knew before the request may be accepted so much later (relay.submission.directory: 3 s), its commit included.
LATE_MAIL = timedelta(seconds=40)

LOCK = 7211

_ACTIONS = {MailHold.HOLDING: Action.HOLD, MailHold.RELEASING: Action.RELEASE}
_REASONS = {Action.HOLD: REASON, Action.RELEASE: ""}
_CHOSEN_AS = {Action.HOLD: "that wait, for the deletion", Action.RELEASE: "that were held for the deletion"}
_ENDS = {MailHold.HOLDING: MailHold.HELD, MailHold.RELEASING: MailHold.NONE}


class _Changed(Exception):
    """The organization's deletion was asked for, or undone, meanwhile."""


def when_a_deletion_changes(**_: Any) -> None:
    """Of the signal `accounts.signals.deletion_changed`. A task that is lost does no harm: beat sends another."""
    from relay.tasks import hold_mail_of_deleted

    transaction.on_commit(lambda: hold_mail_of_deleted.apply_async(retry=False), robust=True)


def settle_all(seconds: float) -> None:
    """One pass over the queues that are not yet as they are to be, for so long at most."""
    until = time.monotonic() + seconds
    for key in Organization.objects.filter(mail_hold__in=_ACTIONS).order_by("erase_at").values_list("pk", flat=True):
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
    action = _ACTIONS[stage]
    open_ones = Recipient.objects.of(organization).filter(next_attempt_at__isnull=False)
    held = open_ones.filter(state=RecipientState.HELD, reason=REASON)
    recipients = open_ones if action is Action.HOLD else held
    guarded = partial(_while_at, stage, organization_id)
    try:
        more = True
        while more and time.monotonic() < until:
            acted = act(action, recipients, chosen_as=_CHOSEN_AS[action], reason=_REASONS[action], guarded=guarded)
            more = acted.more
        if more or (action is Action.HOLD and _may_still_come(organization)):
            return
        with guarded():
            # Looked at last: what was being delivered a moment ago may wait again by now.
            is_left = held if action is Action.RELEASE else open_ones.exclude(state=RecipientState.HELD)
            if not is_left.exists():
                Organization.objects.filter(pk=organization_id).update(mail_hold=_ENDS[stage])
    except _Changed:
        return


def _may_still_come(organization: Organization) -> bool:
    since = organization.deletion_requested_at
    return since is None or timezone.now() < since + LATE_MAIL


@contextmanager
def _while_at(stage: MailHold, organization_id: UUID) -> Iterator[None]:
    with transaction.atomic():
        query = Organization.objects.select_for_update(no_key=True).filter(pk=organization_id, mail_hold=stage)
        if query.first() is None:
            raise _Changed
        yield
