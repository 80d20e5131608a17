"""SMTP users over REST: `/api/v1/smtp-users`."""

from __future__ import annotations

from uuid import UUID

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
from domains import smtp_users
from domains.models import SendingDomain, SmtpUser
from domains.names import normalize_domain
from domains.rest.smtp_user_serializers import (
    AddSmtpUserKeySerializer,
    ChangeSmtpUserSerializer,
    CreateSmtpUserSerializer,
    DeletedSmtpUserKeySerializer,
    DeletedSmtpUserSerializer,
    NewSmtpUserKeySerializer,
    NewSmtpUserSerializer,
    ReplacePasswordSerializer,
    SmtpUserKeySerializer,
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
    "last_used_at": "2026-11-26T09:41:00Z",
    "last_used_from": "192.0.2.7",
    "disabled_at": None,
    "hourly_limit": 500,
    "daily_limit": None,
    "allowed_networks": ["192.0.2.0/24"],
    "stream": "",
}
LIMITS = {name: SMTP_USER[name] for name in ("hourly_limit", "daily_limit", "allowed_networks")}
KEY = {
    "object": "smtp_user_key",
    "id": "0199c6a1-7c00-7b22-9d00-1a2b3c4d5e6f",
    "name": "Web shop",
    "prefix": "ps_live_4fT0aB",
    "created_at": "2026-11-26T08:00:00Z",
    "last_used_at": "2026-11-26T09:41:00Z",
    "last_used_from": "192.0.2.7",
    "expires_at": None,
}
NEW = OpenApiExample(
    "With its password", SMTP_USER | {"password": "ps_live_4fT0…"}, response_only=True, status_codes=["200", "201"]
)
NEW_KEY = OpenApiExample(
    "With the key itself",
    KEY | {"last_used_at": None, "last_used_from": None, "password": "ps_live_4fT0…"},
    response_only=True,
    status_codes=["201"],
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

    @may_refuse("smtp_user_domain_not_verified", "smtp_user_invalid", "smtp_user_exists", "network_invalid")
    @extend_schema(
        operation_id="smtp_users_create",
        request=CreateSmtpUserSerializer,
        responses={201: NewSmtpUserSerializer},
        examples=[
            OpenApiExample("An SMTP user", {"address": "admin@example.com"}, request_only=True),
            OpenApiExample("With limits", {"address": "admin@example.com"} | LIMITS, request_only=True),
            NEW,
        ],
    )
    @idempotent("smtp_users.create")
    def post(self, request: Request) -> Response:
        """Create an SMTP user on a verified domain. Its password is in this answer and never again."""
        organization = managing_organization(request)
        serializer = CreateSmtpUserSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        limits = serializer.limits()
        with at_field("address"):
            local_part, domain = self._parts(request, organization, serializer.validated_data["address"])
            new = smtp_users.create_smtp_user(domain, local_part, limits=limits, by=actor_of(request))
        return Response(NewSmtpUserSerializer(new.smtp_user, context={"secret": new.secret}).data, status=201)

    @staticmethod
    def _parts(request: Request, organization: Organization, address: str) -> tuple[str, SendingDomain]:
        """Raises `Refused`."""
        local_part, at, name = address.rpartition("@")
        if not at:
            raise smtp_users.SmtpUserRefused("smtp_user_invalid", typed=address, problem="it has no @ and no domain")
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

    @may_refuse("network_invalid")
    @extend_schema(
        operation_id="smtp_users_update",
        request=ChangeSmtpUserSerializer,
        responses={200: SmtpUserSerializer},
        examples=[
            OpenApiExample("Limits", LIMITS, request_only=True),
            OpenApiExample("No limit any more", {"hourly_limit": None}, request_only=True),
            OpenApiExample("For a newsletter", {"stream": "news"}, request_only=True),
            OLD,
        ],
    )
    def patch(self, request: Request, smtp_user_id: UUID) -> Response:
        """Change an SMTP user's limits and stream. In effect within 5 seconds, in open sessions too."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        serializer = ChangeSmtpUserSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        smtp_users.change_smtp_user(smtp_user, serializer.limits(), by=actor_of(request))
        return Response(SmtpUserSerializer(smtp_user).data)

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
        if not smtp_users.remove_smtp_user(smtp_user, by=actor_of(request)):
            raise Refused("not_found", thing="SMTP user")
        return Response(DeletedSmtpUserSerializer(smtp_user).data)


class SmtpUserPasswordView(APIView):
    @may_refuse("too_many_smtp_user_keys")
    @extend_schema(
        operation_id="smtp_users_replace_password",
        request=ReplacePasswordSerializer,
        responses={200: NewSmtpUserSerializer},
        examples=[OpenApiExample("The old one works for another day", {"keep_old_hours": 24}, request_only=True), NEW],
    )
    @idempotent("smtp_users.replace_password")
    def post(self, request: Request, smtp_user_id: UUID) -> Response:
        """Replace an SMTP user's password. The new one is told this once. All others stop working: at once, or when you say."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        serializer = ReplacePasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = smtp_users.replace_password(
            smtp_user,
            keep_old=serializer.keep_old(),
            name=serializer.validated_data.get("name", ""),
            by=actor_of(request),
        )
        return Response(NewSmtpUserSerializer(smtp_user, context={"secret": key.secret}).data)


