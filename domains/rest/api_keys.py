"""API keys over REST: `/api/v1/api-keys`. On this floor because a key may be for one domain only."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api_keys import change_api_key, create_api_key, is_live, revoke_api_key, rotate_api_key
from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.models import ApiKey, Organization
from accounts.rest.access import check_domain, credential_of, managing_organization, reading_organization
from accounts.rest.fields import at_field
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, list_of, read_parameters, read_query
from accounts.rest.openapi import may_refuse
from accounts.scoping import OrganizationQuerySet
from domains.names import normalize_domain
from domains.rest.api_key_serializers import (
    ApiKeyNameSerializer,
    ApiKeySerializer,
    CreateApiKeySerializer,
    DeletedApiKeySerializer,
    NewApiKeySerializer,
    RevokeApiKeyQuery,
    RotateApiKeySerializer,
    RotatedApiKeySerializer,
    UpdateApiKeySerializer,
)
from domains.rest.domains import visible_domains

API_KEY = {
    "object": "api_key",
    "id": "0199c6a1-7c00-7b22-9d00-1a2b3c4d5e6f",
    "is_current": False,
    "name": "Production web app",
    "created_at": "2026-11-26T08:00:00Z",
    "created_by": "ada@example.com",
    "last_used_at": "2026-11-26T09:41:00Z",
    "last_used_from": "192.0.2.7",
    "prefix": "ps_live_4fT0aB",
    "scopes": ["send"],
    "domain": "example.com",
    "allowed_networks": ["192.0.2.0/24"],
    "expires_at": "2027-02-24T08:00:00Z",
    "replaced_by": None,
}
NEW = API_KEY | {"last_used_at": None, "last_used_from": None, "token": "ps_live_4fT0…"}


class ApiKeysView(APIView):
    @extend_schema(
        operation_id="api_keys_list",
        parameters=[ListQuery],
        responses=list_of(ApiKeySerializer),
        examples=[OpenApiExample("API keys", list_answer([API_KEY], has_more=False), response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List API keys. Those in use, the newest first; passwords of SMTP users are not among them."""
        keys = visible_api_keys(request, reading_organization(request))
        page, _ = read_query(request)
        rows, has_more = page.cut(keys)
        context = {"credential": credential_of(request)}
        return Response(list_answer(ApiKeySerializer(rows, many=True, context=context).data, has_more=has_more))

    @may_refuse("key_restricted_to_domain", "domain_invalid", "network_invalid")
    @extend_schema(
        operation_id="api_keys_create",
        request=CreateApiKeySerializer,
        responses={201: NewApiKeySerializer},
        examples=[
            OpenApiExample(
                "For one domain", {"name": "Shop", "scopes": ["send"], "domain": "example.com"}, request_only=True
            ),
            OpenApiExample(
                "In Resend's words", {"name": "Production web app", "permission": "full_access"}, request_only=True
            ),
            OpenApiExample(
                "For 90 days, from one network",
                {"name": "CI", "expires_at": "2027-02-24T08:00:00Z", "allowed_networks": ["192.0.2.0/24"]},
                request_only=True,
            ),
            OpenApiExample("With the key itself", NEW, response_only=True, status_codes=["201"]),
        ],
    )
    @idempotent("api_keys.create")
    def post(self, request: Request) -> Response:
        """Create an API key. The key itself is in this answer and never again.

        A key makes no other with further scopes or for another domain. An end or networks of its own do not pass on.
        """
        organization = managing_organization(request)
        serializer = CreateApiKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        new = create_api_key(
            organization,
            serializer.validated_data["name"],
            serializer.scopes_asked(),
            only_domain=_domain_asked(request, organization, serializer),
            expires_at=serializer.validated_data.get("expires_at"),
            allowed_networks=serializer.networks() or [],
            by=actor_of(request),
        )
        context = {"credential": credential_of(request), "secret": new.secret}
        return Response(NewApiKeySerializer(new.api_key, context=context).data, status=201)


