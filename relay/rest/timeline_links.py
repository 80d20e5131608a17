"""Links to timelines over REST: `/api/v1/emails/<id>/timeline-links`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.models import Organization
from accounts.rest.access import credential_of, managing_organization, reading_organization
from accounts.rest.fields import ObjectField, StrictSerializer, StrictUUIDField, at_field
from accounts.rest.idempotency import idempotent
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from accounts.rest.openapi import may_refuse
from relay.acting.actions import recipients_of
from relay.models import Recipient, TimelineLink
from relay.reading import timeline_links
from relay.reading.timeline_links import GOOD_FOR, IN_WORDS
from relay.rest.access import visible_message


class ShareTimelineSerializer(StrictSerializer):
    recipient_id = StrictUUIDField(
        required=False, help_text="Whose timeline. May be left out where the email has a single recipient."
    )
    good_for = serializers.ChoiceField(choices=list(IN_WORDS.items()), default="1d", help_text="How long it works.")


class TimelineLinkSerializer(serializers.Serializer[Any]):
    object = ObjectField("timeline_link")
    id = serializers.UUIDField()
    email_id = serializers.UUIDField(source="message_id")
    recipient_id = serializers.UUIDField()
    recipient = serializers.CharField(source="address", help_text="The recipient's address.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    expires_at = serializers.DateTimeField()


class NewTimelineLinkSerializer(TimelineLinkSerializer):
    url = serializers.SerializerMethodField(help_text="Told this once.")

    def get_url(self, link: TimelineLink) -> str:
        return str(self.context["url"])


class RevokedTimelineLinkSerializer(serializers.Serializer[Any]):
    object = ObjectField("timeline_link")
    id = serializers.UUIDField()
    revoked = serializers.BooleanField(default=True)


LINK = {
    "object": "timeline_link",
    "id": "019abb00-4d10-7f21-a6c2-6d3f0b1e2a94",
    "email_id": "019abae8-7a63-7c1e-8f3d-5b7f0c2d9e41",
    "recipient_id": "019abae8-7a63-7c1f-9a02-7d5e1b3c4f60",
    "recipient": "bob@example.com",
    "created_at": "2026-11-25T10:00:00.172000Z",
    "created_by": "API key Support desk",
    "expires_at": "2026-11-26T10:00:00.172000Z",
}


class TimelineLinksView(APIView):
    @extend_schema(
        operation_id="email_timeline_links_list",
        parameters=[ListQuery],
        responses=list_of(TimelineLinkSerializer),
        examples=[OpenApiExample("One link", list_answer([LINK], has_more=False), response_only=True)],
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """List the links to an email's timelines. Those that work, the newest first; without their secrets."""
        organization = reading_organization(request)
        message = visible_message(credential_of(request), message_id)
        page, _ = read_query(request)
        rows, has_more = page.cut(timeline_links.open_links(organization).filter(message_id=message.pk))
        return Response(list_answer(list(TimelineLinkSerializer(rows, many=True).data), has_more=has_more))

    @may_refuse("recipient_needed")
    @extend_schema(
        operation_id="email_timeline_links_create",
        request=ShareTimelineSerializer,
        responses={201: NewTimelineLinkSerializer},
        examples=[
            OpenApiExample("For a week", {"good_for": "7d"}, request_only=True),
            OpenApiExample(
                "The link",
                LINK | {"url": "https://mail.example.com/timelines/Zk3vXq0mW8c1sYF2b7Jr5u9oTnKdQeGhLpA4iRxB6tM/"},
                response_only=True,
                status_codes=["201"],
            ),
        ],
    )
    @idempotent("timeline_links.create")
    def post(self, request: Request, message_id: UUID) -> Response:
        """Share a timeline. Whoever has the link reads what became of the email for one recipient, without its content and
        without an account, until the link expires or is revoked."""
        organization = managing_organization(request)
        message = visible_message(credential_of(request), message_id)
        serializer = ShareTimelineSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        recipient = _recipient(organization, message_id, asked.get("recipient_id"), message.recipient_count)
        new = timeline_links.share(recipient, GOOD_FOR[asked["good_for"]], by=actor_of(request))
        return Response(NewTimelineLinkSerializer(new.link, context={"url": new.url}).data, status=201)


class TimelineLinkView(APIView):
    @extend_schema(
        operation_id="email_timeline_links_revoke",
        responses=RevokedTimelineLinkSerializer,
        examples=[
            OpenApiExample(
                "Revoked", {"object": "timeline_link", "id": LINK["id"], "revoked": True}, response_only=True
            )
        ],
    )
    def delete(self, request: Request, message_id: UUID, timeline_link_id: UUID) -> Response:
        """Revoke a link to a timeline. It stops at once. One that has ended is not found."""
        organization = managing_organization(request)
        message = visible_message(credential_of(request), message_id)
        links = timeline_links.open_links(organization).filter(message_id=message.pk, pk=timeline_link_id)
        if not links.exists() or not timeline_links.revoke(organization, timeline_link_id, by=actor_of(request)):
            raise Refused("not_found", thing="link to a timeline that works")
        return Response(RevokedTimelineLinkSerializer({"id": timeline_link_id}).data)


def _recipient(organization: Organization, message_id: UUID, recipient_id: UUID | None, count: int) -> Recipient:
    """Raises `Refused`."""
    recipients = recipients_of(organization, message_id, recipient_id)
    with at_field("recipient_id"):
        if recipient_id is None and count > 1:
            raise Refused("recipient_needed", count=f"{count:,}")
        recipient = recipients.first()
        if recipient is None:
            raise Refused("not_found", thing="recipient of this email")
    return recipient
