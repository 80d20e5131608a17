"""The wire shapes of API keys: Resend's names where the two overlap."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api_keys import reduced
from accounts.models import ApiKey, Scope
from accounts.rest.fields import (
    MomentField,
    ObjectField,
    StrictCharField,
    StrictSerializer,
    StrictUUIDField,
)
from domains.cidr import read_networks
from domains.rest.smtp_user_serializers import KeepOldSerializer, NetworksField

PERMISSIONS = {"full_access": Scope.FULL, "sending_access": Scope.SEND}


class UpdateApiKeySerializer(StrictSerializer):
    """`PATCH /api/v1/api-keys/{id}`. What is left out stays as it is."""

    name = StrictCharField(max_length=120, required=False)
    allowed_networks = NetworksField()

    def networks(self) -> list[str] | None:
        """None where it is left out. Raises `Refused`."""
        typed = self.validated_data.get("allowed_networks")
        return None if typed is None else read_networks(typed, at="/allowed_networks")


class CreateApiKeySerializer(UpdateApiKeySerializer):
    """`POST /api/v1/api-keys`. Without `permission` and `scopes` the key may do everything, as with Resend."""

    name = StrictCharField(max_length=120)
    permission = serializers.ChoiceField(choices=list(PERMISSIONS), required=False, help_text="Resend's two words.")
    domain_id = StrictUUIDField(required=False, help_text="The key is for this domain only.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices),
        required=False,
        min_length=1,
        help_text="Finer than permission.",
    )
    domain = StrictCharField(required=False, max_length=1000, help_text="As domain_id, by name.")
    expires_at = MomentField(
        required=False, allow_null=True, help_text="It works until then; null: until it is revoked."
    )

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This time is over.")
        return moment

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for one, other in (("permission", "scopes"), ("domain_id", "domain")):
            if one in attrs and other in attrs:
                raise serializers.ValidationError({other: [f"Give {one} or {other}, not both."]})
        return attrs

    def scopes_asked(self) -> list[str]:
        data = self.validated_data
        return reduced(data.get("scopes") or [PERMISSIONS[data.get("permission", "full_access")]])


class RotateApiKeySerializer(KeepOldSerializer):
    """`POST /api/v1/api-keys/{id}/rotate`."""

    name = StrictCharField(max_length=120, required=False, help_text="Of the new key; left out: that of the old one.")


class RevokeApiKeyQuery(StrictSerializer):
    reason = serializers.CharField(required=False, max_length=200, help_text="Why, for those who wonder later.")


class ApiKeyNameSerializer(serializers.Serializer[Any]):
    object = ObjectField("api_key")
    id = serializers.UUIDField()


class ApiKeyIsCurrentSerializer(ApiKeyNameSerializer):
    is_current = serializers.SerializerMethodField(help_text="Whether this request was made with it.")

    def get_is_current(self, api_key: ApiKey) -> bool:
        return bool(api_key.pk == self.context["credential"].api_key_id)


class ApiKeySerializer(ApiKeyIsCurrentSerializer):
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.SerializerMethodField(
        help_text="Who made it: a member's address, or the visible beginning of the API key of a program; null: nobody of now."
    )
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")
    last_used_from = serializers.IPAddressField(allow_null=True)
    prefix = serializers.CharField(help_text="The key's visible beginning.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    domain = serializers.SerializerMethodField(help_text="The only domain that the key is for; null: all.")
    allowed_networks = serializers.ListField(
        child=serializers.CharField(), help_text="From where it may be used (CIDR); empty: from anywhere."
    )
    expires_at = serializers.DateTimeField(allow_null=True, help_text="It works until then; null: until it is revoked.")
    replaced_by = serializers.UUIDField(
        source="replaced_by_id", allow_null=True, help_text="The key that a rotation has put beside it."
    )

    def get_domain(self, api_key: ApiKey) -> str | None:
        return api_key.only_domain or None

    def get_created_by(self, api_key: ApiKey) -> str | None:
        if api_key.created_by:
            return api_key.created_by.email
        return api_key.created_with.prefix if api_key.created_with else None


class NewApiKeySerializer(ApiKeySerializer):
    """With the key itself: shown this once."""

    token = serializers.SerializerMethodField(help_text="Shown this once.")

    def get_token(self, api_key: ApiKey) -> str:
        return str(self.context["secret"])


class ReplacedApiKeySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    ends_at = serializers.SerializerMethodField(help_text="When it stops, or stopped.")

    def get_ends_at(self, api_key: ApiKey) -> datetime:
        moment = api_key.revoked_at or api_key.expires_at
        assert moment
        return moment


class RotatedApiKeySerializer(NewApiKeySerializer):
    """The new key, and what became of the old one."""

    replaces = serializers.SerializerMethodField()

    @extend_schema_field(ReplacedApiKeySerializer)
    def get_replaces(self, api_key: ApiKey) -> Any:
        return ReplacedApiKeySerializer(self.context["replaces"]).data


class DeletedApiKeySerializer(ApiKeyIsCurrentSerializer):
    """`is_current`: further requests with the key that made this one are refused."""

    deleted = serializers.BooleanField(default=True)