class ApiKeyView(APIView):
    @extend_schema(
        operation_id="api_keys_get",
        responses=ApiKeySerializer,
        examples=[OpenApiExample("An API key", API_KEY, response_only=True)],
    )
    def get(self, request: Request, api_key_id: UUID) -> Response:
        """Get an API key. Without the key itself."""
        api_key = _find(request, reading_organization(request), api_key_id)
        return Response(ApiKeySerializer(api_key, context={"credential": credential_of(request)}).data)

    @may_refuse("network_invalid")
    @extend_schema(
        operation_id="api_keys_update",
        request=UpdateApiKeySerializer,
        responses={200: ApiKeyNameSerializer},
        examples=[
            OpenApiExample("Another name", {"name": "Staging web app"}, request_only=True),
            OpenApiExample("From anywhere again", {"allowed_networks": []}, request_only=True),
            OpenApiExample("Changed", {"object": "api_key", "id": API_KEY["id"]}, response_only=True),
        ],
    )
    def patch(self, request: Request, api_key_id: UUID) -> Response:
        """Change an API key. Its name, and the networks that it may be used from: in effect within 5 seconds."""
        api_key = _find(request, managing_organization(request), api_key_id)
        serializer = UpdateApiKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        networks = serializer.networks()
        name = serializer.validated_data.get("name")
        change_api_key(api_key, name=name, allowed_networks=networks, by=actor_of(request))
        return Response(ApiKeyNameSerializer(api_key).data)

    @extend_schema(
        operation_id="api_keys_delete",
        parameters=[RevokeApiKeyQuery],
        responses={200: DeletedApiKeySerializer},
        examples=[
            OpenApiExample(
                "Revoked",
                {"object": "api_key", "id": API_KEY["id"], "is_current": False, "deleted": True},
                response_only=True,
            )
        ],
    )
    def delete(self, request: Request, api_key_id: UUID) -> Response:
        """Revoke an API key. The one in use too: within seconds, requests with it are refused."""
        api_key = _find(request, managing_organization(request), api_key_id)
        reason = read_parameters(request, RevokeApiKeyQuery).get("reason", "")
        if not revoke_api_key(api_key, reason=reason, by=actor_of(request)):
            raise Refused("not_found", thing="API key")
        return Response(DeletedApiKeySerializer(api_key, context={"credential": credential_of(request)}).data)


class RotateApiKeyView(APIView):
    @may_refuse("api_key_replaced")
    @extend_schema(
        operation_id="api_keys_rotate",
        request=RotateApiKeySerializer,
        responses={201: RotatedApiKeySerializer},
        examples=[
            OpenApiExample("The old one works for another day", {"keep_old_hours": 24}, request_only=True),
            OpenApiExample(
                "The new key, and when the old one ends",
                NEW | {"replaces": {"id": "0199c6a1-7c00-7c33-9d00-1a2b3c4d5e6f", "ends_at": "2026-11-27T08:00:00Z"}},
                response_only=True,
                status_codes=["201"],
            ),
        ],
    )
    @idempotent("api_keys.rotate")
    def post(self, request: Request, api_key_id: UUID) -> Response:
        """Rotate an API key. A new one that may do the same, told this once; the old one stops at once, or when you say.

        Where the old key was made for some time, the new one works as long, from now on.
        """
        api_key = _find(request, managing_organization(request), api_key_id)
        serializer = RotateApiKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        name = serializer.validated_data.get("name", "")
        new = rotate_api_key(api_key, keep_old=serializer.keep_old(), name=name, by=actor_of(request))
        api_key.refresh_from_db()
        context = {"credential": credential_of(request), "secret": new.secret, "replaces": api_key}
        return Response(RotatedApiKeySerializer(new.api_key, context=context).data, status=201)


def visible_api_keys(request: Request, organization: Organization) -> OrganizationQuerySet[ApiKey]:
    """Those in use. A key for one domain sees only keys for that domain."""
    # A key that is an SMTP user's password has its place there.
    keys = ApiKey.objects.of(organization).filter(is_live(), is_password=False)
    keys = keys.select_related("created_by", "created_with")
    only = credential_of(request).only_domain
    return keys.filter(only_domain=only) if only else keys


def _find(request: Request, organization: Organization, api_key_id: UUID) -> ApiKey:
    api_key = visible_api_keys(request, organization).filter(pk=api_key_id).first()
    if api_key is None:
        raise Refused("not_found", thing="API key")
    return api_key


def _domain_asked(request: Request, organization: Organization, serializer: CreateApiKeySerializer) -> str:
    """The domain that the new key is to be for, empty for all. No key makes one for another than its own.

    Raises `Refused` and DRF's ValidationError.
    """
    asked = serializer.validated_data
    if "domain_id" in asked:
        field, found = "domain_id", {"pk": asked["domain_id"]}
    elif "domain" in asked:
        with at_field("domain"):
            name = normalize_domain(asked["domain"])
            check_domain(request, name)
        field, found = "domain", {"name": name}
    else:
        return credential_of(request).only_domain
    domain = visible_domains(request, organization).filter(**found).first()
    if domain is None:
        raise serializers.ValidationError({field: ["Your organization has no such domain."]})
    return domain.name
