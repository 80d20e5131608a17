"""A domain's records as a zone file, Terraform or JSON: `/api/v1/domains/{id}/records`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest.access import reading_organization
from accounts.rest.fields import ObjectField, StrictSerializer
from accounts.rest.lists import read_parameters
from accounts.rest.negotiation import JsonOnly, media_ranges
from domains.exports import GENERIC, PROVIDERS, TTL_S, as_data, record_set, terraform, usual_provider, zone_file
from domains.exports_views import TEXT_TYPE, ZONE_TYPE
from domains.models import RecordPurpose
from domains.rest.domains import find_domain


class RecordsQuery(StrictSerializer):
    format = serializers.ChoiceField(choices=["json", "zone", "terraform"], default="json")
    provider = serializers.ChoiceField(
        choices=list(PROVIDERS),
        required=False,
        help_text=f"Of Terraform. Without it the one of the domain's DNS host, or {GENERIC}: a map for any provider.",
    )


class ExportedRecordSerializer(serializers.Serializer[Any]):
    """A DNS record to publish."""

    type = serializers.CharField(help_text="TXT or CNAME.")
    name = serializers.CharField(help_text="Relative to the zone; @ is the zone itself.")
    fqdn = serializers.CharField(help_text="The whole name.")
    value = serializers.CharField(help_text="A TXT's text, whole and unquoted; a CNAME's target without the final dot.")
    strings = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="A TXT's value in parts of at most 255 octets."
    )
    ttl = serializers.IntegerField(help_text="Seconds.")
    purpose = serializers.ChoiceField(choices=RecordPurpose.choices)
    required = serializers.BooleanField()  # type: ignore[assignment]  # a field of that name, no attribute
    note = serializers.CharField(help_text="What it is for, in one line.")


class ExportedRecordsSerializer(serializers.Serializer[Any]):
    """The records that a domain needs."""

    object = ObjectField("dns_records")
    domain = serializers.CharField(help_text="In A-label form.")
    zone = serializers.CharField(help_text="The zone that holds the domain; it may be the domain itself.")
    records = ExportedRecordSerializer(many=True)


class _AsText(JsonOnly):
    """Takes those who accept text too: which form it is to be, the query says."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        if media_ranges(request.META.get("HTTP_ACCEPT", "")) & {"text/*", "text/dns", "text/plain"}:
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)


EXAMPLE = {
    "object": "dns_records",
    "domain": "mail.example.com",
    "zone": "example.com",
    "records": [
        {
            "type": "CNAME",
            "name": "psrp.mail",
            "fqdn": "psrp.mail.example.com",
            "value": "returns.plugsend.example",
            "strings": None,
            "ttl": TTL_S,
            "purpose": "return_path",
            "required": True,
            "note": "Return path: bounces come back to us, and SPF passes (required)",
        }
    ],
}
ZONE_EXAMPLE = """; DNS records of mail.example.com for PlugSend, to be added to the zone example.com
$ORIGIN example.com.
$TTL 3600

; Return path: bounces come back to us, and SPF passes (required)
psrp.mail IN CNAME returns.plugsend.example.
"""


class DomainRecordsView(APIView):
    content_negotiation_class = _AsText

    @extend_schema(
        operation_id="domains_records",
        parameters=[RecordsQuery],
        responses={
            (200, "application/json"): ExportedRecordsSerializer,
            (200, "text/dns"): OpenApiTypes.STR,
            (200, "text/plain"): OpenApiTypes.STR,
        },
        examples=[
            OpenApiExample("JSON", EXAMPLE, response_only=True, media_type="application/json"),
            OpenApiExample("A zone file", ZONE_EXAMPLE, response_only=True, media_type="text/dns"),
        ],
    )
    def get(self, request: Request, domain_id: UUID) -> Response | HttpResponse:
        """Export a domain's records. As JSON, as a zone file (`text/dns`), or as Terraform (`text/plain`)."""
        domain = find_domain(request, reading_organization(request), domain_id)
        asked = read_parameters(request, RecordsQuery)
        records = record_set(domain, domain.records.all())
        if asked["format"] == "zone":
            return HttpResponse(zone_file(records), content_type=ZONE_TYPE)
        if asked["format"] == "terraform":
            provider = asked.get("provider") or usual_provider(domain.dns_host)
            return HttpResponse(terraform(records, provider), content_type=TEXT_TYPE)
        return Response(as_data(records))
