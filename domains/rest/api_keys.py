"""API keys over REST: `/api/v1/api-keys`. On this floor because a key may be for one domain only."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api_keys import create_api_key, is_live, revoke_api_key
from accounts.catalogue import Refused
from accounts.models import ApiKey, Organization
from accounts.rest.access import check_domain, credential_of, managing_organization, reading_organization
from accounts.rest.fields import at_field
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from accounts.scoping import OrganizationQuerySet
from domains.names import normalize_domain
from domains.rest.domains import visible_domains
from domains.rest.serializers import (
    ApiKeyNameSerializer,
    ApiKeySerializer,
    CreateApiKeySerializer,
    DeletedApiKeySerializer,
    NewApiKeySerializer,
    RenameApiKeySerializer,
)

API_KEY = {
    "object": "api_key",
    "id": "0199c6a1-7c00-7b22-9d00-1a2b3c4d5e6f",
    "is_current": False,
    "name": "Production web app",
    "created_at": "2026-11-26T08:00:00Z",
    "last_used_at": None,
    "prefix": "ps_live_4fT0aB",
    "scopes": ["send"],
    "domain": "example.com",
}


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
                "With the key itself", API_KEY | {"token": "ps_live_4fT0…"}, response_only=True, status_codes=["201"]
            ),
        ],
    )
    @idempotent("api_keys.create")
    def post(self, request: Request) -> Response:
        """Create an API key. The key itself is in this answer and never again."""
        organization = managing_organization(request)
        serializer = CreateApiKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        new = create_api_key(
            organization,
            serializer.validated_data["name"],
            serializer.scopes_asked(),
            only_domain=_domain_asked(request, organization, serializer),
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

    @extend_schema(
        operation_id="api_keys_update",
        request=RenameApiKeySerializer,
        responses={200: ApiKeyNameSerializer},
        examples=[
            OpenApiExample("Another name", {"name": "Staging web app"}, request_only=True),
            OpenApiExample("Renamed", {"object": "api_key", "id": API_KEY["id"]}, response_only=True),
        ],
    )
    def patch(self, request: Request, api_key_id: UUID) -> Response:
        """Rename an API key."""
        api_key = _find(request, managing_organization(request), api_key_id)
        serializer = RenameApiKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        api_key.name = serializer.validated_data["name"]
        api_key.save(update_fields=["name"])
        return Response(ApiKeyNameSerializer(api_key).data)

    @extend_schema(
        operation_id="api_keys_delete",
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
        revoke_api_key(api_key)
        return Response(DeletedApiKeySerializer(api_key, context={"credential": credential_of(request)}).data)


def visible_api_keys(request: Request, organization: Organization) -> OrganizationQuerySet[ApiKey]:
    """Those in use. A key for one domain sees only keys for that domain."""
    # A key that is an SMTP user's password has its place there.
    keys = ApiKey.objects.of(organization).filter(is_live(), smtp_user_key__isnull=True)
    only = credential_of(request).only_domain
    return keys.filter(only_domain=only) if only else keys


def _find(request: Request, organization: Organization, api_key_id: UUID) -> ApiKey:
    api_key = visible_api_keys(request, organization).filter(pk=api_key_id).first()
    if api_key is None:
        raise Refused("not_found", thing="API key")
    return api_key


def _domain_asked(request: Request, organization: Organization, serializer: CreateApiKeySerializer) -> str:
    """The domain that the new key is to be for, empty for all. No key makes one that may more than itself.

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
