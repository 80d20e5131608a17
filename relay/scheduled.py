"""The register of messages that are to be delivered later (`relay_scheduledmessage`).

Engines look at the partitions of the last days only (`relay.delivery.queue`). A message that was scheduled long ago is older
when it becomes due: its row here says from when on they must look back as far as that. It stays until nothing of the message
is open any more.

Whoever drops old partitions must keep those from `oldest_day` on, those of contents included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from uuid import UUID

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Least, Now
from django.utils import timezone

from accounts.ids import first_id_at, time_of
from relay.models import Recipient, ScheduledMessage

BATCH = 1000
ACCEPTED_WITHIN = timedelta(hours=1)  # a message's recipients have ids that are that much younger at most


def bring_forward(message_ids: Collection[UUID]) -> None:
    """Something of these is due now. In the caller's transaction."""
    later = ScheduledMessage.objects.of_any().filter(message_id__in=message_ids, send_at__gt=Now())
    ids = [row.pk for row in later.order_by("pk").select_for_update()]  # in one order: nobody waits in a circle
    if ids:
        ScheduledMessage.objects.of_any().filter(pk__in=ids).update(send_at=Now())


def keep_in_play(messages: Mapping[UUID, UUID]) -> None:
    """Engines look back as far as these, by message the organization, though they were never scheduled: they were held for so
    long that they are older than what waits otherwise. In the caller's transaction, before `bring_forward`."""
    ScheduledMessage.objects.of_any().bulk_create(
        [
            ScheduledMessage(message_id=message_id, organization_id=organization_id, send_at=timezone.now())
            for message_id, organization_id in sorted(messages.items())
        ],
        ignore_conflicts=True,
    )


def put_off(message_id: UUID, send_at: datetime, *, others_are_open: bool) -> None:
    """What is scheduled of this one waits for another time; `others_are_open`: not all of it. In the caller's transaction."""
    row = ScheduledMessage.objects.of_any().filter(pk=message_id)
    row.update(send_at=Least(F("send_at"), Value(send_at)) if others_are_open else send_at)


def forget_ended(message_ids: Collection[UUID]) -> int:
    """Strikes out those of which nothing is open. What has ended stays so. Returns how many were."""
    with transaction.atomic():
        rows = ScheduledMessage.objects.of_any().filter(pk__in=message_ids).order_by("pk")
        ids = [row.pk for row in rows.select_for_update(skip_locked=True)]
        if not ids:
            return 0
        # Bounds on the recipients' own ids leave out the other days' partitions.
        last = first_id_at(time_of(ids[-1]) + ACCEPTED_WITHIN)
        recipients = Recipient.objects.of_any().filter(message_id__in=ids, id__gte=ids[0], id__lt=last)
        is_open = set(recipients.filter(next_attempt_at__isnull=False).values_list("message_id", flat=True).distinct())
        ended, _ = ScheduledMessage.objects.of_any().filter(pk__in=set(ids) - is_open).delete()
    return ended


def tidy() -> int:
    """Goes through all that were due. Returns how many were struck out."""
    due = ScheduledMessage.objects.filter(send_at__lte=timezone.now()).order_by("pk").values_list("pk", flat=True)
    ids, ended = due.iterator(chunk_size=BATCH), 0
    while batch := list(islice(ids, BATCH)):
        ended += forget_ended(batch)
    return ended


def oldest_day() -> date | None:
    """Of the messages that are still to be delivered; None: there are none."""
    first = ScheduledMessage.objects.order_by("pk").first()
    return time_of(first.pk).astimezone(UTC).date() if first else None
