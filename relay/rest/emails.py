"""The REST door: `/api/v1/emails`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest.access import credential_of
from relay.models import Door
from relay.rest.reading import FindEmailsMixin, ReadEmailMixin
from relay.rest.serializers import SendEmailSerializer, SentEmailSerializer
from relay.submission.accept import Submission
from relay.submission.desk import shared_desk
from relay.submission.mime import build, parse_mailbox
from relay.submission.once import request_fingerprint
from relay.submission.options import Options, check_idempotency_key


class EmailsView(FindEmailsMixin, APIView):
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


class EmailView(ReadEmailMixin, APIView):
    """One email."""
