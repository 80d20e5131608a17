"""`/api/v1/templates`: made, changed, published, copied, deleted and tried out. A template is named by id or alias."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.rest.access import managing_organization, reading_organization
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, read_query
from relay import templates
from relay.models import Template, TemplateVersion
from relay.rest.template_serializers import (
    CreateTemplateSerializer,
    DeletedTemplateSerializer,
    ListedTemplateSerializer,
    ListedVersionSerializer,
    RenderedTemplateSerializer,
    RenderTemplateSerializer,
    TemplateIdSerializer,
    TemplateListSerializer,
    TemplateSerializer,
    UpdateTemplateSerializer,
    VersionListSerializer,
    VersionSerializer,
    listed,
    listed_version,
)

_ID = "019b6d2c-1f63-7d29-8a3e-0f0a6c1d9f10"
_CONTENT = {
    "subject": "Your order {{ order }}",
    "html": "<p>Thank you, {{ name }}.</p>{% for item in items %}<p>{{ item.name }}: {{ item.price }}</p>{% endfor %}",
    "variables": [
        {"key": "name", "type": "string", "fallback_value": "dear customer"},
        {"key": "order", "type": "number"},
        {"key": "items", "type": "list"},
    ],
}
_TIMES = {"created_at": "2026-11-26T10:00:00Z", "updated_at": "2026-11-26T10:05:00Z"}
_LISTED = {
    "id": _ID, "name": "Receipt", "alias": "receipt", "status": "published", "published_at": "2026-11-26T10:05:00Z", **_TIMES,
}  # fmt: skip
_VERSION = {
    "id": "019b6d2c-1f64-7a01-9c52-3b6f1e8d7a22", "number": 1, "status": "published",
    "created_at": "2026-11-26T10:00:00Z", "published_at": "2026-11-26T10:05:00Z",
}  # fmt: skip
_FILLED = {"from": "Acme <hello@yourdomain.com>", "reply_to": None, "text": None, **_CONTENT}
_TEMPLATE = {
    "object": "template", **_LISTED, **_FILLED, "version": 1, "current_version_id": _VERSION["id"],
    "has_unpublished_versions": False,
}  # fmt: skip
_RENDERED = {
    "object": "rendered_template", "version": 1, "subject": "Your order 42",
    "html": "<p>Thank you, Ada.</p><p>Tea: 4.5</p>", "text": "Thank you, Ada.\n\nTea: 4.5\n",
}  # fmt: skip
_TOLD = OpenApiExample("The template", {"object": "template", "id": _ID}, response_only=True)


class TemplatesView(APIView):
    @extend_schema(
        operation_id="templates_create",
        request=CreateTemplateSerializer,
        responses={201: TemplateIdSerializer},
        examples=[
            OpenApiExample(
                "A receipt",
                {"name": "Receipt", "alias": "receipt", "from": "Acme <hello@yourdomain.com>", **_CONTENT},
                request_only=True,
            ),
            _TOLD,
        ],
    )
    @idempotent("templates.create")
    def post(self, request: Request) -> Response:
        """Create a template. Its first version is a draft until it is published."""
        organization = managing_organization(request)
        serializer = CreateTemplateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        content = templates.TemplateContent(**serializer.changes())
        template = templates.create_template(
            organization, data["name"], content, alias=data.get("alias", ""), by=actor_of(request)
        )
        return _told(template, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="templates_list",
        parameters=[ListQuery],
        responses=TemplateListSerializer,
        examples=[OpenApiExample("A page", list_answer([_LISTED], has_more=False), response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List templates. The newest first."""
        page, _ = read_query(request)
        rows, has_more = page.cut(templates.list_templates(reading_organization(request)))
        shaped = [listed(row, row.last_published_at) for row in rows]  # type: ignore[attr-defined]
        return Response(list_answer(list(ListedTemplateSerializer(shaped, many=True).data), has_more=has_more))


