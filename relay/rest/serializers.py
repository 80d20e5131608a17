"""What `/api/v1/emails` takes: Resend's names where the two overlap. What it answers: `relay.rest.answers`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework import serializers

from accounts.rest.fields import AddressesField, SecondsField, StrictCharField, StrictSerializer
from relay.delivery.retry import HORIZON
from relay.submission.mime import Letter
from relay.submission.options import (
    METADATA_KEY_LENGTH,
    METADATA_KEYS,
    METADATA_VALUE_LENGTH,
    MOST_TAGS,
    SOONEST_EXPIRY,
    TAG_WORD,
    is_metadata_key,
)


class TagWordField(serializers.RegexField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rf"^{TAG_WORD}$", error_messages={"invalid": "Letters, digits, _ and - only."}, **kwargs)


class TagSerializer(StrictSerializer):
    name = TagWordField()
    value = TagWordField()


class SendEmailSerializer(StrictSerializer):
    """`POST /api/v1/emails`."""

    to = AddressesField(min_length=1, max_length=1000)
    subject = StrictCharField(max_length=2000, allow_blank=True, trim_whitespace=False)
    text = StrictCharField(required=False, allow_blank=True, allow_null=True, trim_whitespace=False)
    html = StrictCharField(required=False, allow_blank=True, allow_null=True, trim_whitespace=False)
    cc = AddressesField(required=False)
    bcc = AddressesField(required=False)
    reply_to = AddressesField(required=False)
    headers = serializers.DictField(child=StrictCharField(allow_blank=True, max_length=5000), required=False)
    tags = serializers.ListField(child=TagSerializer(), required=False, max_length=MOST_TAGS)
    metadata = serializers.DictField(
        child=StrictCharField(allow_blank=True, max_length=METADATA_VALUE_LENGTH), required=False
    )

    expires_in = SecondsField(
        at_least=SOONEST_EXPIRY, at_most=HORIZON, required=False, help_text="When to give up, in seconds from now."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # "from" is a word of Python's, so it cannot be declared as an attribute.
        return {"from": StrictCharField(max_length=1000), **super().get_fields()}

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        if len(value) > METADATA_KEYS:
            raise serializers.ValidationError(f"At most {METADATA_KEYS} keys.")
        if not all(is_metadata_key(key) for key in value):
            raise serializers.ValidationError(f"Keys are printable and at most {METADATA_KEY_LENGTH} characters long.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("text") is None and attrs.get("html") is None:
            raise serializers.ValidationError({"text": ["Give text, html or both."]})
        return attrs

    def letter(self) -> Letter:
        data = self.validated_data
        return Letter(
            from_=data["from"],
            to=tuple(data["to"]),
            subject=data["subject"],
            text=data.get("text"),
            html=data.get("html"),
            cc=tuple(data.get("cc", ())),
            bcc=tuple(data.get("bcc", ())),
            reply_to=tuple(data.get("reply_to", ())),
            headers=data.get("headers", {}),
        )

    def expires(self) -> timedelta | None:
        seconds = self.validated_data.get("expires_in")
        return None if seconds is None else timedelta(seconds=seconds)

    def tag_texts(self) -> tuple[str, ...]:
        return tuple(f"{tag['name']}:{tag['value']}" for tag in self.validated_data.get("tags", ()))


class SentEmailSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
