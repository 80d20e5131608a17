"""What `/api/v1/emails` and `/api/v1/events` answer: Resend's names where the two overlap. What they take: `serializers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Organization
from events.models import Event, EventType
from events.vocabulary import WORDS, BounceKind, bounce_kind
from relay.acting.actions import recipients_of
from relay.models import Door, Message, RecipientState
from relay.reading.selectors import Reach, message_content, message_heads, reach, with_events
from relay.rest.contents import addr_spec, address_fields, bodies
from relay.rest.serializers import TagSerializer

ADDRESSES_LISTED = 50  # in an item of a list; as many as Resend takes in an email
HEAD_OCTETS = 16 * 1024  # of a content, that hold them
# Resend's words for our states.
LAST_EVENTS = {
    "submitted": "queued",
    "scheduled": "scheduled",
    "deferred": "delivery_delayed",
    "in_doubt": "delivery_delayed",
    "delivered": "delivered",
    "bounced": "bounced",
    "suppressed": "suppressed",
    "cancelled": "canceled",
    "unknown_outcome": "failed",
    "held": "queued",
}
RECIPIENTS_TOLD = 20  # with an email; the others are a list of their own


class EventSerializer(serializers.Serializer[Any]):
    """What happened to one recipient."""

    id = serializers.UUIDField()
    type = serializers.ChoiceField(
        choices=EventType.choices,
        help_text="\n\n".join(f"`{word.type.value}`: {word.meaning}" for word in WORDS.values()),
    )
    occurred_at = serializers.DateTimeField()
    attempt = serializers.IntegerField(help_text="Which attempt it ended; 0: none.")
    reason = serializers.CharField(help_text="One word for the cause of a deferral or bounce; else empty.")
    bounce = serializers.SerializerMethodField(help_text="Of a bounce: whether the address itself is dead. Else null.")
    detail = serializers.DictField(
        child=serializers.JSONField(), help_text="The reply, the exchanger, TLS, durations in milliseconds."
    )

    @extend_schema_field(serializers.ChoiceField(choices=["hard", "soft"], allow_null=True))
    def get_bounce(self, event: Event) -> BounceKind | None:
        return bounce_kind(event.type, event.reason)


class ListedEventSerializer(EventSerializer):
    email_id = serializers.UUIDField(source="message_id")
    recipient_id = serializers.UUIDField()
    recipient = serializers.CharField(source="address", help_text="The recipient's address.")


class RecipientSerializer(serializers.Serializer[Any]):
    """From `relay.reading.selectors.RecipientTimeline`."""

    id = serializers.UUIDField(source="recipient.id")
    address = serializers.CharField(source="recipient.address")
    state = serializers.ChoiceField(source="recipient.state", choices=RecipientState.choices)
    reason = serializers.CharField(source="recipient.reason")
    attempts = serializers.IntegerField(source="recipient.attempts")
    next_attempt_at = serializers.DateTimeField(source="recipient.next_attempt_at", allow_null=True)
    expires_at = serializers.DateTimeField(source="recipient.expires_at")
    events = EventSerializer(many=True, help_text="The oldest first.")


class ListedEmailSerializer(serializers.Serializer[Any]):
    """An email in a list: Resend's members, and what became of its recipients in numbers.

    At most 50 addresses of `to` and `cc` are listed, and `bcc` where there are no more recipients than that.
    """

    id = serializers.UUIDField()
    message_id = serializers.CharField(help_text="The Message-ID header, without angle brackets.")
    to = serializers.ListField(child=serializers.CharField())
    cc = serializers.ListField(child=serializers.CharField())
    bcc = serializers.ListField(child=serializers.CharField())
    reply_to = serializers.ListField(child=serializers.CharField())
    subject = serializers.CharField()
    created_at = serializers.DateTimeField()
    scheduled_at = serializers.DateTimeField(allow_null=True)
    last_event = serializers.ChoiceField(
        choices=sorted(set(LAST_EVENTS.values())), help_text="`state` in the words of Resend's API."
    )
    state = serializers.ChoiceField(
        choices=RecipientState.choices, help_text="Of the recipients' states the one that most wants attention."
    )
    door = serializers.ChoiceField(choices=Door.choices)
    smtp_user_id = serializers.UUIDField(allow_null=True)
    api_key_id = serializers.UUIDField(allow_null=True)
    size_bytes = serializers.IntegerField()
    stream = serializers.CharField(help_text="From which its recipients can unsubscribe. Empty: none.")
    tags = TagSerializer(many=True)
    metadata = serializers.DictField(child=serializers.CharField())
    recipient_count = serializers.IntegerField()
    recipient_states = serializers.SerializerMethodField(help_text="How many recipients are in each state.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # "from" is a word of Python's, so it cannot be declared as an attribute.
        return {"from": serializers.CharField(), **super().get_fields()}

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_recipient_states(self, shape: dict[str, Any]) -> dict[str, int]:
        states: dict[str, int] = shape["recipient_states"]
        return states


class EmailSerializer(ListedEmailSerializer):
    """The email as it was submitted, and what became of its recipients. Content whose retention is over reads as null."""

    object = serializers.CharField(default="email")
    html = serializers.CharField(allow_null=True)
    text = serializers.CharField(allow_null=True)
    recipients = RecipientSerializer(
        many=True, help_text=f"The first {RECIPIENTS_TOLD}, in the envelope's order; all: /emails/{{id}}/recipients."
    )
    has_more_recipients = serializers.BooleanField()


class ActedEmailSerializer(serializers.Serializer[Any]):
    """What a key that may only send is told of an email that it acted on."""

    object = serializers.CharField(default="email")
    id = serializers.UUIDField()
    last_event = serializers.CharField(help_text="`state` in the words of Resend's API.")
    state = serializers.ChoiceField(choices=RecipientState.choices)


def listed(organization: Organization, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The items of a list."""
    reached = reach(organization, messages, addresses_most=ADDRESSES_LISTED)
    heads = message_heads([message.id for message in messages], HEAD_OCTETS)
    shapes = []
    for message in messages:
        shape = _shape(message, reached[message.id], heads.get(message.id))
        for name in ("to", "cc", "reply_to"):
            shape[name] = shape[name][:ADDRESSES_LISTED]
        shapes.append(shape)
    return [dict(item) for item in ListedEmailSerializer(shapes, many=True).data]


