"""Recipients who want no more mail of a stream: by one click (RFC 8058), on a page, or by mail (RFC 2369).

Each makes a suppression of the stream for the address, and the event `unsubscribed` where the message's recipient is still
known; both in one transaction, once, however often it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from accounts.audit import Actor
from accounts.models import Organization
from accounts.scoping import OrganizationQuerySet
from accounts.walls import across_organizations
from events.log import Detail
from events.models import Event, EventType
from relay.models import Message, Recipient, Suppression
from relay.suppressing.suppressions import UNSUBSCRIBE, remove_suppressions, suppress
from relay.suppressing.unsubscribe_tokens import Wish, read_unsubscribe_address, unsubscribe_address

__all__ = [
    "Subscription",
    "read_unsubscribe_address",
    "resubscribe",
    "subscription_of",
    "unsubscribe",
    "unsubscribe_address",
    "unsubscribe_by_mail",
]
RECIPIENT = Actor("system", None, "The recipient")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a link is about, as it stands now. `sender`: of the message, while that is kept; else empty."""

    wish: Wish
    organization: Organization
    sender: str
    is_ended: bool


def subscription_of(wish: Wish) -> Subscription | None:
    """None: the organization is gone."""
    with across_organizations():
        organization = Organization.objects.filter(pk=wish.organization_id).first()
    if organization is None:
        return None
    sender = Message.objects.of(organization).filter(pk=wish.message_id).values_list("header_from", flat=True).first()
    is_ended = _own(organization, wish).exists()
    return Subscription(wish, organization, sender or "", is_ended)


@transaction.atomic
def unsubscribe(organization: Organization, wish: Wish, *, how: str) -> bool:
    """`how`: one_click, page or mail. False: it was so already."""
    suppression, is_new = suppress(
        organization, wish.address, reason=UNSUBSCRIBE, stream=wish.stream, message_id=wish.message_id, by=RECIPIENT
    )
    if not is_new:
        return False
    recipient = _recipient_of(organization, wish)
    if recipient is not None:
        Event.objects.bulk_create(
            [
                Event(
                    organization_id=organization.pk,
                    message_id=recipient.message_id,
                    recipient_id=recipient.pk,
                    address=recipient.address,
                    type=EventType.UNSUBSCRIBED,
                    occurred_at=suppression.created_at,
                    detail=Detail(stream=wish.stream, how=how),
                )
            ]
        )
    return True


def unsubscribe_by_mail(recipient_id: UUID) -> bool | None:
    """For mail to `unsubscribe_address`, whose local part `read_unsubscribe_address` has read. False: it was so already; None:
    nothing is known of the recipient any more, or their message has no stream."""
    with across_organizations():
        recipient = Recipient.objects.select_related("organization").filter(pk=recipient_id).first()
        message = Message.objects.filter(pk=recipient.message_id).first() if recipient else None
    if recipient is None or message is None or not message.stream:
        return None
    address = f"{recipient.address.rpartition('@')[0].lower()}@{recipient.destination}"
    wish = Wish(recipient.organization_id, recipient.message_id, address, message.stream)
    return unsubscribe(recipient.organization, wish, how="mail")


def resubscribe(organization: Organization, wish: Wish, *, by: Actor = RECIPIENT) -> bool:
    """Takes back what `unsubscribe` did; other suppressions of the address stay. False: there was nothing to take back."""
    ids = list(_own(organization, wish).values_list("pk", flat=True))
    return (
        bool(remove_suppressions(organization, ids=ids, because="The recipient took it back.", by=by)) if ids else False
    )


def _own(organization: Organization, wish: Wish) -> OrganizationQuerySet[Suppression]:
    return Suppression.objects.of(organization).filter(address=wish.address, stream=wish.stream, reason=UNSUBSCRIBE)


def _recipient_of(organization: Organization, wish: Wish) -> Recipient | None:
    """Locked, so that retention cannot take it away from under its event."""
    recipients = Recipient.objects.of(organization).select_for_update()
    local, _, destination = wish.address.rpartition("@")
    found = recipients.filter(destination=destination, message_id=wish.message_id, id__gte=wish.message_id)
    return next((one for one in found.order_by("id") if one.address.rpartition("@")[0].lower() == local), None)