class SmtpUserKeysView(APIView):
    @extend_schema(
        operation_id="smtp_users_list_keys",
        responses=list_of(SmtpUserKeySerializer),
        parameters=[ListQuery],
        examples=[OpenApiExample("Keys", list_answer([KEY], has_more=False), response_only=True)],
    )
    def get(self, request: Request, smtp_user_id: UUID) -> Response:
        """List the keys of an SMTP user. Those in use: each of them is a password. The newest first."""
        smtp_user = _find(request, reading_organization(request), smtp_user_id)
        page, _ = read_query(request)
        rows, has_more = page.cut(smtp_users.keys_in_use(smtp_user))
        return Response(list_answer(SmtpUserKeySerializer(rows, many=True).data, has_more=has_more))

    @may_refuse("too_many_smtp_user_keys")
    @extend_schema(
        operation_id="smtp_users_add_key",
        request=AddSmtpUserKeySerializer,
        responses={201: NewSmtpUserKeySerializer},
        examples=[OpenApiExample("With a name", {"name": "Web shop"}, request_only=True), NEW_KEY],
    )
    @idempotent("smtp_users.add_key")
    def post(self, request: Request, smtp_user_id: UUID) -> Response:
        """Add a key to an SMTP user. One more password; it is in this answer and never again."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        serializer = AddSmtpUserKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = smtp_users.add_key(smtp_user, serializer.validated_data.get("name", ""), by=actor_of(request))
        return Response(NewSmtpUserKeySerializer(key.api_key, context={"secret": key.secret}).data, status=201)


class SmtpUserKeyView(APIView):
    @extend_schema(
        operation_id="smtp_users_revoke_key",
        responses={200: DeletedSmtpUserKeySerializer},
        examples=[
            OpenApiExample("Revoked", {"object": "smtp_user_key", "id": KEY["id"], "deleted": True}, response_only=True)
        ],
    )
    def delete(self, request: Request, smtp_user_id: UUID, key_id: UUID) -> Response:
        """Revoke a key of an SMTP user. It is refused within 5 seconds. Without any key the user cannot sign in."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        key = smtp_users.keys_in_use(smtp_user).filter(pk=key_id).first()
        if key is None or not smtp_users.revoke_key(smtp_user, key, by=actor_of(request)):
            raise Refused("not_found", thing="key of this SMTP user")
        return Response(DeletedSmtpUserKeySerializer(key).data)


class DisableSmtpUserView(APIView):
    @extend_schema(operation_id="smtp_users_disable", request=None, responses={200: SmtpUserSerializer}, examples=[OLD])
    def post(self, request: Request, smtp_user_id: UUID) -> Response:
        """Disable an SMTP user. Its keys are refused within 5 seconds and kept. Its name may be given out again."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        smtp_users.disable_smtp_user(smtp_user, by=actor_of(request))
        return Response(SmtpUserSerializer(smtp_user).data)


class EnableSmtpUserView(APIView):
    @may_refuse("smtp_user_name_taken")
    @extend_schema(operation_id="smtp_users_enable", request=None, responses={200: SmtpUserSerializer}, examples=[OLD])
    def post(self, request: Request, smtp_user_id: UUID) -> Response:
        """Enable an SMTP user that is disabled. The keys that it has work again at once."""
        smtp_user = _find(request, managing_organization(request), smtp_user_id)
        smtp_users.enable_smtp_user(smtp_user, by=actor_of(request))
        return Response(SmtpUserSerializer(smtp_user).data)


def visible_smtp_users(request: Request, organization: Organization) -> OrganizationQuerySet[SmtpUser]:
    users = smtp_users.with_keys(SmtpUser.objects.of(organization))
    only = credential_of(request).only_domain
    return users.filter(domain__name=only) if only else users


def _find(request: Request, organization: Organization, smtp_user_id: UUID) -> SmtpUser:
    smtp_user = visible_smtp_users(request, organization).filter(pk=smtp_user_id).first()
    if smtp_user is None:
        raise Refused("not_found", thing="SMTP user")
    return smtp_user
