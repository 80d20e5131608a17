"""The wire shapes of domains, SMTP users and API keys: Resend's names where the two overlap."""

from __future__ import annotations

from typing import Any, Literal, get_args

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import ApiKey, Organization, OutgoingTls, Scope
from accounts.rest.fields import (
    FixedField,
    ObjectField,
    SameIdField,
    StrictCharField,
    StrictSerializer,
    StrictUUIDField,
)
from accounts.rest.lists import ListQuery
from domains.models import DnsRecord, RecordPurpose, RecordStatus, SendingDomain, SmtpUser
from domains.names import registrable_part
from domains.spf_serializers import SpfSerializer

# ---- Domains ---------------------------------------------------------------------------------------------------------

NO_TRACKING = "PlugSend does not track opens and clicks: leave it out, or give false."


class CapabilitiesSerializer(StrictSerializer):
    sending = FixedField("enabled", "A domain here is for sending: leave it out, or give “enabled”.")
    receiving = FixedField("disabled", "PlugSend receives no mail for you: leave it out, or give “disabled”.")


class DomainSettingsSerializer(StrictSerializer):
    """What Resend lets one set of a domain. Here nothing of it can be changed: values that say what is so are taken."""

    open_tracking = FixedField(False, NO_TRACKING)
    click_tracking = FixedField(False, NO_TRACKING)
    tls = serializers.ChoiceField(
        choices=["opportunistic", "enforced"], required=False, help_text="As it is set for the organization."
    )
    capabilities = CapabilitiesSerializer(required=False)

    def __init__(self, organization: Organization | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.organization = organization

    def validate_tls(self, value: str) -> str:
        assert self.organization is not None
        wish = Organization.objects.values_list("outgoing_tls", flat=True).get(pk=self.organization.pk)
        current = "opportunistic" if wish == OutgoingTls.OPPORTUNISTIC else "enforced"
        if value != current:
            raise serializers.ValidationError(
                f"Encryption is set for the whole organization, on the page Settings; it is “{current}” now."
            )
        return value


class UpdateDomainSerializer(DomainSettingsSerializer):
    """`PATCH /api/v1/domains/{id}`."""

    id = SameIdField()


class CreateDomainSerializer(DomainSettingsSerializer):
    """`POST /api/v1/domains`."""

    name = StrictCharField(max_length=1000, allow_blank=True, help_text="U-labels and upper case are fine.")


# As Resend calls them.
_RECORD = {
    RecordPurpose.OWNERSHIP: "Ownership",
    RecordPurpose.DKIM: "DKIM",
    RecordPurpose.DKIM_NEXT: "DKIM",
    RecordPurpose.DKIM_OLD: "DKIM",
    RecordPurpose.DKIM_ED25519: "DKIM",
    RecordPurpose.RETURN_PATH: "SPF",
    RecordPurpose.DMARC: "DMARC",
}
DomainWord = Literal["not_started", "pending", "verified", "failed"]
RecordWord = Literal["not_started", "pending", "verified", "failed", "temporary_failure"]
DOMAIN_WORDS, RECORD_WORDS = get_args(DomainWord), get_args(RecordWord)  # by which the OpenAPI document names the two
_RECORD_STATUS: dict[RecordStatus, RecordWord] = {
    RecordStatus.UNCHECKED: "not_started",
    RecordStatus.FOUND: "verified",
    RecordStatus.MISSING: "pending",
    RecordStatus.DIFFERENT: "failed",
    RecordStatus.PROPAGATING: "pending",
    RecordStatus.UNREACHABLE: "temporary_failure",
}


class RecordSerializer(serializers.Serializer[Any]):
    """A DNS record to publish, and what DNS said when last asked."""

    record = serializers.SerializerMethodField(help_text="Ownership, DKIM, SPF (the return path) or DMARC.")
    name = serializers.SerializerMethodField(help_text="Below the registered domain, as most DNS forms want it.")
    type = serializers.CharField()
    ttl = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField(
        help_text="pending: it is missing yet; failed: it differs; temporary_failure: DNS did not answer."
    )
    value = serializers.CharField(help_text="What is expected.")
    fqdn = serializers.CharField(source="name", help_text="The whole name.")
    purpose = serializers.ChoiceField(choices=RecordPurpose.choices)
    required = serializers.BooleanField()  # type: ignore[assignment]  # a field of that name, no attribute
    found = serializers.ListField(child=serializers.CharField(), help_text="What DNS holds.")
    explanation = serializers.CharField(help_text="What is wrong, and what to do; empty when all is well.")
    checked_at = serializers.DateTimeField(allow_null=True)

    def get_record(self, record: DnsRecord) -> str:
        return _RECORD[RecordPurpose(record.purpose)]

    def get_name(self, record: DnsRecord) -> str:
        return record.name.removesuffix(f".{registrable_part(record.domain.name)}")

    def get_ttl(self, record: DnsRecord) -> str:
        return "Auto"

    def get_status(self, record: DnsRecord) -> RecordWord:
        if record.status == RecordStatus.MISSING and not record.required:
            return "not_started"  # nobody has to publish it
        return _RECORD_STATUS[RecordStatus(record.status)]


class DomainNameSerializer(serializers.Serializer[Any]):
    object = ObjectField("domain")
    id = serializers.UUIDField()


class CheckedDomainSerializer(DomainNameSerializer):
    """What DNS said when last asked."""

    status = serializers.SerializerMethodField(
        help_text="failed: all records are there, but another organization holds the domain."
    )

    def get_status(self, domain: SendingDomain) -> DomainWord:
        if domain.is_verified:
            return "verified"
        if domain.checked_at is None:
            return "not_started"
        required = [record for record in domain.records.all() if record.required]
        return "failed" if all(record.status == RecordStatus.FOUND for record in required) else "pending"


class DomainFactsSerializer(CheckedDomainSerializer):
    """A domain as lists show it."""

    name = serializers.CharField(help_text="In A-label form.")
    created_at = serializers.DateTimeField()
    region = serializers.SerializerMethodField(help_text="Always null: there are no regions.")
    capabilities = serializers.SerializerMethodField()
    open_tracking = serializers.SerializerMethodField()
    click_tracking = serializers.SerializerMethodField()
    display_name = serializers.CharField(help_text="With the letters of its own script.")
    verified_at = serializers.DateTimeField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    next_check_at = serializers.DateTimeField(allow_null=True)

    def get_region(self, domain: SendingDomain) -> str | None:
        return None

    @extend_schema_field(CapabilitiesSerializer)
    def get_capabilities(self, domain: SendingDomain) -> dict[str, str]:
        return {"sending": "enabled", "receiving": "disabled"}

    def get_open_tracking(self, domain: SendingDomain) -> bool:
        return False

    def get_click_tracking(self, domain: SendingDomain) -> bool:
        return False


class DomainSerializer(DomainFactsSerializer):
    """A domain with the DNS records that prove it."""

    records = RecordSerializer(many=True, source="records.all")
    spf = SpfSerializer(allow_null=True, help_text="Null: not read yet.")


class DeletedDomainSerializer(DomainNameSerializer):
    deleted = serializers.BooleanField(default=True)


# ---- SMTP users ------------------------------------------------------------------------------------------------------


class CreateSmtpUserSerializer(StrictSerializer):
    """`POST /api/v1/smtp-users`."""

    address = StrictCharField(max_length=1000, help_text="The user name: an address on a verified domain.")


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
    last_used_at = serializers.DateTimeField(source="api_key.last_used_at", allow_null=True)
    disabled_at = serializers.DateTimeField(allow_null=True)

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


# ---- API keys --------------------------------------------------------------------------------------------------------

PERMISSIONS = {"full_access": Scope.FULL, "sending_access": Scope.SEND}


class RenameApiKeySerializer(StrictSerializer):
    name = StrictCharField(max_length=120)


class CreateApiKeySerializer(RenameApiKeySerializer):
    """`POST /api/v1/api-keys`. Without `permission` and `scopes` the key may do everything, as with Resend."""

    permission = serializers.ChoiceField(choices=list(PERMISSIONS), required=False, help_text="Resend's two words.")
    domain_id = StrictUUIDField(required=False, help_text="The key is for this domain only.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices),
        required=False,
        min_length=1,
        help_text="Finer than permission.",
    )
    domain = StrictCharField(required=False, max_length=1000, help_text="As domain_id, by name.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for one, other in (("permission", "scopes"), ("domain_id", "domain")):
            if one in attrs and other in attrs:
                raise serializers.ValidationError({other: [f"Give {one} or {other}, not both."]})
        return attrs

    def scopes_asked(self) -> list[str]:
        data = self.validated_data
        scopes = data.get("scopes") or [PERMISSIONS[data.get("permission", "full_access")]]
        return [Scope.FULL.value] if Scope.FULL in scopes else sorted(set(scopes))  # it contains the others


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
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")
    prefix = serializers.CharField(help_text="The key's visible beginning.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    domain = serializers.SerializerMethodField(help_text="The only domain that the key is for; null: all.")

    def get_domain(self, api_key: ApiKey) -> str | None:
        return api_key.only_domain or None


class NewApiKeySerializer(ApiKeySerializer):
    """With the key itself: shown this once."""

    token = serializers.SerializerMethodField(help_text="Shown this once.")

    def get_token(self, api_key: ApiKey) -> str:
        return str(self.context["secret"])


class DeletedApiKeySerializer(ApiKeyIsCurrentSerializer):
    """`is_current`: further requests with the key that made this one are refused."""

    deleted = serializers.BooleanField(default=True)
