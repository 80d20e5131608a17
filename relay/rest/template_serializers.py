"""The wire shape of `/api/v1/templates`: Resend's names where the two overlap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.rest.fields import AddressesField, StrictCharField, StrictSerializer
from relay.models import Template, TemplateVersion
from relay.submission.addresses import domain_of, parse_mailboxes
from relay.templates import NAME_LENGTH, SOURCE_LENGTH, SUBJECT_LENGTH, Found
from relay.templating.variables import KEY, MOST_VARIABLES, TYPES, Variable, VariablesError, check_given, is_of_type

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
REPLY_TO_MOST = 50
STATUSES = ("draft", "published")


@extend_schema_field({"type": ["string", "number", "boolean", "array", "object"], "items": {}})
class ValueField(serializers.Field[Any, Any, Any, Any]):
    """Whatever JSON can say."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {"oneOf": [{"type": "integer", "minimum": 1, "maximum": 32767}, {"type": "string", "enum": list(STATUSES)}]}
)
class VersionField(serializers.Field[int | str, Any, Any, Any]):
    """The number of a version, or `draft` or `published`."""

    def to_internal_value(self, data: Any) -> int | str:
        if data in STATUSES or (type(data) is int and 0 < data < 1 << 15):
            return cast(int | str, data)
        raise serializers.ValidationError("Must be the number of a version, draft or published.")

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {},
        "propertyNames": {"pattern": f"^{KEY.pattern}$"},
        "example": {"name": "Ada"},
    }
)
class VariablesField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """Values for a template's variables."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object.")
        try:
            check_given(data)
        except VariablesError as error:
            raise serializers.ValidationError(
                {key or "non_field_errors": [told] for key, told in error.errors}
            ) from None
        return data

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


class MailboxField(StrictCharField):
    """`name@domain` or `Name <name@domain>`."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        mailboxes = parse_mailboxes(text) if text.isprintable() else None
        if not mailboxes or len(mailboxes) != 1 or domain_of(mailboxes[0][1]) is None:
            raise serializers.ValidationError("Must be an address, as in Acme <hello@yourdomain.com>.")
        return text


class ReplyToField(AddressesField):
    child = MailboxField(max_length=1000)


