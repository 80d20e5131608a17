"""The REST door: `/api/v1/emails`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.fingerprints import request_fingerprint
from accounts.rest.access import credential_of
from relay.rest.actions import RescheduleMixin
from relay.rest.reading import FindEmailsMixin, ReadEmailMixin
from relay.rest.requests import idempotency_key_of, names_files, submission_of
from relay.rest.serializers import SendEmailSerializer, SentEmailSerializer
from relay.submission.desk import shared_desk
from relay.submission.once import by_key

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$"}, OpenApiParameter.HEADER,
    description="1 to 256 visible ASCII characters. The same key and body within 24 hours get the first answer again, with "
    "the header `Idempotent-Replayed: true`, and nothing is sent twice.",
)  # fmt: skip
SENT_EXAMPLE = {"id": "019b6d2c-1f63-7d29-8a3e-0f0a6c1d9f10"}
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
    OpenApiExample("Accepted", response_only=True, value=SENT_EXAMPLE),
]


class EmailsView(FindEmailsMixin, APIView):
    @extend_schema(
        operation_id="emails_send",
        parameters=[IDEMPOTENCY_KEY],
        request=SendEmailSerializer,
        responses={202: SentEmailSerializer},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Send an email. 202 means stored durably and on its way."""
        credential = credential_of(request)
        credential.check_may_send()
        key, data, desk = idempotency_key_of(request), request.data, shared_desk()
        once = by_key(key, request_fingerprint(data)) if key else None
        receipt = None
        if once and names_files(data):  # they may be gone by now
            receipt = desk.first_answer(credential, once)
        if receipt is None:
            try:
                submission = submission_of(data, credential, client=request.META.get("REMOTE_ADDR", ""), once=once)
            except (Refused, ValidationError):
                # A repeat gets the first answer even where it would be refused by now.
                receipt = desk.first_answer(credential, once) if once else None
                if receipt is None:
                    raise
            else:
                receipt = desk.submit(submission)
        answer = {"id": receipt.message_id}
        return sent_response(answer, is_repeat=receipt.is_repeat, status_code=status.HTTP_202_ACCEPTED)


def sent_response(answer: Any, *, is_repeat: bool, status_code: int = status.HTTP_200_OK) -> Response:
    return Response(answer, status=status_code, headers={"Idempotent-Replayed": "true"} if is_repeat else None)


class EmailView(ReadEmailMixin, RescheduleMixin, APIView):
    """One email."""
