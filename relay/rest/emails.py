"""The REST door: `/api/v1/emails`."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.fingerprints import request_fingerprint
from accounts.rest.access import credential_of, reading_organization
from relay.models import Door
from relay.rest.serializers import EmailSerializer, SendEmailSerializer, SentEmailSerializer
from relay.selectors import message_content, message_detail
from relay.submission.accept import Submission
from relay.submission.desk import shared_desk
from relay.submission.mime import build, parse_mailbox
from relay.submission.options import Options, check_idempotency_key


class EmailsView(APIView):
    @extend_schema(operation_id="emails_send", request=SendEmailSerializer, responses={202: SentEmailSerializer})
    def post(self, request: Request) -> Response:
        """Send an email. 202 means stored durably and on its way."""
        credential = credential_of(request)
        credential.check_may_send()
        serializer = SendEmailSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        letter = serializer.letter()
        key = request.headers.get("Idempotency-Key", "")
        receipt = shared_desk().submit(
            Submission(
                credential=credential,
                door=Door.REST.value,
                protocol="HTTP",
                envelope_sender=parse_mailbox(letter.from_, refusal="invalid_sender").addr_spec,
                recipients=letter.recipients,
                content=build(letter),
                client=request.META.get("REMOTE_ADDR", ""),
                options=Options(
                    idempotency_key=check_idempotency_key(key, "Idempotency-Key") if key else "",
                    tags=serializer.tag_texts(),
                    metadata=serializer.validated_data.get("metadata", {}),
                    expires=serializer.expires(),
                ),
                fingerprint=request_fingerprint(request.data),
            )
        )
        response = Response({"id": receipt.message_id}, status=status.HTTP_202_ACCEPTED)
        if receipt.is_repeat:
            response["Idempotent-Replayed"] = "true"
        return response


class EmailView(APIView):
    @extend_schema(operation_id="emails_get", responses=EmailSerializer)
    def get(self, request: Request, message_id: UUID) -> Response:
        """An email with the state and the timeline of each recipient."""
        organization = reading_organization(request)
        found = message_detail(organization, message_id)
        if found is None:
            raise Refused("not_found", thing="email")
        raw = message_content(organization, message_id)
        return Response(EmailSerializer(EmailSerializer.shape(found, raw)).data)
