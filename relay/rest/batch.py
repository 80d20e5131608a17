"""Up to a hundred emails in one request: `POST /api/v1/emails/batch`."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest.access import credential_of
from relay.rest.emails import IDEMPOTENCY_KEY, SENT_EXAMPLE, sent_response
from relay.rest.sending import VALIDATION, Order, send_batch
from relay.rest.serializers import SendEmailSerializer, SentBatchSerializer
from relay.submission.desk import shared_desk

EXAMPLE = {
    "from": "Acme <hello@yourdomain.com>",
    "to": ["bob@example.com"],
    "subject": "Your receipt",
    "html": "<p>Thank you for your order.</p>",
    "text": "Thank you for your order.",
}


class BatchView(APIView):
    @extend_schema(
        operation_id="emails_batch",
        parameters=[
            IDEMPOTENCY_KEY,
            OpenApiParameter(
                VALIDATION, str, OpenApiParameter.HEADER, enum=["strict", "permissive"], default="strict",
                description="strict: one bad email refuses all. permissive: the good ones are sent, the bad ones told.",
            ),
        ],
        request=SendEmailSerializer(many=True),
        responses={200: SentBatchSerializer},
        examples=[
            # drf-spectacular makes a list of it.
            OpenApiExample("A batch", EXAMPLE, request_only=True),
            OpenApiExample(
                "All accepted", response_only=True,
                value={"data": [SENT_EXAMPLE, {"id": "019b6d2c-1f63-7e51-b2c4-5d2f8a7e4b11"}]},
            ),
            OpenApiExample(
                "All accepted, a recipient is suppressed", response_only=True,
                value={"data": [SENT_EXAMPLE | {"suppressed": ["bob@example.com"]}]},
            ),
            OpenApiExample(
                "Permissive, the second one is bad", response_only=True,
                value={
                    "data": [SENT_EXAMPLE],
                    "errors": [{"index": 1, "message": "eve is not a valid address.", "code": "invalid_recipient"}],
                },
            ),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Send a batch of emails. Up to 100, stored together. `data` has the ids in the order of the request."""
        order = Order.of(credential_of(request), request.META, is_batch=True)
        data = request.data
        return sent_response(shared_desk().run(lambda desk: send_batch(order, data, desk, is_light=False)))
