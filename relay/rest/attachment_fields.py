"""The wire shape of attachments in a request: Resend's, in the forms that its SDKs send."""

from __future__ import annotations

import binascii
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.rest.fields import StrictCharField, StrictSerializer
from domains.guarded_fetch import LONGEST_URL

MOST_ATTACHMENTS = 100
_WHITE_SPACE = " \r\n\t"


@extend_schema_field({"type": "string", "contentEncoding": "base64"})
class ContentField(serializers.Field[bytes, Any, Any, Any]):
    """Base64 (RFC 4648, 4); or octets as numbers, alone (Resend for Python) or as Node.js writes a Buffer."""

    def to_internal_value(self, data: Any) -> bytes:
        if isinstance(data, dict) and data.get("type") == "Buffer":
            data = data.get("data")
        if isinstance(data, list):
            try:
                return bytes(data)
            except (TypeError, ValueError):
                raise serializers.ValidationError("A list must hold whole numbers from 0 to 255.") from None
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a base64 string.")
        if any(character in data for character in _WHITE_SPACE):
            data = "".join(data.split())
        try:
            return binascii.a2b_base64(data, strict_mode=True)
        except ValueError as error:
            raise serializers.ValidationError(f"Is not base64: {error}.") from None


class FilenameField(StrictCharField):
    def to_internal_value(self, data: Any) -> str:
        """Resend's Node.js SDK also has `false` for "no name"."""
        return "" if data is False else super().to_internal_value(data)


class AttachmentSerializer(StrictSerializer):
    filename = FilenameField(required=False, allow_null=True, max_length=255)
    content = ContentField(required=False, allow_null=True, help_text="The file, in base64.")
    path = StrictCharField(
        required=False,
        allow_null=True,
        max_length=LONGEST_URL,
        help_text="Where the file is fetched from, in place of content.",
    )
    content_type = StrictCharField(
        required=False, allow_null=True, max_length=255, help_text="Without it, it is told from the file's name."
    )
    content_id = StrictCharField(
        required=False, allow_null=True, max_length=130, help_text="Shows the file in the HTML, as `cid:<content_id>`."
    )
    inline_content_id = StrictCharField(
        required=False, allow_null=True, max_length=130, help_text="The older name of content_id."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None}
        if ("content" in given) == ("path" in given):
            raise serializers.ValidationError({"content": ["Give content or path, one of them."]})
        older = given.pop("inline_content_id", None)
        if older is not None and given.setdefault("content_id", older) != older:
            raise serializers.ValidationError({"inline_content_id": ["Differs from content_id; give one of them."]})
        if "content_id" in given:
            given["content_id"] = given["content_id"].removeprefix("<").removesuffix(">")
        if not given.get("filename") and not {"path", "content_id"} & set(given):
            raise serializers.ValidationError({"filename": ["Give the file a name."]})
        return given


class AttachmentsField(serializers.ListField):
    child = AttachmentSerializer()

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > MOST_ATTACHMENTS:  # told before any is decoded
            raise serializers.ValidationError(f"At most {MOST_ATTACHMENTS} attachments.")
        read = super().to_internal_value(data)
        seen: set[str] = set()
        for number, attachment in enumerate(read):
            content_id = attachment.get("content_id")
            if content_id in seen:
                raise serializers.ValidationError({str(number): {"content_id": ["Another attachment has it, too."]}})
            if content_id:
                seen.add(content_id)
        return read
