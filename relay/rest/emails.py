"""The REST door: `/api/v1/emails`."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest.access import credential_of
from relay.rest.actions import RescheduleMixin
from relay.rest.reading import FindEmailsMixin, ReadEmailMixin
from relay.rest.sending import Order, Sent, send_email
from relay.rest.serializers import SendEmailSerializer, SentEmailSerializer
from relay.submission.desk import shared_desk

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
    OpenApiExample(
        "A newsletter, which its recipients can unsubscribe from",
        request_only=True,
        value={
            "from": "Ada <ada@example.com>",
            "to": ["Bob <bob@example.net>"],
            "subject": "What is new in March",
            "text": "Hello Bob,",
            "stream": "news",
        },
    ),
    OpenApiExample("Accepted", response_only=True, value=SENT_EXAMPLE),
    OpenApiExample(
        "Accepted, one recipient is suppressed",
        response_only=True,
        value=SENT_EXAMPLE | {"suppressed": ["gone@example.net"]},
    ),
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
        order = Order.of(credential_of(request), request.META)
        data = request.data
        return sent_response(shared_desk().run(lambda desk: send_email(order, data, desk, is_light=False)))


def sent_response(sent: Sent) -> Response:
    return Response(sent.body, status=sent.status, headers=sent.headers)


class EmailView(ReadEmailMixin, RescheduleMixin, APIView):
    """One email."""
