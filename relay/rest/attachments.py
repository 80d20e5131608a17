"""Attachments of sent emails, in Resend's form: `/api/v1/emails/<id>/attachments`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.models import Organization
from accounts.rest.access import reading_organization
from accounts.rest.lists import ListQuery, Page, list_answer, read_query
from accounts.walls import act_for
from relay.reading.selectors import message_content
from relay.reading.sent_attachments import SentAttachment, sent_attachments

LINK_LIFE = timedelta(hours=1)
_SALT = "relay.rest.attachments"
_ID = "0f4c1f5e-7f0a-5d7e-9a86-0c6f1d9b8f52"
EXAMPLE = {
    "id": _ID,
    "filename": "receipt.pdf",
    "size": 48213,
    "content_type": "application/pdf",
    "content_disposition": "attachment",
    "download_url": f"https://mail.example.com/api/v1/emails/019a7c1e-5d2b-7c3a-9f10-2b7c8d9e0f11/attachments/{_ID}/content?token=…",
    "expires_at": "2026-11-25T11:00:00Z",
}


class SentAttachmentSerializer(serializers.Serializer[Any]):
    """As in Resend's answers, what a part does not have is left out."""

    id = serializers.UUIDField()
    filename = serializers.CharField(required=False)
    size = serializers.IntegerField(help_text="In octets, decoded.")
    content_type = serializers.CharField()
    content_disposition = serializers.ChoiceField(choices=["attachment", "inline"])
    content_id = serializers.CharField(required=False)
    download_url = serializers.URLField(help_text="Gives the content to whoever has it, until expires_at.")
    expires_at = serializers.DateTimeField()


class SentAttachmentDetailSerializer(SentAttachmentSerializer):
    object = serializers.CharField(default="attachment")


class AttachmentListSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(default="list")
    has_more = serializers.BooleanField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `data` is a serializer's own word.
        return {**super().get_fields(), "data": SentAttachmentSerializer(many=True)}


class AttachmentsView(APIView):
    @extend_schema(
        operation_id="email_attachments_list",
        parameters=[ListQuery],
        responses=AttachmentListSerializer,
        examples=[OpenApiExample("One file", response_only=True, value=list_answer([EXAMPLE], has_more=False))],
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """List an email's attachments. In their order there."""
        organization = reading_organization(request)
        page, _ = read_query(request)
        found, has_more = _cut(_attachments(organization, message_id), page)
        return Response(list_answer([_answer(organization, message_id, one) for one in found], has_more=has_more))


class AttachmentView(APIView):
    @extend_schema(
        operation_id="email_attachments_get",
        responses=SentAttachmentDetailSerializer,
        examples=[OpenApiExample("A file", response_only=True, value={"object": "attachment", **EXAMPLE})],
    )
    def get(self, request: Request, message_id: UUID, attachment_id: UUID) -> Response:
        """Get an attachment. With a link to its content."""
        organization = reading_organization(request)
        attachment = _attachment(organization, message_id, attachment_id)
        return Response({"object": "attachment", **_answer(organization, message_id, attachment)})


class _AnyForm(BaseContentNegotiation):
    """A file is what it is, whatever the Accept header says."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class AttachmentContentView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    content_negotiation_class = _AnyForm

    @extend_schema(
        operation_id="email_attachments_download",
        parameters=[OpenApiParameter("token", str, required=True, description="As it stands in download_url.")],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
        auth=[],
    )
    def get(self, request: Request, message_id: UUID, attachment_id: UUID) -> HttpResponse:
        """Download an attachment. The link is authority enough, for an hour."""
        try:
            token = signing.loads(request.query_params.get("token", ""), salt=_SALT, max_age=LINK_LIFE)
        except signing.BadSignature:
            token = []
        if token[1:] != [message_id.hex, attachment_id.hex]:
            raise Refused("not_found", thing="attachment, or the link to it is over an hour old")
        organization = Organization(pk=UUID(token[0]))
        act_for(organization.pk)
        attachment = _attachment(organization, message_id, attachment_id)
        response = HttpResponse(attachment.content, content_type=attachment.content_type)
        # Somebody else's file under our name: it is saved, and nothing in it runs.
        response["Content-Disposition"] = "attachment"
        response["Content-Security-Policy"] = "sandbox; default-src 'none'"
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "private, no-store"
        return response


def _answer(organization: Organization, message_id: UUID, attachment: SentAttachment) -> dict[str, Any]:
    return dict(SentAttachmentSerializer(_linked(organization, message_id, attachment, timezone.now())).data)


def _linked(organization: Organization, message_id: UUID, attachment: SentAttachment, now: datetime) -> dict[str, Any]:
    names = ("id", "filename", "size", "content_type", "content_disposition", "content_id")
    token = signing.dumps([organization.pk.hex, message_id.hex, attachment.id.hex], salt=_SALT)
    place = reverse("email_attachment_content", args=[message_id, attachment.id])
    told = {name: getattr(attachment, name) for name in names}
    return {name: value for name, value in told.items() if value is not None} | {
        "download_url": f"{settings.WEB_URL}{place}?token={token}",
        "expires_at": now + LINK_LIFE,
    }


def _cut(attachments: list[SentAttachment], page: Page) -> tuple[list[SentAttachment], bool]:
    ids = [attachment.id for attachment in attachments]
    if page.before is not None:
        earlier = attachments[: ids.index(page.before)] if page.before in ids else []
        return earlier[-page.limit :], len(earlier) > page.limit
    if page.after is not None:
        attachments = attachments[ids.index(page.after) + 1 :] if page.after in ids else []
    return attachments[: page.limit], len(attachments) > page.limit


def _attachment(organization: Organization, message_id: UUID, attachment_id: UUID) -> SentAttachment:
    for attachment in _attachments(organization, message_id):
        if attachment.id == attachment_id:
            return attachment
    raise Refused("not_found", thing="attachment")


def _attachments(organization: Organization, message_id: UUID) -> list[SentAttachment]:
    raw = message_content(organization, message_id)
    if raw is None:
        raise Refused("not_found", thing="email, or its content is no longer kept")
    return sent_attachments(message_id, raw)
