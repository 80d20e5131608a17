"""What `/api/v1/emails` takes: Resend's names where the two overlap. What it answers: `relay.rest.answers`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts.rest.fields import (
    ADDRESS_LENGTH,
    AddressesField,
    SameIdField,
    SecondsField,
    StrictCharField,
    StrictSerializer,
)
from domains.rest.stream_field import StreamField
from relay.delivery.retry import HORIZON
from relay.rest.attachment_fields import AttachmentsField
from relay.rest.template_serializers import TemplateOfEmailSerializer
from relay.submission.options import (
    METADATA_KEY_LENGTH,
    METADATA_KEYS,
    METADATA_VALUE_LENGTH,
    MOST_TAGS,
    SOONEST_EXPIRY,
    TAG_WORD,
    is_metadata_key,
)
from relay.submission.send_at import read_send_at

MOST_TO = 1000
SUBJECT_LENGTH, HEADER_LENGTH = 2000, 5000  # characters


class TagWordField(serializers.RegexField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rf"^{TAG_WORD}$", error_messages={"invalid": "Letters, digits, _ and - only."}, **kwargs)


class TagSerializer(StrictSerializer):
    name = TagWordField()
    value = TagWordField()


@extend_schema_field(OpenApiTypes.STR)
class SendAtField(serializers.Field[datetime, str, Any, Any]):
    """A moment, by ISO 8601 or in words (`relay.submission.send_at`); whether it is in range is told on acceptance."""

    def __init__(self, **kwargs: Any) -> None:
        said = "When to send: a time with its zone, or words as in `in 1 hour`; at most 30 days ahead."
        super().__init__(**{"help_text": said} | kwargs)

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a string.")
        try:
            return read_send_at(data, timezone.now())
        except ValueError as error:
            raise serializers.ValidationError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


MISSING = ErrorDetail("This field is required.", "required")


class SendEmailSerializer(StrictSerializer):
    """`POST /api/v1/emails`."""

    to = AddressesField(min_length=1, max_length=MOST_TO)
    subject = StrictCharField(max_length=SUBJECT_LENGTH, required=False, allow_blank=True, trim_whitespace=False)
    template = TemplateOfEmailSerializer(required=False, help_text="In place of text and html.")
    text = StrictCharField(required=False, allow_blank=True, allow_null=True, trim_whitespace=False)
    html = StrictCharField(required=False, allow_blank=True, allow_null=True, trim_whitespace=False)
    cc = AddressesField(required=False)
    bcc = AddressesField(required=False)
    reply_to = AddressesField(required=False)
    headers = serializers.DictField(child=StrictCharField(allow_blank=True, max_length=HEADER_LENGTH), required=False)
    tags = serializers.ListField(child=TagSerializer(), required=False, max_length=MOST_TAGS)
    metadata = serializers.DictField(
        child=StrictCharField(allow_blank=True, max_length=METADATA_VALUE_LENGTH), required=False
    )
    stream = StreamField(
        required=False,
        help_text="The kind of mail, such as `news`: recipients can unsubscribe from it by one click, and get all other mail.",
    )
    attachments = AttachmentsField(required=False)
    scheduled_at = SendAtField(required=False, allow_null=True)
    expires_in = SecondsField(
        at_least=SOONEST_EXPIRY,
        at_most=HORIZON,
        required=False,
        help_text="When to give up, in seconds from now, or from `scheduled_at`.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # "from" is a word of Python's, so it cannot be declared as an attribute.
        return {"from": StrictCharField(max_length=ADDRESS_LENGTH, required=False), **super().get_fields()}

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        if len(value) > METADATA_KEYS:
            raise serializers.ValidationError(f"At most {METADATA_KEYS} keys.")
        if not all(is_metadata_key(key) for key in value):
            raise serializers.ValidationError(f"Keys are printable and at most {METADATA_KEY_LENGTH} characters long.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        bodies = [part for part in ("text", "html") if attrs.get(part) is not None]
        if "template" in attrs:  # which may have the sender and the subject, too (relay.rest.template_use)
            errors = {part: [ErrorDetail("Give a template or the body itself.", "invalid")] for part in bodies}
        else:
            errors = {part: [MISSING] for part in ("from", "subject") if part not in attrs}
            if not bodies:
                errors["text"] = [ErrorDetail("Give text, html, both or a template.", "required")]
        if errors:
            raise serializers.ValidationError(errors)
        return attrs


class SentEmailSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    suppressed = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Recipients who are on your suppression list: nothing is sent to them. Missing where there are none.",
    )


class RefusedOfBatchSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Of the email in the request, from 0.")
    message = serializers.CharField()
    code = serializers.CharField(help_text="As in the problem document that the email alone would get.")


class SentBatchSerializer(serializers.Serializer[Any]):
    """`POST /api/v1/emails/batch`."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # Serializers have attributes of these names.
        return {
            "data": SentEmailSerializer(many=True, help_text="Of the accepted emails, in the order of the request."),
            "errors": RefusedOfBatchSerializer(
                many=True, required=False, help_text="Only where validation is permissive."
            ),
        }


class RescheduleSerializer(StrictSerializer):
    """`PATCH /api/v1/emails/{id}`."""

    id = SameIdField()
    scheduled_at = SendAtField()


class RescheduledEmailSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(default="email")
    id = serializers.UUIDField()
