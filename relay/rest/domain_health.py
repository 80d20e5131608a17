"""`/api/v1/domains/{id}/health`."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.rest.access import reading_organization
from accounts.rest.fields import ObjectField
from domains.rest.domains import ID, find_domain
from relay.domain_health import DAYS, MEASURES, MESSAGES_MOST, Level, domain_health
from relay.finding.search import TookTooLong


class MeasureSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=MEASURES)
    count = serializers.IntegerField()
    of = serializers.IntegerField()
    rate = serializers.FloatField(allow_null=True, help_text="count / of; null where there is nothing to count.")
    level = serializers.ChoiceField(choices=get_args(Level), help_text="info: nothing, or too little, to judge by.")
    advice = serializers.CharField()


class SelectorSerializer(serializers.Serializer[Any]):
    selector = serializers.CharField()
    recipients = serializers.IntegerField()


class DmarcSerializer(serializers.Serializer[Any]):
    """The domain's own DMARC record, as last seen (RFC 7489, 6.3)."""

    record = serializers.CharField(help_text="Empty: none was found.")
    policy = serializers.CharField()
    strict_dkim = serializers.BooleanField()
    strict_spf = serializers.BooleanField()


class DomainHealthSerializer(serializers.Serializer[Any]):
    """What became of the mail that was sent from a domain in the last days."""

    object = ObjectField("domain_health")
    id = serializers.UUIDField(help_text="The domain’s.")
    since = serializers.DateTimeField(help_text=f"{DAYS} days ago, or when what was looked at begins.")
    is_sample = serializers.BooleanField(help_text=f"More was sent: only the newest, {MESSAGES_MOST} at most, count.")
    messages = serializers.IntegerField()
    recipients = serializers.IntegerField()
    measures = MeasureSerializer(many=True, help_text="Of recipients. None where nothing was sent.")
    selectors = serializers.ListField(
        child=SelectorSerializer(), help_text="Of the DKIM signatures on what was delivered."
    )
    dmarc = DmarcSerializer()


COMPLAINTS = {
    "code": "complaints",
    "count": 1,
    "of": 4120,
    "rate": 1 / 4120,
    "level": "ok",
    "advice": "People who pressed “spam”. Gmail and Yahoo ask for less than 0.1 %, and never 0.3 %.",
}
HEALTH = {
    "object": "domain_health",
    "id": ID,
    "since": "2026-11-19T08:00:00Z",
    "is_sample": False,
    "messages": 4200,
    "recipients": 4200,
    "measures": [COMPLAINTS],
    "selectors": [{"selector": "ps3f9a-1", "recipients": 4120}, {"selector": "ps3f9a-e1", "recipients": 4120}],
    "dmarc": {"record": "v=DMARC1; p=none", "policy": "none", "strict_dkim": False, "strict_spf": False},
}


class DomainHealthView(APIView):
    @extend_schema(
        operation_id="domains_health",
        responses=DomainHealthSerializer,
        examples=[OpenApiExample("A domain in good health", HEALTH, response_only=True)],
    )
    def get(self, request: Request, domain_id: UUID) -> Response:
        """Get a domain's health. Of what was sent in the last days: deliveries, bounces, complaints, encryption, and the
        alignment of DKIM, SPF and DMARC."""
        domain = find_domain(request, reading_organization(request), domain_id)
        try:
            health = domain_health(domain)
        except TookTooLong:
            raise Refused("temporarily_unavailable") from None
        selectors = [{"selector": selector, "recipients": number} for selector, number in health.selectors]
        told = {
            name: getattr(health, name)
            for name in ("since", "is_sample", "messages", "recipients", "measures", "dmarc")
        }
        return Response(DomainHealthSerializer({"id": domain.pk, "selectors": selectors, **told}).data)
