"""The rule for soft bounces: an address that refuses message after message, for days, is not mailed any more.

A task looks through the event log from where it stopped (`SoftBounceMark`), below the feed's horizon, and judges each address
that bounced by its last outcomes. Suppressions and mark change in one transaction, under a lock: whatever dies in between,
every bounce is judged, and none of it twice.

An outcome is a delivery or a bounce. What says nothing of the address does not count: bounces for our own or the sender's sake,
and what was cancelled or is under way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, differences, note
from accounts.models import Organization
from domains.names import to_unicode
from events.feed import horizon
from events.models import Event, EventType
from events.reasons import REASONS, suppresses
from relay.delivery.replies import classify_reply, make_reply
from relay.models import Recipient, RecipientState, SoftBounceMark, SoftBouncePardon, SoftBounceRule, Suppression
from relay.suppressing.suppressions import SOFT_BOUNCES

LOCK = 7250
EVENTS_AT_ONCE = 5000  # looked through in a transaction
OUTCOMES_MOST = 100  # of an address, looked at
LONGEST_REST_S = 0.5
MESSAGES_MOST, DAYS_MOST = 50, 90  # that a rule may ask for
PARDONS_KEPT = timedelta(days=400)  # no mail is kept longer
# Refusals that are about the sender, this message or the way to the receiver, and not about who is behind the address.
COUNTED = frozenset(code for code, one in REASONS.items() if one.scope == "address" and not one.hard) - {"suppressed"}
EXPIRED = "expired"  # counts where the receiver's last word was one of those


@dataclass(frozen=True, slots=True)
class Rule:
    """`messages` soft bounces in a row, at least `days` from the first to the last of them."""

    messages: int = 5
    days: int = 3


PLATFORM = Rule()


@dataclass(frozen=True, slots=True)
class Result:
    """How a message to an address ended."""

    at: datetime
    is_delivered: bool
    reason: str = ""
    message_id: UUID | None = None
    reply: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a bounce that tells something of the address."""
        reason = self.reason
        if reason == EXPIRED and self.reply[:3].isdigit():
            reason = classify_reply(make_reply(int(self.reply[:3]), [self.reply[3:].strip()]))
        return not self.is_delivered and reason in COUNTED


def is_hopeless(results: Iterable[Result], rule: Rule, since: datetime | None = None) -> bool:
    """Whether the last of an address's results are soft bounces, as many and as far apart as the rule says.

    `since`: what was before does not count.
    """
    row: list[datetime] = []
    for result in sorted(results, key=lambda result: result.at, reverse=True):
        if result.is_delivered or (since and result.at <= since):
            break
        if result.counts:
            row.append(result.at)
    return len(row) >= rule.messages and row[0] - row[-1] >= timedelta(days=rule.days)


# ---- An organization's own rule --------------------------------------------------------------------------------------


def rule_of(organization: Organization | UUID) -> Rule | None:
    """None: it is switched off."""
    own = SoftBounceRule.objects.of(organization).first()
    if own is None:
        return PLATFORM
    return Rule(own.messages, own.days) if own.is_on else None


def change_rule(organization: Organization, rule: Rule | None, *, by: Actor = SYSTEM) -> None:
    """It holds from the next bounce on."""
    with transaction.atomic():
        before = _in_words(rule_of(organization))
        kept = rule or PLATFORM
        SoftBounceRule.objects.of(organization).update_or_create(
            organization_id=organization.pk,
            defaults={"is_on": rule is not None, "messages": kept.messages, "days": kept.days},
        )
        was, now = differences(before, _in_words(rule))
        if now:
            note(by, "soft_bounce_rule.changed", organization, organization_id=organization.pk, before=was, after=now)


def _in_words(rule: Rule | None) -> dict[str, Any]:
    return {"is_on": False} if rule is None else {"is_on": True, "messages": rule.messages, "days": rule.days}


# ---- The work --------------------------------------------------------------------------------------------------------


