"""Reading over REST: emails found, one email, its recipients, events and source."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.rest.access import credential_of, reading_organization
from accounts.rest.lists import ListQuery, list_answer, list_of, read_query
from events.models import Event
from relay.acting.actions import recipients_of
from relay.finding.filters import RecipientFilter
from relay.finding.search import SEARCH_S, TookTooLong, find_messages
from relay.reading.selectors import message_content, with_events
from relay.rest import answers, examples
from relay.rest.access import visible_message
from relay.rest.answers import (
    EmailSerializer,
    ListedEmailSerializer,
    ListedEventSerializer,
    RecipientSerializer,
)
from relay.rest.queries import EMAIL_ID, METADATA_PARAMETER, EmailsQuery, RecipientsQuery, sought_emails


class FindEmailsMixin:
    """GET of `/emails`."""

    @extend_schema(
        operation_id="emails_list",
        parameters=[EmailsQuery, METADATA_PARAMETER],
        responses=list_of(ListedEmailSerializer),
        examples=[OpenApiExample("A page", examples.EMAIL_LIST, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List and search emails. The newest first. A search may be ended: give a time range then."""
        organization = reading_organization(request)
        page, values = read_query(request, EmailsQuery)
        sought = sought_emails(credential_of(request), values)
        try:
            found = find_messages(organization, sought, page.limit + 1, below=page.after, above=page.before)
        except TookTooLong:
            raise Refused("search_took_too_long", seconds=f"{SEARCH_S:.0f}") from None
        rows, has_more = found[: page.limit], len(found) > page.limit
        rows = rows[::-1] if page.before else rows
        return Response(list_answer(answers.listed(organization, rows), has_more=has_more))


class ReadEmailMixin:
    """GET of `/emails/{id}`."""

    @extend_schema(
        operation_id="emails_get",
        parameters=[EMAIL_ID],
        responses=EmailSerializer,
        examples=[OpenApiExample("A delivered email", examples.EMAIL, response_only=True)],
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """Get an email. And what became of its recipients; of the first of them the whole course."""
        organization = reading_organization(request)
        message = visible_message(credential_of(request), message_id)
        return Response(answers.email(organization, message))


class RecipientsView(APIView):
    @extend_schema(
        operation_id="emails_recipients",
        parameters=[EMAIL_ID, RecipientsQuery],
        responses=list_of(RecipientSerializer),
        examples=[OpenApiExample("A page", examples.RECIPIENT_LIST, response_only=True)],
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """List an email's recipients. With their events, in the envelope's order."""
        organization = reading_organization(request)
        message = visible_message(credential_of(request), message_id)
        page, values = read_query(request, RecipientsQuery)
        wanted = RecipientFilter(state=values.get("state", ""))
        rows, has_more = page.cut(recipients_of(organization, message.pk).filter(wanted.condition()), oldest_first=True)
        data = RecipientSerializer(with_events(organization, rows), many=True).data
        return Response(list_answer(list(data), has_more=has_more))


class EmailEventsView(APIView):
    @extend_schema(
        operation_id="emails_events",
        parameters=[EMAIL_ID, ListQuery],
        responses=list_of(ListedEventSerializer),
        examples=[OpenApiExample("A page", examples.EVENT_LIST, response_only=True)],
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """List an email's events. The oldest first. To follow all emails: `/events`."""
        organization = reading_organization(request)
        message = visible_message(credential_of(request), message_id)
        page, _ = read_query(request)
        events = Event.objects.of(organization).filter(message_id=message.pk, id__gte=message.pk)
        rows, has_more = page.cut(events.defer("transcript"), oldest_first=True)
        return Response(list_answer(list(ListedEventSerializer(rows, many=True).data), has_more=has_more))


class AsItIs(BaseContentNegotiation):
    """For a resource that has one form, whatever is asked for (RFC 9110, 12.5.1 allows that)."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class RawView(APIView):
    content_negotiation_class = AsItIs

    @extend_schema(
        operation_id="emails_raw", parameters=[EMAIL_ID], responses={(200, "message/rfc822"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, message_id: UUID) -> HttpResponse:
        """Get an email's source. As it was accepted, before signing. 410: it is not kept any more."""
        organization = reading_organization(request)
        message = visible_message(credential_of(request), message_id)
        raw = message_content(organization, message.pk)
        if raw is None:
            raise Refused("content_expired")
        return HttpResponse(
            raw,
            content_type="message/rfc822",
            headers={"Content-Disposition": f'attachment; filename="{message.pk}.eml"', "Cache-Control": "private"},
        )