def email(organization: Organization, message: Message) -> dict[str, Any]:
    raw = message_content(organization, message.id)
    html, text = (None, None) if raw is None else bodies(raw)
    reached = reach(organization, [message], addresses_most=message.recipient_count)[message.id]
    first = recipients_of(organization, message.id).order_by("id")[:RECIPIENTS_TOLD]
    shape = _shape(message, reached, raw) | {
        "object": "email",
        "html": html,
        "text": text,
        "recipients": with_events(organization, list(first)),
        "has_more_recipients": message.recipient_count > RECIPIENTS_TOLD,
    }
    return dict(EmailSerializer(shape).data)


def _shape(message: Message, reached: Reach, head: bytes | None) -> dict[str, Any]:
    """What the fields of both are filled from. Without its content an email is to whom its envelope was."""
    fields = address_fields(head or b"")
    envelope = reached.addresses or []
    to, cc, bcc = fields.get("to", []), fields.get("cc", []), []
    if head is None:
        to = envelope
    else:
        shown = {addr_spec(mailbox) for mailbox in (*to, *cc)}
        bcc = [address for address in envelope if address.lower() not in shown]
    return {
        "id": message.id,
        "message_id": message.message_id_header,
        "from": message.header_from,
        "to": to,
        "cc": cc,
        "bcc": bcc,
        "reply_to": fields.get("reply-to", []),
        "subject": message.subject,
        "created_at": message.submitted_at,
        "scheduled_at": message.scheduled_at,
        "last_event": LAST_EVENTS[reached.state],
        "state": reached.state,
        "door": message.door,
        "smtp_user_id": message.smtp_user_id,
        "api_key_id": message.api_key_id,
        "size_bytes": message.size_bytes,
        "stream": message.stream,
        "tags": [dict(zip(("name", "value"), tag.partition(":")[::2], strict=True)) for tag in message.tags],
        "metadata": message.metadata,
        "recipient_count": message.recipient_count,
        "recipient_states": reached.states,
    }
