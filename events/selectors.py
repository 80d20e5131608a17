"""Reading the event log."""

from collections import defaultdict
from uuid import UUID

from accounts.models import Organization
from events.models import Event


def timelines(organization: Organization, message_id: UUID) -> dict[UUID, list[Event]]:
    """The events of a message, oldest first, by recipient id."""
    by_recipient: dict[UUID, list[Event]] = defaultdict(list)
    # No event is older than its message, so older partitions need no look.
    for event in Event.objects.of(organization).filter(message_id=message_id, id__gte=message_id).order_by("id"):
        by_recipient[event.recipient_id].append(event)
    return by_recipient
