"""What came back about a message, for its page."""

from __future__ import annotations

from uuid import UUID

from accounts.models import Organization
from relay.models import ReturnedMessage

SHOWN_MOST = 20


def returned_of(organization: Organization, message_id: UUID) -> list[ReturnedMessage]:
    """The newest first, without what they say. They are kept for some days (`relay.returns.record.KEPT`)."""
    query = ReturnedMessage.objects.of(organization).filter(message_id=message_id)
    return list(query.defer("raw", "fingerprint").order_by("-id")[:SHOWN_MOST])
