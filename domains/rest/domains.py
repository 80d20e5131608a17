"""Sending domains over REST: `/api/v1/domains`."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.models import Organization
from accounts.rest.access import check_domain, credential_of, managing_organization, reading_organization
from accounts.rest.fields import at_field
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from accounts.rest.openapi import may_refuse
from accounts.scoping import OrganizationQuerySet
from domains import looking, services
from domains.dkim import requests as dkim_requests
from domains.models import SendingDomain
from domains.names import normalize_domain
from domains.rest.serializers import (
    CheckedDomainSerializer,
    CreateDomainSerializer,
    DeletedDomainSerializer,
    DomainFactsSerializer,
    DomainNameSerializer,
    DomainSerializer,
    UpdateDomainSerializer,
)

ID = "0199c6a1-7c00-7d3e-9b1c-5a2f3e4d5c6b"
FACTS = {
    "object": "domain",
    "id": ID,
    "status": "pending",
    "name": "example.com",
    "created_at": "2026-11-26T08:00:00Z",
    "region": None,
    "capabilities": {"sending": "enabled", "receiving": "disabled"},
    "open_tracking": False,
    "click_tracking": False,
    "display_name": "example.com",
    "allow_subdomains": False,
    "verified_at": None,
    "failing_since": None,
    "checked_at": "2026-11-26T08:01:00Z",
    "next_check_at": "2026-11-26T08:01:15Z",
    "dns_host": "cloudflare",
    "zone_diagnosis": "",
    "zone_explanation": "",
}
RECORD = {
    "record": "SPF",
    "name": "psrp",
    "type": "CNAME",
    "ttl": "Auto",
    "status": "failed",
    "value": "returns.plugsend.example",
    "fqdn": "psrp.example.com",
    "purpose": "return_path",
    "required": True,
    "found": ["elsewhere.example"],
    "diagnosis": "other_target",
    "explanation": "The CNAME points to elsewhere.example. Point it to returns.plugsend.example: edit the record “psrp” at "
    "Cloudflare.",
    "checked_at": "2026-11-26T08:01:00Z",
}
DKIM = {
    "keys": [
        {
            "selector": "ps3f9a-1",
            "algorithm": "rsa-sha256",
            "state": "active",
            "created_at": "2026-11-26T08:00:00Z",
            "activated_at": "2026-11-26T08:00:00Z",
            "seen_at": None,
            "retire_after": None,
        }
    ],
    "rotation_days": None,
    "rotation_pending": False,
}
SPF = {
    "record": "v=spf1 include:_spf.mail.example ~all",
    "lookups": 1,
    "void_lookups": 0,
    "findings": [
        {
            "code": "fine",
            "level": "ok",
            "text": "Receivers can use this record. It takes 1 of the 10 DNS lookups that they make.",
        }
    ],
    "tree": [
        {
            "term": "include:_spf.mail.example",
            "domain": "_spf.mail.example",
            "number": 1,
            "lookups": 1,
            "record": "v=spf1 ip4:192.0.2.0/24 -all",
            "problem": "",
            "inside": [],
        }
    ],
    "checked_at": "2026-11-26T08:01:00Z",
}
DOMAIN = OpenApiExample(
    "A domain that waits for DNS", FACTS | {"records": [RECORD], "dkim": DKIM, "spf": SPF}, response_only=True
)


class DomainsView(APIView):
    @extend_schema(
        operation_id="domains_list",
        parameters=[ListQuery],
        responses=list_of(DomainFactsSerializer),
        examples=[OpenApiExample("Domains", list_answer([FACTS], has_more=False), response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List sending domains. The newest first."""
        domains = visible_domains(request, reading_organization(request)).prefetch_related("records")
        page, _ = read_query(request)
        rows, has_more = page.cut(domains)
        return Response(list_answer(DomainFactsSerializer(rows, many=True).data, has_more=has_more))

    @extend_schema(
        operation_id="domains_create",
        request=CreateDomainSerializer,
        responses={201: DomainSerializer},
        examples=[OpenApiExample("A domain", {"name": "example.com"}, request_only=True), DOMAIN],
    )
    @may_refuse("quota_domains_reached")
    @idempotent("domains.create")
    def post(self, request: Request) -> Response:
        """Add a sending domain. The answer lists the DNS records to publish."""
        organization = managing_organization(request)
        serializer = CreateDomainSerializer(organization, data=request.data)
        serializer.is_valid(raise_exception=True)
        with at_field("name"):
            name = normalize_domain(serializer.validated_data["name"])
            check_domain(request, name)
            domain = services.add_domain(Organization.objects.of(organization).get(), name, by=actor_of(request))
        return Response(DomainSerializer(domain).data, status=201)


