"""Reading the event log."""

from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from accounts.models import Organization
from accounts.scoping import OrganizationQuerySet
from events.models import Event


def timelines(
    organization: Organization, message_id: UUID, recipient_ids: Collection[UUID], *, with_transcripts: bool = False
) -> dict[UUID, list[Event]]:
    """The events of some recipients of a message, oldest first, by recipient id."""
    events = events_of_message(organization, message_id).filter(recipient_id__in=recipient_ids)
    if not with_transcripts:
        events = events.defer("transcript")
    by_recipient: dict[UUID, list[Event]] = defaultdict(list)
    for event in events.order_by("id"):
        by_recipient[event.recipient_id].append(event)
    return by_recipient


def events_of_message(organization: Organization, message_id: UUID) -> OrganizationQuerySet[Event]:
    # No event is older than its message, so older partitions need no look.
    return Event.objects.of(organization).filter(message_id=message_id, id__gte=message_id)
