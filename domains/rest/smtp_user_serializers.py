"""The wire shapes of SMTP users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import ApiKey
from accounts.rest.fields import (
    ObjectField,
    StrictCharField,
    StrictSerializer,
    WholeNumberField,
)
from accounts.rest.lists import ListQuery
from domains.cidr import MOST_NETWORKS, read_networks
from domains.models import (
    SmtpUser,
)
from domains.rest.stream_field import StreamField
from domains.smtp_users import MOST_MESSAGES, Limits


class NetworksField(serializers.ListField):
    """Addresses and networks, as CIDR; they are read by `read_networks`."""

    child = StrictCharField(max_length=100, allow_blank=True)

    def __init__(self) -> None:
        super().__init__(
            max_length=MOST_NETWORKS,
            required=False,
            help_text="Addresses and networks (CIDR) that it may be used from; empty: from anywhere.",
        )


class ChangeSmtpUserSerializer(StrictSerializer):
    """`PATCH /api/v1/smtp-users/{id}`. What is left out stays as it is."""

    hourly_limit = WholeNumberField(
        min_value=1,
        max_value=MOST_MESSAGES,
        allow_null=True,
        required=False,
        help_text="Messages an hour; null: no limit.",
    )
    daily_limit = WholeNumberField(
        min_value=1,
        max_value=MOST_MESSAGES,
        allow_null=True,
        required=False,
        help_text="Messages a day (UTC); null: no limit.",
    )
    allowed_networks = NetworksField()
    stream = StreamField(
        required=False,
        allow_blank=True,
        help_text="Of its mail that names none: recipients can unsubscribe from it by one click. Empty: none.",
    )

    def limits(self) -> Limits:
        """Raises `Refused`."""
        data = self.validated_data
        limits = cast(Limits, {name: data[name] for name in Limits.__annotations__ if name in data})
        if "allowed_networks" in limits:
            limits["allowed_networks"] = read_networks(limits["allowed_networks"], at="/allowed_networks")
        return limits


class CreateSmtpUserSerializer(ChangeSmtpUserSerializer):
    """`POST /api/v1/smtp-users`."""

    address = StrictCharField(max_length=1000, help_text="The user name: an address on a verified domain.")


class AddSmtpUserKeySerializer(StrictSerializer):
    """`POST /api/v1/smtp-users/{id}/keys`."""

    name = StrictCharField(max_length=120, required=False, help_text="Where it is used, say.")


class KeepOldSerializer(AddSmtpUserKeySerializer):
    keep_old_hours = WholeNumberField(
        min_value=0,
        max_value=168,
        required=False,
        default=0,
        help_text="For so many hours what there is works beside the new key; 0: it stops at once.",
    )

    def keep_old(self) -> timedelta:
        return timedelta(hours=self.validated_data["keep_old_hours"])


class ReplacePasswordSerializer(KeepOldSerializer):
    """`POST /api/v1/smtp-users/{id}/password`."""


class SmtpUserListQuery(ListQuery):
    domain = serializers.CharField(required=False, max_length=1000, help_text="Only those of this domain.")


class ServerSerializer(serializers.Serializer[Any]):
    host = serializers.CharField()
    port = serializers.IntegerField(help_text="STARTTLS is required before signing in.")
    tls_port = serializers.IntegerField(help_text="TLS from the first octet (RFC 8314).")


class SmtpUserSerializer(serializers.Serializer[Any]):
    object = ObjectField("smtp_user")
    id = serializers.UUIDField()
    address = serializers.CharField(help_text="The user name to sign in with.")
    domain = serializers.CharField(source="domain.name")
    domain_id = serializers.UUIDField()
    server = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(
        source="last_used_key.last_used_at",
        default=None,
        allow_null=True,
        help_text="To the minute; signing in counts.",
    )
    last_used_from = serializers.IPAddressField(source="last_used_key.last_used_from", default=None, allow_null=True)
    disabled_at = serializers.DateTimeField(allow_null=True, help_text="While it is set, all its keys are refused.")
    hourly_limit = serializers.IntegerField(allow_null=True, help_text="Messages an hour; null: no limit.")
    daily_limit = serializers.IntegerField(allow_null=True, help_text="Messages a day (UTC); null: no limit.")
    allowed_networks = serializers.ListField(
        child=serializers.CharField(), help_text="From where it may be used (CIDR); empty: from anywhere."
    )
    stream = serializers.CharField(help_text="Of its mail that names none; empty: none.")

    @extend_schema_field(ServerSerializer)
    def get_server(self, smtp_user: SmtpUser) -> dict[str, Any]:
        return {"host": settings.SMTP_PUBLIC_HOST, "port": settings.SMTP_PORT, "tls_port": settings.SMTPS_PORT}


class NewSmtpUserSerializer(SmtpUserSerializer):
    """With the password, which is an API key: shown this once."""

    password = serializers.SerializerMethodField(help_text="Shown this once.")

    def get_password(self, smtp_user: SmtpUser) -> str:
        return str(self.context["secret"])


class DeletedSmtpUserSerializer(serializers.Serializer[Any]):
    object = ObjectField("smtp_user")
    id = serializers.UUIDField()
    deleted = serializers.BooleanField(default=True)


class SmtpUserKeySerializer(serializers.Serializer[Any]):
    """One of an SMTP user's passwords."""

    object = ObjectField("smtp_user_key")
    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The key's visible beginning.")
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute; signing in counts.")
    last_used_from = serializers.IPAddressField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="A key that was replaced works so long.")


class NewSmtpUserKeySerializer(SmtpUserKeySerializer):
    """With the key itself: shown this once."""

    password = serializers.SerializerMethodField(help_text="Shown this once.")

    def get_password(self, api_key: ApiKey) -> str:
        return str(self.context["secret"])


class DeletedSmtpUserKeySerializer(serializers.Serializer[Any]):
    object = ObjectField("smtp_user_key")
    id = serializers.UUIDField()
    deleted = serializers.BooleanField(default=True)
