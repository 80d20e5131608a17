"""Up to a hundred emails in one request: `POST /api/v1/emails/batch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.catalogue import Refused
from accounts.credentials import Credential
from accounts.fingerprints import request_fingerprint
from accounts.rest.access import credential_of
from accounts.rest.problems import invalid_fields
from relay.rest.emails import IDEMPOTENCY_KEY, SENT_EXAMPLE, sent_response
from relay.rest.requests import idempotency_key_of, names_files, submission_of
from relay.rest.serializers import SendEmailSerializer, SentBatchSerializer
from relay.submission.accept import Accepted, DomainFact, Parcel, Submission
from relay.submission.desk import ThreadedDesk, shared_desk
from relay.submission.once import by_batch_key

EXAMPLE = {
    "from": "Acme <hello@yourdomain.com>",
    "to": ["bob@example.com"],
    "subject": "Your receipt",
    "html": "<p>Thank you for your order.</p>",
    "text": "Thank you for your order.",
}
MOST_EMAILS = 100
MOST_RECIPIENTS = 5000  # of all emails together
MOST_OCTETS = 32 * 1024 * 1024  # of all messages together; they are in memory at once
VALIDATION = "x-batch-validation"


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
                "Permissive, the second one is bad", response_only=True,
                value={
                    "data": [SENT_EXAMPLE],
                    "errors": [{"index": 1, "message": "eve is not a valid address.", "code": "invalid_recipient"}],
                },
            ),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Send up to 100 emails, stored together in one transaction. `data` has the ids in the order of the request."""
        credential = credential_of(request)
        credential.check_may_send()
        key, is_permissive = idempotency_key_of(request), _is_permissive(request)
        once = by_batch_key(key, request_fingerprint(request.data)) if key else None
        desk = shared_desk()
        try:
            batch = _read(request.data, credential, desk, client=request.META.get("REMOTE_ADDR", ""))
            if batch.refused and not is_permissive:
                raise batch.refusal()
        except Refused:
            # A repeat gets the first answer even where it would be refused by now.
            receipt = desk.first_answer(credential, once) if once else None
            if receipt is None:
                raise
            return sent_response(receipt.answer, is_repeat=True)
        answer = batch.answer(is_permissive=is_permissive)
        if batch.accepted:
            receipt = desk.submit_together(Parcel(tuple(batch.accepted), once, answer if once else None))
        else:  # nothing is stored, so no key is taken
            receipt = desk.first_answer(credential, once) if once else None
        if receipt is not None and receipt.is_repeat:
            return sent_response(receipt.answer, is_repeat=True)
        return sent_response(answer, is_repeat=False)


@dataclass(frozen=True, slots=True)
class _Batch:
    accepted: list[Accepted] = field(default_factory=list)
    refused: dict[int, Refused] = field(default_factory=dict)  # by index

    def answer(self, *, is_permissive: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"data": [{"id": str(message.id)} for message in self.accepted]}
        if is_permissive:
            answer["errors"] = [
                {"index": index, "message": refused.detail, "code": refused.code}
                for index, refused in self.refused.items()
            ]
        return answer

    def refusal(self) -> Refused:
        """Of the whole batch: the first bad email's, with the errors of all."""
        index, first = next(iter(self.refused.items()))
        errors = [error for number, refused in self.refused.items() for error in _errors(number, refused)]
        return Refused(first.code, detail=f"Email {index} of the batch: {first.detail}", errors=errors)


def _is_permissive(request: Request) -> bool:
    mode = request.headers.get(VALIDATION, "strict")
    if mode not in ("strict", "permissive"):
        raise Refused("invalid_request_header", header=VALIDATION, problem="write strict or permissive")
    return mode == "permissive"


def _read(data: object, credential: Credential, desk: ThreadedDesk, *, client: str) -> _Batch:
    """Raises `Refused` for what concerns the batch as a whole, and for trouble of ours."""
    batch = _Batch()
    facts: dict[str, DomainFact | None] = {}
    recipients = octets = 0
    for index, item in enumerate(_items(data)):
        try:
            accepted = desk.prepare(_submission(item, credential, client), facts)
        except Refused as refused:
            if refused.refusal.http >= 500:
                raise
            batch.refused[index] = refused
            continue
        recipients, octets = recipients + len(accepted.recipients), octets + len(accepted.content)
        if recipients > MOST_RECIPIENTS:
            raise Refused("batch_too_large", limit=f"{MOST_RECIPIENTS} recipients")
        if octets > MOST_OCTETS:
            raise Refused("batch_too_large", limit=f"{MOST_OCTETS} octets of messages")
        batch.accepted.append(accepted)
    return batch


def _items(data: object) -> Sequence[object]:
    if not isinstance(data, list) or not data:
        problem = "the body is to be a list of emails"
        raise Refused("validation_failed", problem=problem, errors=[{"pointer": "", "detail": problem}])
    if len(data) > MOST_EMAILS:
        raise Refused("batch_too_large", limit=f"{MOST_EMAILS} emails")
    return data


def _submission(item: object, credential: Credential, client: str) -> Submission:
    if names_files(item):  # a hundred times the time that one request may take to fetch
        raise Refused(
            "validation_failed", pointer="/attachments", problem="files by path are possible in single emails only"
        )
    try:
        return submission_of(item, credential, client=client)
    except ValidationError as error:
        raise invalid_fields(error) from None


def _errors(index: int, refused: Refused) -> list[dict[str, str]]:
    """A refused email's errors as the batch's: their JSON pointers begin with its index."""
    errors = refused.errors or [{"pointer": "", "detail": refused.detail}]
    return [error | {"pointer": f"/{index}{error['pointer']}", "code": refused.code} for error in errors]
