"""Reading the event log."""

from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from accounts.models import Organization
from events.models import Event


def timelines(
    organization: Organization, message_id: UUID, recipient_ids: Collection[UUID] | None = None
) -> dict[UUID, list[Event]]:
    """The events of a message, or of those of its recipients, oldest first, by recipient id."""
    # No event is older than its message, so older partitions need no look.
    events = Event.objects.of(organization).filter(message_id=message_id, id__gte=message_id)
    if recipient_ids is not None:
        events = events.filter(recipient_id__in=recipient_ids).defer("transcript")
    by_recipient: dict[UUID, list[Event]] = defaultdict(list)
    for event in events.order_by("id"):
        by_recipient[event.recipient_id].append(event)
    return by_recipient
