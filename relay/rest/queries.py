"""The query parameters of lists of emails and events, and what they make of `relay.finding.filters`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.credentials import Credential
from accounts.models import ApiKey, Organization
from accounts.rest.fields import MomentField, StrictCharField, StrictSerializer
from accounts.rest.lists import ListQuery
from domains.names import DomainRefused, normalize_domain
from events.models import EventType
from events.reasons import REASONS
from relay.finding.filters import OPEN, MessageFilter, RecipientFilter
from relay.finding.naming import domains_named, smtp_users_named
from relay.finding.search import Sought
from relay.models import RecipientState
from relay.rest.access import visible_domains
from relay.submission.addresses import parse_address
from relay.submission.options import METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH, MOST_TAGS, TAG_WORD

STATES = [(OPEN, "Not final yet"), *RecipientState.choices]
EVENTS_DEFAULT, EVENTS_MOST = 100, 1000


class DomainNameField(serializers.CharField):
    """Becomes the A-label form."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return normalize_domain(super().to_internal_value(data))
        except DomainRefused as refused:
            raise serializers.ValidationError(refused.detail) from None


class RecipientAddressField(serializers.CharField):
    """Becomes the address as the database has it: its domain in A-label form."""

    def to_internal_value(self, data: Any) -> str:
        parsed = parse_address(super().to_internal_value(data))
        if parsed is None:
            raise serializers.ValidationError("Give a whole address, as in bob@example.com.")
        return f"{parsed[0]}@{parsed[1]}"


class RecipientField(RecipientAddressField):
    """A whole address, or `@` and a domain."""

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, str) and data.startswith("@"):
            try:
                return f"@{normalize_domain(data[1:])}"
            except DomainRefused as refused:
                raise serializers.ValidationError(refused.detail) from None
        return super().to_internal_value(data)


class TagsField(serializers.ListField):
    child = serializers.RegexField(
        rf"^{TAG_WORD}(:{TAG_WORD})?$", error_messages={"invalid": "Write name or name:value."}
    )


class OfMessages(StrictSerializer):
    """Which messages; shared by lists of emails and of events."""

    domain = DomainNameField(required=False, help_text="The sending domain.")
    tag = TagsField(
        required=False, max_length=MOST_TAGS, help_text="`name`: with any value; `name:value`. Repeated: all of them."
    )
    since = MomentField(required=False, help_text="From then on, by when it was accepted.")
    until = MomentField(required=False, help_text="Before then.")


class EmailsQuery(OfMessages, ListQuery):
    state = serializers.ChoiceField(
        STATES, required=False, help_text="A recipient is in this state; `open`: in any that is not final."
    )
    reason = serializers.ChoiceField(
        [(reason.code, reason.title) for reason in REASONS.values()],
        required=False,
        help_text="Why a recipient was deferred, bounced or suppressed last.",
    )
    recipient = RecipientField(
        required=False,
        max_length=320,
        help_text="A recipient's whole address, or `@example.com` for all of a domain; case does not matter.",
    )
    exchanger = StrictCharField(
        required=False,
        max_length=253,
        help_text="The mail server that an attempt was made at: its name, a domain that it is below, or its IP address.",
    )
    sender = StrictCharField(
        required=False,
        max_length=320,
        help_text="Of the envelope or the From header: a whole address, `@example.com`, or a part; case does not matter.",
    )
    message_id = StrictCharField(
        required=False, max_length=998, help_text="The Message-ID header, with or without angle brackets."
    )
    subject = StrictCharField(
        required=False, max_length=200, trim_whitespace=False, help_text="A part of the subject; case does not matter."
    )
    metadata = serializers.DictField(
        child=StrictCharField(allow_blank=True, max_length=METADATA_VALUE_LENGTH, trim_whitespace=False),
        required=False,
    )
    smtp_user = StrictCharField(required=False, max_length=320, help_text="The SMTP user's address or id.")
    api_key = serializers.UUIDField(required=False, help_text="The API key's id.")

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            if not key.isprintable() or len(key) > METADATA_KEY_LENGTH:
                raise serializers.ValidationError({key: ["There are no such keys."]})
        return value


class EventsQuery(OfMessages):
    limit = serializers.IntegerField(min_value=1, max_value=EVENTS_MOST, default=EVENTS_DEFAULT)
    after = serializers.UUIDField(required=False, help_text="The `next` of the last answer: go on from there.")
    type = serializers.ListField(
        child=serializers.ChoiceField(EventType.choices), required=False, help_text="Repeated: any of them."
    )


class RecipientsQuery(ListQuery):
    state = serializers.ChoiceField(STATES, required=False)


METADATA_PARAMETER = OpenApiParameter(
    "metadata",
    {"type": "object", "additionalProperties": {"type": "string"}},
    style="deepObject",
    explode=True,
    description="As in `metadata[order]=42`: metadata has this value for this key. Several: all of them.",
)
EMAIL_ID = OpenApiParameter("message_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The email's id.")


def sought_emails(credential: Credential, values: dict[str, Any]) -> Sought:
    """From what `EmailsQuery` read. Raises DRF's ValidationError for what the organization does not have."""
    address = values.get("recipient", "")
    is_whole = bool(address) and not address.startswith("@")
    recipients = RecipientFilter(
        state=values.get("state", ""),
        destination=address.rpartition("@")[2],
        text=address if is_whole else "",
        is_whole=is_whole,
        reason=values.get("reason", ""),
        exchanger=values.get("exchanger", "").lower().rstrip("."),
    )
    return Sought(recipients, wanted_messages(credential, values))


def wanted_messages(credential: Credential, values: dict[str, Any]) -> MessageFilter:
    organization = Organization(pk=credential.organization_id)
    return MessageFilter(
        domain_ids=_domains(credential, organization, values.get("domain")),
        smtp_user_ids=_smtp_users(organization, values.get("smtp_user")),
        api_key_ids=_api_keys(organization, values.get("api_key")),
        sender=values.get("sender", ""),
        subject=values.get("subject", ""),
        message_id=values.get("message_id", "").strip("<>"),
        tags=tuple(values.get("tag", ())),
        metadata=values.get("metadata", {}),
        since=values.get("since"),
        until=values.get("until"),
    )


def _domains(credential: Credential, organization: Organization, name: str | None) -> frozenset[UUID] | None:
    visible = visible_domains(credential)
    if name is None:
        return visible
    found = domains_named(organization, name)
    if visible is not None and not found & visible:
        raise serializers.ValidationError(
            {"domain": [f"This API key sees the emails of {credential.only_domain} only."]}
        )
    return _some(found, "domain", f"Your organization has no domain {name}.")


def _smtp_users(organization: Organization, wanted: str | None) -> frozenset[UUID] | None:
    if wanted is None:
        return None
    found = smtp_users_named(organization, wanted)
    return _some(found, "smtp_user", "Your organization has no such SMTP user.")


def _api_keys(organization: Organization, wanted: UUID | None) -> frozenset[UUID] | None:
    if wanted is None:
        return None
    keys = ApiKey.objects.of(organization).filter(pk=wanted)
    return _some(frozenset(keys.values_list("pk", flat=True)), "api_key", "Your organization has no such API key.")


def _some(found: frozenset[UUID], parameter: str, otherwise: str) -> frozenset[UUID]:
    if not found:
        raise serializers.ValidationError({parameter: [otherwise]})
    return found
