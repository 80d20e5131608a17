"""What programs do with an email in the queue: `/api/v1/emails/<id>/retry`, `/hold`, `/release`, `/cancel`, and PATCH."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.audit import actor_of
from accounts.catalogue import Refused
from accounts.models import Organization
from accounts.rest.access import credential_of
from accounts.rest.openapi import may_refuse
from relay.acting import actions
from relay.acting.actions import Acted, Action
from relay.models import Recipient
from relay.reading.selectors import summary_of
from relay.rest import answers
from relay.rest.access import visible_message
from relay.rest.answers import LAST_EVENTS, ActedEmailSerializer, EmailSerializer
from relay.rest.serializers import RescheduledEmailSerializer, RescheduleSerializer
from relay.submission.send_at import scheduled_for

ANSWER = PolymorphicProxySerializer(
    component_name="ActedOnEmail",
    serializers=[EmailSerializer, ActedEmailSerializer],
    resource_type_field_name=None,
)


class ActionView(APIView):
    def act(self, request: Request, message_id: UUID, action: Action) -> Response:
        """On all recipients whom it applies to. The same request once more is no error. Raises `Refused`."""
        credential = credential_of(request)
        organization = Organization(pk=credential.organization_id)
        credential.check_may("send")
        message = visible_message(credential, message_id)
        acted = actions.act_on_message(action, organization, message.pk, by=actor_of(request))
        recipients = actions.recipients_of(organization, message.pk)
        if not acted.changed and not actions.is_done_already(action, recipients):
            raise _why_not(action.value, acted, recipients)
        if not credential.scopes & {"read", "full"}:  # a key that may only send must not learn what was written
            state = summary_of(set(recipients.values_list("state", flat=True)))
            return Response(
                ActedEmailSerializer({"id": message.pk, "last_event": LAST_EVENTS[state], "state": state}).data
            )
        return Response(answers.email(organization, message))


class RetryView(ActionView):
    @may_refuse("nothing_to_act_on", "being_delivered")
    @extend_schema(operation_id="emails_retry", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Retry an email. Now, and not only when the next try is due. Keys that may only send get the short answer."""
        return self.act(request, message_id, Action.RETRY)


class HoldView(ActionView):
    @may_refuse("nothing_to_act_on", "being_delivered")
    @extend_schema(operation_id="emails_hold", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Hold an email. Nothing is tried until it is released. What is still held when its time is over ends as expired."""
        return self.act(request, message_id, Action.HOLD)


class ReleaseView(ActionView):
    @may_refuse("nothing_to_act_on", "being_delivered")
    @extend_schema(operation_id="emails_release", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Release an email. What was held goes on."""
        return self.act(request, message_id, Action.RELEASE)


class CancelView(ActionView):
    @may_refuse("nothing_to_act_on", "being_delivered")
    @extend_schema(operation_id="emails_cancel", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Cancel an email. Whoever waits for it, for its time too, does not get it. What is delivered cannot be called back."""
        return self.act(request, message_id, Action.CANCEL)


class RescheduleMixin:
    """PATCH of an email's own address."""

    @extend_schema(
        operation_id="emails_reschedule",
        request=RescheduleSerializer,
        responses=RescheduledEmailSerializer,
        examples=[
            OpenApiExample("A time", {"scheduled_at": "2026-11-25T10:00:00Z"}, request_only=True),
            OpenApiExample("In words", {"scheduled_at": "in 1 hour"}, request_only=True),
            OpenApiExample(
                "Rescheduled", {"object": "email", "id": "019ab0e8-7a63-7c1e-8f3d-5b7f0c2d9e41"}, response_only=True
            ),
        ],
    )
    def patch(self, request: Request, message_id: UUID) -> Response:
        """Reschedule an email. What is being delivered, or was sent already, is not touched."""
        credential = credential_of(request)
        organization = Organization(pk=credential.organization_id)
        credential.check_may("send")
        message = visible_message(credential, message_id)
        serializer = RescheduleSerializer(data=request.data, context={"id": message_id})
        serializer.is_valid(raise_exception=True)
        send_at = scheduled_for(serializer.validated_data["scheduled_at"], timezone.now())
        acted = actions.reschedule(organization, message.pk, send_at, by=actor_of(request))
        if not acted.changed:
            raise _why_not("reschedule", acted, actions.recipients_of(organization, message.pk))
        return Response(RescheduledEmailSerializer({"object": "email", "id": message.pk}).data)


def _why_not(action: str, acted: Acted, recipients: QuerySet[Recipient]) -> Refused:
    if acted.busy:
        return Refused("being_delivered", action=action)
    states = Counter(recipients.values_list("state", flat=True))
    told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return Refused("nothing_to_act_on", action=action, states=told)
