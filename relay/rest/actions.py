"""What programs do with an email in the queue: `/api/v1/emails/<id>/retry`, `/hold`, `/release`, `/cancel`."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.models import ApiKey, Organization
from accounts.rest.access import credential_of
from relay import actions
from relay.actions import Action
from relay.rest import answers
from relay.rest.access import visible_message
from relay.rest.answers import ActedEmailSerializer, EmailSerializer
from relay.selectors import summary_of

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
        acted = actions.act_on_message(action, organization, message.pk, by=_name_of(credential))
        recipients = actions.recipients_of(organization, message.pk)
        if not acted.changed and not actions.is_done_already(action, recipients):
            if acted.busy:
                raise Refused("being_delivered", action=action.value)
            states = Counter(recipients.values_list("state", flat=True))
            told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
            raise Refused("nothing_to_act_on", action=action.value, states=told)
        if not credential.scopes & {"read", "full"}:  # a key that may only send must not learn what was written
            state = summary_of(set(recipients.values_list("state", flat=True)))
            return Response(ActedEmailSerializer({"id": message.pk, "last_event": state}).data)
        return Response(answers.email(organization, message))


class RetryView(ActionView):
    @extend_schema(operation_id="emails_retry", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Try now, and not only when the next try is due. Keys that may only send get the short answer."""
        return self.act(request, message_id, Action.RETRY)


class HoldView(ActionView):
    @extend_schema(operation_id="emails_hold", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Try nothing until it is released. What is still held when its time is over ends as expired."""
        return self.act(request, message_id, Action.HOLD)


class ReleaseView(ActionView):
    @extend_schema(operation_id="emails_release", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Go on with what was held."""
        return self.act(request, message_id, Action.RELEASE)


class CancelView(ActionView):
    @extend_schema(operation_id="emails_cancel", request=None, responses=ANSWER)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Never deliver to the recipients that still wait. What is delivered already cannot be called back."""
        return self.act(request, message_id, Action.CANCEL)


def _name_of(credential: Credential) -> str:
    if credential.api_key_id is None:
        return "API key"
    key = ApiKey.objects.filter(organization_id=credential.organization_id, pk=credential.api_key_id).first()
    return f"API key {key.name}" if key else "API key"
