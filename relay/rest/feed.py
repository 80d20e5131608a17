"""`/api/v1/events`: what happened to all emails, for a consumer that goes on where it stopped."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Organization
from accounts.rest.access import credential_of, reading_organization
from accounts.rest.lists import list_answer, list_of, read_parameters
from events.feed import feed
from relay.finding.filters import MessageFilter
from relay.models import Message
from relay.rest import examples
from relay.rest.answers import ListedEventSerializer
from relay.rest.queries import EventsQuery, wanted_messages


class EventsView(APIView):
    @extend_schema(
        operation_id="events_list",
        parameters=[EventsQuery],
        responses=list_of(ListedEventSerializer, next=serializers.UUIDField()),
        examples=[OpenApiExample("A page", examples.EVENT_PAGE, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List events of all emails. The oldest first. Ask again with `after` = the answer's `next`: nothing is missed and
        nothing comes twice. `next` is always there; `has_more` says whether to ask at once, also where a page is empty.
        Events come some seconds after they happened, when none can come before them any more."""
        organization = reading_organization(request)
        values = read_parameters(request, EventsQuery)
        since, until = values.pop("since", None), values.pop("until", None)
        wanted = wanted_messages(credential_of(request), values)
        page = feed(
            organization,
            limit=values["limit"],
            after=values.get("after"),
            types=values.get("type", ()),
            since=since,
            until=until,
            of_messages=None if wanted.is_by_key else lambda ids: _meant(organization, wanted, ids),
        )
        data = ListedEventSerializer(page.events, many=True).data
        return Response(list_answer(list(data), has_more=page.has_more, next=str(page.next)))


def _meant(organization: Organization, wanted: MessageFilter, ids: Collection[UUID]) -> Collection[UUID]:
    messages = Message.objects.of(organization).filter(wanted.condition(), id__in=ids)
    return set(messages.values_list("id", flat=True))
