"""The REST door: `/api/v1/emails`."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.rest.access import credential_of, reading_organization
from relay.rest.requests import earlier_receipt, submission_of
from relay.rest.serializers import EmailSerializer, SendEmailSerializer, SentEmailSerializer
from relay.selectors import message_content, message_detail
from relay.submission.desk import shared_desk
from relay.submission.options import check_idempotency_key

EXAMPLES = [
    OpenApiExample(
        "Text and HTML with a file and a picture",
        request_only=True,
        value={
            "from": "Ada <ada@example.com>",
            "to": ["Bob <bob@example.net>"],
            "reply_to": "desk@example.com",
            "subject": "Your receipt",
            "text": "Thank you for your order.",
            "html": '<p><img src="cid:logo"> Thank you for your order.</p>',
            "attachments": [
                {"filename": "receipt.pdf", "content": "JVBERi0xLjcK"},
                {"filename": "logo.png", "path": "https://example.com/logo.png", "content_id": "logo"},
            ],
            "headers": {"X-Order": "4711"},
            "tags": [{"name": "kind", "value": "receipt"}],
        },
    ),
    OpenApiExample("Accepted", response_only=True, value={"id": "019a7c1e-5d2b-7c3a-9f10-2b7c8d9e0f11"}),
]


class EmailsView(APIView):
    @extend_schema(
        operation_id="emails_send", request=SendEmailSerializer, responses={202: SentEmailSerializer}, examples=EXAMPLES
    )
    def post(self, request: Request) -> Response:
        """Send an email. 202 means stored durably and on its way."""
        credential = credential_of(request)
        credential.check_may_send()
        key = request.headers.get("Idempotency-Key", "")
        key = check_idempotency_key(key, "Idempotency-Key") if key else ""
        client = request.META.get("REMOTE_ADDR", "")
        receipt = earlier_receipt(request.data, credential, key) or shared_desk().submit(
            submission_of(request.data, credential, client=client, idempotency_key=key)
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