class TemplateView(APIView):
    @extend_schema(
        operation_id="templates_get",
        responses=TemplateSerializer,
        examples=[OpenApiExample("A template", _TEMPLATE, response_only=True)],
    )
    def get(self, request: Request, reference: str) -> Response:
        """Get a template. As its newest version has it."""
        template = templates.find_template(reading_organization(request), reference)
        return Response(TemplateSerializer(TemplateSerializer.shape(templates.newest_of(template))).data)

    @extend_schema(
        operation_id="templates_update",
        request=UpdateTemplateSerializer,
        responses=TemplateIdSerializer,
        examples=[
            OpenApiExample("Another subject", {"subject": "We have your order {{ order }}"}, request_only=True),
            _TOLD,
        ],
    )
    def patch(self, request: Request, reference: str) -> Response:
        """Change a template. What is published stays until the draft that this makes is published."""
        template = templates.find_template(managing_organization(request), reference)
        serializer = UpdateTemplateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        templates.update_template(
            template, serializer.changes(), name=data.get("name"), alias=data.get("alias"), by=actor_of(request)
        )
        return _told(template)

    @extend_schema(
        operation_id="templates_remove",
        responses=DeletedTemplateSerializer,
        examples=[OpenApiExample("Deleted", {"object": "template", "id": _ID, "deleted": True}, response_only=True)],
    )
    def delete(self, request: Request, reference: str) -> Response:
        """Delete a template with all its versions. Emails made from it stay."""
        template = templates.find_template(managing_organization(request), reference)
        answer = {"object": "template", "id": template.pk, "deleted": True}
        templates.delete_template(template, by=actor_of(request))
        return Response(DeletedTemplateSerializer(answer).data)


class PublishTemplateView(APIView):
    @extend_schema(operation_id="templates_publish", request=None, responses=TemplateIdSerializer, examples=[_TOLD])
    def post(self, request: Request, reference: str) -> Response:
        """Publish a template. The draft is what is sent from now on. Without a draft nothing changes."""
        template = templates.find_template(managing_organization(request), reference)
        templates.publish_template(template, by=actor_of(request))
        return _told(template)


class DuplicateTemplateView(APIView):
    @extend_schema(
        operation_id="templates_duplicate", request=None, responses={201: TemplateIdSerializer}, examples=[_TOLD]
    )
    @idempotent("templates.duplicate")
    def post(self, request: Request, reference: str) -> Response:
        """Duplicate a template. The newest version becomes a template of its own, a draft without alias."""
        template = templates.find_template(managing_organization(request), reference)
        return _told(templates.duplicate_template(template, by=actor_of(request)), status.HTTP_201_CREATED)


class RenderTemplateView(APIView):
    @extend_schema(
        operation_id="templates_render",
        request=RenderTemplateSerializer,
        responses=RenderedTemplateSerializer,
        examples=[
            OpenApiExample(
                "Variables",
                {"variables": {"name": "Ada", "order": 42, "items": [{"name": "Tea", "price": 4.5}]}},
                request_only=True,
            ),
            OpenApiExample("Rendered", _RENDERED, response_only=True),
        ],
    )
    def post(self, request: Request, reference: str) -> Response:
        """Render a template. What an email made from it would say. Nothing is sent."""
        template = templates.find_template(reading_organization(request), reference)
        serializer = RenderTemplateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        version = _asked_for(template, serializer.validated_data.get("version"))
        given = serializer.validated_data.get("variables", {})
        filled = templates.stored(template, version).fill_in(given, pointer="/variables")
        answer = {
            "object": "rendered_template",
            "version": version.number,
            "subject": filled.subject,
            "html": filled.html,
            "text": filled.text,
        }
        return Response(RenderedTemplateSerializer(answer).data)


class TemplateVersionsView(APIView):
    @extend_schema(
        operation_id="template_versions_list",
        parameters=[ListQuery],
        responses=VersionListSerializer,
        examples=[OpenApiExample("A page", list_answer([_VERSION], has_more=False), response_only=True)],
    )
    def get(self, request: Request, reference: str) -> Response:
        """List a template's versions. The newest first."""
        template = templates.find_template(reading_organization(request), reference)
        page, _ = read_query(request)
        rows, has_more = page.cut(template.versions.defer("html", "text"))
        shaped = [listed_version(row) for row in rows]
        return Response(list_answer(list(ListedVersionSerializer(shaped, many=True).data), has_more=has_more))


class TemplateVersionView(APIView):
    @extend_schema(
        operation_id="template_versions_get",
        responses=VersionSerializer,
        examples=[
            OpenApiExample("A version", {"object": "template_version", **_VERSION, **_FILLED}, response_only=True)
        ],
    )
    def get(self, request: Request, reference: str, number: int) -> Response:
        """Get a version of a template. By its number."""
        version = templates.version_of(templates.find_template(reading_organization(request), reference), number)
        return Response(VersionSerializer(VersionSerializer.shape(version)).data)


def _asked_for(template: Template, version: int | str | None) -> TemplateVersion:
    if isinstance(version, int):
        return templates.version_of(template, version)
    if version == "published":
        return templates.published_version_of(template)
    newest = templates.newest_of(template).newest
    if version == "draft" and newest.published_at is not None:
        raise Refused("not_found", thing="draft of this template")
    return newest


def _told(template: Template, status_code: int = status.HTTP_200_OK) -> Response:
    answer = TemplateIdSerializer({"object": "template", "id": template.pk})
    return Response(answer.data, status=status_code)
