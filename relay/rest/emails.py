"""The REST door: `/api/v1/emails`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.rest.access import credential_of, reading_organization
from relay.rest.requests import idempotency_key_of, submission_of
from relay.rest.serializers import EmailSerializer, SendEmailSerializer, SentEmailSerializer
from relay.selectors import message_content, message_detail
from relay.submission.accept import Submission
from relay.submission.desk import shared_desk
from relay.submission.once import Once, by_key, request_fingerprint

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$"}, OpenApiParameter.HEADER,
    description="1 to 256 visible ASCII characters. The same key and body within 24 hours get the first answer again, with "
    "the header `Idempotent-Replayed: true`, and nothing is sent twice.",
)  # fmt: skip
EXAMPLE = {
    "from": "Acme <hello@yourdomain.com>",
    "to": ["bob@example.com"],
    "subject": "Your receipt",
    "html": "<p>Thank you for your order.</p>",
    "text": "Thank you for your order.",
}
SENT_EXAMPLE = {"id": "019b6d2c-1f63-7d29-8a3e-0f0a6c1d9f10"}


class EmailsView(APIView):
    @extend_schema(
        operation_id="emails_send",
        parameters=[IDEMPOTENCY_KEY],
        request=SendEmailSerializer,
        responses={202: SentEmailSerializer},
        examples=[
            OpenApiExample("An email", EXAMPLE, request_only=True),
            OpenApiExample("Accepted", SENT_EXAMPLE, response_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Send an email. 202 means stored durably and on its way."""
        credential = credential_of(request)
        credential.check_may_send()
        key = idempotency_key_of(request)
        once = by_key(key, request_fingerprint(request.data)) if key else None
        try:
            submission = _submission(request, credential, once)
        except (Refused, ValidationError):
            # A repeat gets the first answer even where it would be refused by now.
            receipt = shared_desk().first_answer(credential, once) if once else None
            if receipt is None:
                raise
        else:
            receipt = shared_desk().submit(submission)
        answer = {"id": receipt.message_id}
        return sent_response(answer, is_repeat=receipt.is_repeat, status_code=status.HTTP_202_ACCEPTED)


def sent_response(answer: Any, *, is_repeat: bool, status_code: int = status.HTTP_200_OK) -> Response:
    return Response(answer, status=status_code, headers={"Idempotent-Replayed": "true"} if is_repeat else None)


def _submission(request: Request, credential: Credential, once: Once | None) -> Submission:
    """Raises `Refused` and DRF's ValidationError."""
    serializer = SendEmailSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    return submission_of(
        serializer.validated_data,
        credential,
        client=request.META.get("REMOTE_ADDR", ""),
        idempotency_key=once.key if once else "",
        fingerprint=once.fingerprint if once else b"",
    )


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