class VariableSerializer(StrictSerializer):
    """A declared variable. Without `fallback_value` it has to be given with each sending."""

    key = serializers.RegexField(
        rf"^{KEY.pattern}\Z", error_messages={"invalid": "A letter, then letters, digits, _ and -; at most 50."}
    )
    type = serializers.ChoiceField(choices=TYPES, help_text="Resend has string and number.")
    fallback_value = ValueField(required=False, allow_null=True, default=None, help_text="Of that type.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        value = attrs["fallback_value"]
        if value is not None and not is_of_type(value, attrs["type"]):
            raise serializers.ValidationError({"fallback_value": [f"Must be a {attrs['type']}."]})
        return attrs


class UpdateTemplateSerializer(StrictSerializer):
    """`PATCH /api/v1/templates/{id}`: what is not given stays; null empties a field."""

    name = StrictCharField(max_length=NAME_LENGTH, required=False)
    alias = StrictCharField(
        max_length=60, required=False, allow_blank=True, allow_null=True, help_text="Another name for the id."
    )
    subject = StrictCharField(max_length=SUBJECT_LENGTH, required=False, allow_blank=True, allow_null=True)
    reply_to = ReplyToField(required=False, allow_null=True, max_length=REPLY_TO_MOST)
    html = StrictCharField(
        max_length=SOURCE_LENGTH, required=False, allow_blank=True, allow_null=True, trim_whitespace=False
    )
    text = StrictCharField(
        max_length=SOURCE_LENGTH, required=False, allow_blank=True, allow_null=True, trim_whitespace=False,
        help_text="Made from the HTML when empty.",
    )  # fmt: skip
    variables = serializers.ListField(
        child=VariableSerializer(), required=False, allow_null=True, max_length=MOST_VARIABLES
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # "from" is a word of Python's, so it cannot be declared as an attribute.
        sender = MailboxField(
            max_length=1000, required=False, allow_null=True, allow_blank=True, help_text="The From header."
        )
        return {**super().get_fields(), "from": sender}

    def validate_alias(self, value: str | None) -> str:
        if value and (not _ALIAS.fullmatch(value) or _is_uuid(value)):
            raise serializers.ValidationError("Letters, digits, _, . and -, beginning with a letter or digit; no id.")
        return value or ""

    def validate_variables(self, value: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        keys = [variable["key"] for variable in value or []]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise serializers.ValidationError(f"{', '.join(twice)}: declared twice.")
        try:
            check_given({variable["key"]: variable["fallback_value"] for variable in value or []})
        except VariablesError as error:
            raise serializers.ValidationError(f"Fallback values: {error}.") from None
        return value or []

    def changes(self) -> dict[str, Any]:
        """The fields of `relay.templates.TemplateContent` that were given."""
        data: Mapping[str, Any] = self.validated_data
        changes: dict[str, Any] = {part: data[part] or "" for part in ("subject", "html", "text") if part in data}
        if "from" in data:
            changes["sender"] = data["from"] or ""
        if "reply_to" in data:
            changes["reply_to"] = tuple(data["reply_to"] or ())
        if "variables" in data:
            changes["variables"] = tuple(Variable.of(row) for row in data["variables"])
        return changes


class CreateTemplateSerializer(UpdateTemplateSerializer):
    """`POST /api/v1/templates`."""

    name = StrictCharField(max_length=NAME_LENGTH)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not (attrs.get("html") or attrs.get("text")):
            raise serializers.ValidationError({"html": ["Give html, text or both."]})
        return attrs


class TemplateOfEmailSerializer(StrictSerializer):
    """What an email is made from."""

    id = StrictCharField(max_length=60, help_text="Of a published template, or its alias.")
    variables = VariablesField(required=False)


class RenderTemplateSerializer(StrictSerializer):
    """`POST /api/v1/templates/{id}/render`."""

    variables = VariablesField(required=False)
    version = VersionField(required=False, help_text="Without it: the draft, or else what is published.")


class TemplateIdSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(default="template")
    id = serializers.UUIDField()


class DeletedTemplateSerializer(TemplateIdSerializer):
    deleted = serializers.BooleanField()


class ListedTemplateSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    alias = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    published_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class TemplateListSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(default="list")
    has_more = serializers.BooleanField()
    data = ListedTemplateSerializer(many=True)  # type: ignore[assignment]


class DeclaredVariableSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    type = serializers.ChoiceField(choices=TYPES)
    fallback_value = ValueField(allow_null=True)


class ContentSerializer(serializers.Serializer[Any]):
    """What a version says."""

    subject = serializers.CharField(allow_null=True)
    reply_to = serializers.ListField(child=serializers.CharField(), allow_null=True)
    html = serializers.CharField()
    text = serializers.CharField(allow_null=True, help_text="Null: made from the HTML.")
    variables = DeclaredVariableSerializer(many=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "from": serializers.CharField(allow_null=True)}

    @staticmethod
    def shape_content(version: TemplateVersion) -> dict[str, Any]:
        return {
            "from": version.sender or None,
            "subject": version.subject or None,
            "reply_to": version.reply_to or None,
            "html": version.html,
            "text": version.text or None,
            "variables": version.variables,
        }


class TemplateSerializer(ContentSerializer, ListedTemplateSerializer):
    """A template as its newest version has it, which may be a draft beside what is published."""

    object = serializers.CharField(default="template")
    version = serializers.IntegerField(help_text="The newest version's number.")
    current_version_id = serializers.UUIDField(help_text="The newest version's id.")
    has_unpublished_versions = serializers.BooleanField()

    @classmethod
    def shape(cls, found: Found) -> dict[str, Any]:
        return {
            "object": "template",
            **listed(found.template, found.published_at),
            **cls.shape_content(found.newest),
            "version": found.newest.number,
            "current_version_id": found.newest.pk,
            "has_unpublished_versions": found.newest.published_at is None,
        }


class ListedVersionSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    number = serializers.IntegerField()
    status = serializers.ChoiceField(choices=STATUSES)
    created_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField(allow_null=True)


class VersionListSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(default="list")
    has_more = serializers.BooleanField()
    data = ListedVersionSerializer(many=True)  # type: ignore[assignment]


class VersionSerializer(ContentSerializer, ListedVersionSerializer):
    object = serializers.CharField(default="template_version")

    @classmethod
    def shape(cls, version: TemplateVersion) -> dict[str, Any]:
        return {"object": "template_version", **listed_version(version), **cls.shape_content(version)}


class RenderedTemplateSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(default="rendered_template")
    version = serializers.IntegerField()
    subject = serializers.CharField()
    html = serializers.CharField(allow_null=True)
    text = serializers.CharField(allow_null=True)


def listed(template: Template, published_at: Any) -> dict[str, Any]:
    return {
        "id": template.pk,
        "name": template.name,
        "alias": template.alias or None,
        "status": "published" if published_at else "draft",
        "published_at": published_at,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    }


def listed_version(version: TemplateVersion) -> dict[str, Any]:
    return {
        "id": version.pk,
        "number": version.number,
        "status": "published" if version.published_at else "draft",
        "created_at": version.created_at,
        "published_at": version.published_at,
    }


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