class DomainView(APIView):
    @extend_schema(operation_id="domains_get", responses=DomainSerializer, examples=[DOMAIN])
    def get(self, request: Request, domain_id: UUID) -> Response:
        """Get a domain. With its DNS records: what is expected, what DNS holds, and what to do."""
        return Response(DomainSerializer(find_domain(request, reading_organization(request), domain_id)).data)

    @extend_schema(
        operation_id="domains_update",
        request=UpdateDomainSerializer,
        responses={200: DomainNameSerializer},
        examples=[
            OpenApiExample("Subdomains may send", {"allow_subdomains": True}, request_only=True),
            OpenApiExample("A new DKIM key every 90 days", {"dkim_rotation_days": 90}, request_only=True),
            OpenApiExample("Taken", {"object": "domain", "id": ID}, response_only=True),
        ],
    )
    def patch(self, request: Request, domain_id: UUID) -> Response:
        """Update a domain. Of Resend's settings it takes those that say what is so anyway, and refuses the others by name."""
        organization = managing_organization(request)
        domain = find_domain(request, organization, domain_id)
        serializer = UpdateDomainSerializer(organization, data=request.data, context={"id": domain_id})
        serializer.is_valid(raise_exception=True)
        if "allow_subdomains" in serializer.validated_data:
            services.allow_subdomains(domain, serializer.validated_data["allow_subdomains"], by=actor_of(request))
        if "dkim_rotation_days" in serializer.validated_data:
            days = serializer.validated_data["dkim_rotation_days"]
            dkim_requests.schedule_rotation(domain, days, by=actor_of(request))
        return Response(DomainNameSerializer(domain).data)

    @extend_schema(
        operation_id="domains_delete",
        responses={200: DeletedDomainSerializer},
        examples=[OpenApiExample("Deleted", {"object": "domain", "id": ID, "deleted": True}, response_only=True)],
    )
    def delete(self, request: Request, domain_id: UUID) -> Response:
        """Remove a domain with its SMTP users. Their passwords stop working at once."""
        domain = find_domain(request, managing_organization(request), domain_id)
        if not services.remove_domain(domain, by=actor_of(request)):
            raise Refused("not_found", thing="domain")
        return Response(DeletedDomainSerializer(domain).data)


class VerifyDomainView(APIView):
    @extend_schema(
        operation_id="domains_verify",
        request=None,
        responses={200: CheckedDomainSerializer},
        examples=[OpenApiExample("Checked", {"object": "domain", "id": ID, "status": "verified"}, response_only=True)],
    )
    def post(self, request: Request, domain_id: UUID) -> Response:
        """Verify a domain. Asks DNS for its records now. Answers when DNS has (some seconds at most).

        One look at a domain is made at a time, for all who ask. Domains are looked at by themselves too: `next_check_at` says
        when.
        """
        organization = managing_organization(request)
        domain = find_domain(request, organization, domain_id)
        looking.check_again(domain, actor_of(request), good_since=timezone.now())
        # DNS takes its time: the domain may be gone by now.
        return Response(CheckedDomainSerializer(find_domain(request, organization, domain_id)).data)


def visible_domains(request: Request, organization: Organization) -> OrganizationQuerySet[SendingDomain]:
    """The domains that the request's key may see: all of its organization, or the one that it is for."""
    domains = SendingDomain.objects.of(organization)
    only = credential_of(request).only_domain
    return domains.filter(name=only) if only else domains


def find_domain(request: Request, organization: Organization, domain_id: UUID) -> SendingDomain:
    """Raises `Refused`."""
    domain = visible_domains(request, organization).filter(pk=domain_id).prefetch_related("records").first()
    if domain is None:
        raise Refused("not_found", thing="domain")
    return domain
