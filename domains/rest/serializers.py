"""The wire shapes of domains: Resend's names where the two overlap."""

from __future__ import annotations

from typing import Any, Literal, get_args

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Organization, OutgoingTls
from accounts.rest.fields import (
    FixedField,
    ObjectField,
    SameIdField,
    StrictCharField,
    StrictSerializer,
)
from domains.dkim.rotation import ROTATION_DAYS
from domains.models import (
    DkimAlgorithm,
    DkimKeyState,
    DnsRecord,
    DomainStatus,
    RecordPurpose,
    RecordStatus,
    SendingDomain,
)
from domains.names import registrable_part
from domains.spf.serializers import SpfSerializer

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
        wish = Organization.objects.of(self.organization).values_list("outgoing_tls", flat=True).get()
        current = "opportunistic" if wish == OutgoingTls.OPPORTUNISTIC else "enforced"
        if value != current:
            raise serializers.ValidationError(
                f"Encryption is set for the whole organization, on the page Settings; it is “{current}” now."
            )
        return value


class RotationDaysField(serializers.ChoiceField):
    """JSON integers only: DRF would take text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=ROTATION_DAYS, allow_null=True, required=False, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not int or data not in ROTATION_DAYS:
            days = ", ".join(str(days) for days in ROTATION_DAYS)
            raise serializers.ValidationError(f"Must be one of {days}, or null for only by hand.")
        return data


class UpdateDomainSerializer(DomainSettingsSerializer):
    """`PATCH /api/v1/domains/{id}`."""

    id = SameIdField()
    allow_subdomains = serializers.BooleanField(
        required=False, help_text="Whether names below the domain may send as it."
    )
    dkim_rotation_days = RotationDaysField(
        help_text="The DKIM key is replaced when it is so many days old. null: only by hand."
    )


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
    found = serializers.ListField(
        child=serializers.CharField(),
        help_text="What DNS holds. Long values and long lists are cut and say how much is left.",
    )
    diagnosis = serializers.CharField(
        help_text="What is wrong, in one stable word of docs/domain-diagnoses.md; empty when all is well."
    )
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
        help_text="failed: its records were lost for too long, or another organization has proved that the domain is its."
    )

    def get_status(self, domain: SendingDomain) -> DomainWord:
        if domain.is_verified:
            return "verified"
        if domain.checked_at is None:
            return "not_started"
        return "failed" if domain.status in {DomainStatus.STOPPED, DomainStatus.TAKEN_OVER} else "pending"


class DomainFactsSerializer(CheckedDomainSerializer):
    """A domain as lists show it."""

    name = serializers.CharField(help_text="In A-label form.")
    created_at = serializers.DateTimeField()
    region = serializers.SerializerMethodField(help_text="Always null: there are no regions.")
    capabilities = serializers.SerializerMethodField()
    open_tracking = serializers.SerializerMethodField()
    click_tracking = serializers.SerializerMethodField()
    display_name = serializers.CharField(help_text="With the letters of its own script.")
    allow_subdomains = serializers.BooleanField(help_text="Mail from names below it may be sent, signed as it.")
    verified_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when a required record is missing or different although it was there."
    )
    checked_at = serializers.DateTimeField(allow_null=True)
    next_check_at = serializers.DateTimeField(allow_null=True)
    dns_host = serializers.CharField(
        help_text="Whose name servers the domain has, such as cloudflare, or unknown; empty before the first check."
    )
    zone_diagnosis = serializers.CharField(
        help_text="What is wrong with the DNS zone that the domain is in, in one stable word; empty when all is well."
    )
    zone_explanation = serializers.CharField(help_text="What is wrong with the zone, and what to do.")

    def get_region(self, domain: SendingDomain) -> str | None:
        return None

    @extend_schema_field(CapabilitiesSerializer)
    def get_capabilities(self, domain: SendingDomain) -> dict[str, str]:
        return {"sending": "enabled", "receiving": "disabled"}

    def get_open_tracking(self, domain: SendingDomain) -> bool:
        return False

    def get_click_tracking(self, domain: SendingDomain) -> bool:
        return False


class DkimKeySerializer(serializers.Serializer[Any]):
    """A key's private part is never shown. Its record is among the domain's."""

    selector = serializers.CharField()
    algorithm = serializers.ChoiceField(choices=DkimAlgorithm.choices)
    state = serializers.ChoiceField(
        choices=DkimKeyState.choices,
        help_text="active: it signs; waiting: the next one; retiring: replaced, its record must stay until retire_after; "
        "retired: its record may be removed.",
    )
    created_at = serializers.DateTimeField()
    activated_at = serializers.DateTimeField(allow_null=True, help_text="When it began to sign.")
    seen_at = serializers.DateTimeField(allow_null=True, help_text="When its record was last found.")
    retire_after = serializers.DateTimeField(allow_null=True)


class DkimSerializer(serializers.Serializer[Any]):
    """The keys that sign, and their rotation."""

    keys = serializers.SerializerMethodField(help_text="The newest first.")
    rotation_days = serializers.IntegerField(
        source="dkim_rotation_days", allow_null=True, help_text="After so many days the key is replaced by itself."
    )
    rotation_pending = serializers.SerializerMethodField(
        help_text="The waiting key takes over as soon as its record is seen everywhere."
    )

    @extend_schema_field(DkimKeySerializer(many=True))
    def get_keys(self, domain: SendingDomain) -> Any:
        return DkimKeySerializer(domain.dkim_keys.order_by("-created_at", "-id"), many=True).data

    def get_rotation_pending(self, domain: SendingDomain) -> bool:
        return domain.dkim_rotation_requested_at is not None


class DkimAnswerSerializer(DomainNameSerializer):
    dkim = DkimSerializer(source="*")


class DomainSerializer(DomainFactsSerializer):
    """A domain with the DNS records that prove it, and its DKIM keys."""

    records = RecordSerializer(many=True, source="records.all")
    dkim = DkimSerializer(source="*")
    spf = SpfSerializer(allow_null=True, help_text="Null: not read yet.")


class DeletedDomainSerializer(DomainNameSerializer):
    deleted = serializers.BooleanField(default=True)