def heed_bounces(seconds: float) -> int:
    """Works for so long at most, with rests for the mail path, on what lies below the horizon as it begins. Returns how many
    addresses were suppressed."""
    until, top, suppressed = time.monotonic() + seconds, horizon(), 0
    while True:
        began = time.monotonic()
        found = heed_next(top)
        if found is None or time.monotonic() >= until:
            return suppressed + (found or 0)
        suppressed += found
        time.sleep(min(time.monotonic() - began, LONGEST_REST_S))


def heed_next(top: UUID) -> int | None:
    """One transaction: the next events below `top`, which must be at or below the horizon.

    None: there are none, or another process is at it. The first time it begins at `top`: what was before is history.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return None
        mark = SoftBounceMark.objects.filter(pk=1).first()
        if mark is None:
            SoftBounceMark.objects.create(looked_before=top)
            return None
        end = _end_of_step(cursor, mark.looked_before, top)
        if end is None:
            return None
        suppressed = sum(
            _judge(organization_id, addresses)
            for organization_id, addresses in sorted(_bounced(mark.looked_before, end).items())
        )
        mark.looked_before = end
        mark.save()
    return suppressed


def forget_pardons() -> None:
    SoftBouncePardon.objects.filter(at__lt=timezone.now() - PARDONS_KEPT).delete()


def _end_of_step(cursor: Any, low: UUID, top: UUID) -> UUID | None:
    """None: nothing has come since."""
    cursor.execute(
        "SELECT (array_agg(id ORDER BY id DESC))[1], count(*) FROM (SELECT id FROM events_event WHERE id >= %s AND id < %s"
        " ORDER BY id LIMIT %s) e",
        [low, top, EVENTS_AT_ONCE],
    )
    last, count = cursor.fetchone()
    if not count:
        return None
    return UUID(int=last.int + 1) if count == EVENTS_AT_ONCE else top


def _bounced(low: UUID, high: UUID) -> dict[UUID, set[str]]:
    """Addresses as suppressions have them, by organization."""
    events = Event.objects.filter(id__gte=low, id__lt=high, type=EventType.BOUNCED, reason__in=COUNTED | {EXPIRED})
    found: dict[UUID, set[str]] = {}
    recipients = Recipient.objects.filter(pk__in=list(events.values_list("recipient_id", flat=True)))
    for organization_id, address, destination in recipients.values_list("organization_id", "address", "destination"):
        found.setdefault(organization_id, set()).add(f"{address.rpartition('@')[0].lower()}@{destination}")
    return found


def _judge(organization_id: UUID, addresses: set[str]) -> int:
    """In the order in which the engine suppresses, so that neither waits for the other in a circle."""
    rule = rule_of(organization_id)
    if rule is None:
        return 0
    pardons = dict(
        SoftBouncePardon.objects.of(organization_id).filter(address__in=addresses).values_list("address", "at")
    )
    made = []
    for address in sorted(addresses):
        results = results_of(organization_id, address)
        if is_hopeless(results, rule, pardons.get(address)):
            last = max((one for one in results if one.counts), key=lambda one: one.at)
            made.append(
                Suppression(
                    organization_id=organization_id,
                    address=address,
                    reason=SOFT_BOUNCES,
                    message_id=last.message_id,
                    reply=last.reply,
                    note=f"{rule.messages} or more in a row over {rule.days} days or more, none delivered between.",
                )
            )
    Suppression.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def results_of(organization_id: UUID, address: str) -> list[Result]:
    """The address's last ones, by the index on addresses."""
    local, _, destination = address.rpartition("@")
    recipients = Recipient.objects.of(organization_id).annotate(lower=Lower("address"))
    forms = {address, f"{local}@{to_unicode(destination)}"}  # as it may have been written
    found = recipients.filter(destination=destination, lower__in=forms).order_by("-message_id")
    return [
        Result(one.state_at, one.state == RecipientState.DELIVERED, one.reason, one.message_id, one.last_reply)
        for one in found[:OUTCOMES_MOST]
        if one.state == RecipientState.DELIVERED or (one.state == RecipientState.BOUNCED and not suppresses(one.reason))
    ]
