"""SMTP users over REST: `/api/v1/smtp-users`."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.models import Organization
from accounts.rest.access import check_domain, credential_of, managing_organization, reading_organization
from accounts.rest.fields import at_field
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import list_answer, list_of, read_query
from accounts.scoping import OrganizationQuerySet
from domains import services
from domains.models import SendingDomain, SmtpUser
from domains.names import normalize_domain
from domains.serializers import (
    CreateSmtpUserSerializer,
    DeletedSmtpUserSerializer,
    NewSmtpUserSerializer,
    SmtpUserListQuery,
    SmtpUserSerializer,
)

SMTP_USER = {
    "object": "smtp_user",
    "id": "0199c6a1-7c00-7a11-8f00-3c5b7d9e1f20",
    "address": "admin@example.com",
    "domain": "example.com",
    "domain_id": "0199c6a1-7c00-7d3e-9b1c-5a2f3e4d5c6b",
    "server": {"host": "mail.plugsend.example", "port": 587, "tls_port": 465},
    "created_at": "2026-11-26T08:00:00Z",
    "last_used_at": None,
    "disabled_at": None,
}
NEW = OpenApiExample(
    "With its password", SMTP_USER | {"password": "ps_live_4fT0…"}, response_only=True, status_codes=["200", "201"]
)
OLD = OpenApiExample("An SMTP user", SMTP_USER, response_only=True)


class SmtpUsersView(APIView):
    @extend_schema(
        operation_id="smtp_users_list",
        parameters=[SmtpUserListQuery],
        responses=list_of(SmtpUserSerializer),
        examples=[OpenApiExample("SMTP users", list_answer([SMTP_USER], has_more=False), response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List SMTP users. The newest first, disabled ones too."""
        users = visible_smtp_users(request, reading_organization(request))
        page, wanted = read_query(request, SmtpUserListQuery)
        if "domain" in wanted:
            with at_field("domain"):
                users = users.filter(domain__name=normalize_domain(wanted["domain"]))
        rows, has_more = page.cut(users)
        return Response(list_answer(SmtpUserSerializer(rows, many=True).data, has_more=has_more))

    @extend_schema(
        operation_id="smtp_users_create",
        request=CreateSmtpUserSerializer,
        responses={201: NewSmtpUserSerializer},
        examples=[OpenApiExample("An SMTP user", {"address": "admin@example.com"}, request_only=True), NEW],
    )
    @idempotent("smtp_users.create")
    def post(self, request: Request) -> Response:
        """Create an SMTP user on a verified domain. Its password is in this answer and never again."""
        organization = managing_organization(request)
        serializer = CreateSmtpUserSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with at_field("address"):
            local_part, domain = self._parts(request, organization, serializer.validated_data["address"])
            new = services.create_smtp_user(domain, local_part)
        return Response(NewSmtpUserSerializer(new.smtp_user, context={"secret": new.secret}).data, status=201)

    @staticmethod
    def _parts(request: Request, organization: Organization, address: str) -> tuple[str, SendingDomain]:
        """Raises `Refused`."""
        local_part, at, name = address.rpartition("@")
        if not at:
            raise services.SmtpUserRefused("smtp_user_invalid", typed=address, problem="it has no @ and no domain")
        name = normalize_domain(name)
        check_domain(request, name)
        domain = SendingDomain.objects.of(organization).filter(name=name).first()
        if domain is None:
            raise Refused("sender_domain_unknown", domain=name)
        return local_part, domain


class SmtpUserView(APIView):
    @extend_schema(operation_id="smtp_users_get", responses=SmtpUserSerializer, examples=[OLD])
    def get(self, request: Request, smtp_user_id: UUID) -> Response:
        """Get an SMTP user. And how to connect."""
        return Response(SmtpUserSerializer(_find(request, reading_organization(request), smtp_user_id)).data)

    @extend_schema(
        operation_id="smtp_users_delete",
        responses={200: DeletedSmtpUserSerializer},
        examples=[
            OpenApiExample(
                "Deleted", {"object": "smtp_user", "id": SMTP_USER["id"], "deleted": True}, response_only=True
            )
        ],
    )
    def delete(self, request: Request, smtp_user_id: UUID) -> Response:
        """Delete an SMTP user. Its password stops working at once; its messages stay."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        if not services.remove_smtp_user(smtp_user):
            raise Refused("not_found", thing="SMTP user")
        return Response(DeletedSmtpUserSerializer(smtp_user).data)


class SmtpUserPasswordView(APIView):
    @extend_schema(
        operation_id="smtp_users_replace_password", request=None, responses={200: NewSmtpUserSerializer}, examples=[NEW]
    )
    @idempotent("smtp_users.replace_password")
    def post(self, request: Request, smtp_user_id: UUID) -> Response:
        """Replace an SMTP user's password. The new one is told this once. The old one stops working at once."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        secret = services.replace_password(smtp_user)
        return Response(NewSmtpUserSerializer(smtp_user, context={"secret": secret}).data)


class DisableSmtpUserView(APIView):
    @extend_schema(operation_id="smtp_users_disable", request=None, responses={200: SmtpUserSerializer}, examples=[OLD])
    def post(self, request: Request, smtp_user_id: UUID) -> Response:
        """Disable an SMTP user. It stays in the list. Its name may be given out again."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        services.disable_smtp_user(smtp_user)
        return Response(SmtpUserSerializer(smtp_user).data)


def visible_smtp_users(request: Request, organization: Organization) -> OrganizationQuerySet[SmtpUser]:
    users = SmtpUser.objects.of(organization).select_related("domain", "api_key")
    only = credential_of(request).only_domain
    return users.filter(domain__name=only) if only else users


def _find(request: Request, organization: Organization, smtp_user_id: UUID) -> SmtpUser:
    smtp_user = visible_smtp_users(request, organization).filter(pk=smtp_user_id).first()
    if smtp_user is None:
        raise Refused("not_found", thing="SMTP user")
    return smtp_user
