"""What `POST /api/v1/emails` and `/emails/batch` do, once it is known who asks and what: for the views and for the door.

All of it runs on the desk's loop. What takes long (large requests) or waits for others (files to be fetched) is done in
threads, so that the loop never stands still for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rest_framework.exceptions import ValidationError

from accounts.catalogue import Refused
from accounts.client import client_address
from accounts.credentials import Credential
from accounts.fingerprints import request_fingerprint
from accounts.rest.problems import invalid_fields
from relay.rest.requests import idempotency_key_of, names_files, submission_of, waits_for_others
from relay.submission.accept import Accepted, DomainFact, Draft, Limits, Parcel, examine
from relay.submission.desk import Desk
from relay.submission.once import Once, by_batch_key, by_key

LIGHT_OCTETS = 64 * 1024  # of a request that is read and built on the loop, in a millisecond or less
THREADS = 8  # for the others

MOST_EMAILS = 100  # of a batch
MOST_RECIPIENTS = 5000  # of all its emails together
MOST_OCTETS = 32 * 1024 * 1024  # of all its messages together; they are in memory at once
VALIDATION = "x-batch-validation"

T = TypeVar("T")
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="letters")


@dataclass(frozen=True, slots=True)
class Order:
    """What a request says beside its body."""

    credential: Credential
    idempotency_key: str
    client: str
    is_permissive: bool = False  # of a batch

    @classmethod
    def of(cls, credential: Credential, meta: Mapping[str, Any], *, is_batch: bool = False) -> Order:
        """`meta` as WSGI has it. Raises `Refused` for all that can be told before the body is read."""
        credential.check_may_send()
        key = idempotency_key_of(meta)
        return cls(credential, key, client_address(meta), is_batch and _is_permissive(meta))


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer to a request."""

    status: int
    body: Any
    is_repeat: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Idempotent-Replayed": "true"} if self.is_repeat else {}


async def send_email(order: Order, data: Any, desk: Desk, *, is_light: bool) -> Sent:
    """Durable when it returns. Raises `Refused` and DRF's ValidationError."""
    credential, key = order.credential, order.idempotency_key
    once = by_key(key, await _do(is_light, lambda: request_fingerprint(data))) if key else None
    receipt = None
    if once and names_files(data):  # they may be gone by now
        receipt = await desk.first_answer(credential, once)
    if receipt is None:
        try:
            draft = await _do(is_light and not waits_for_others(data), lambda: _draft(data, order, desk.limits, once))
        except (Refused, ValidationError):
            # A repeat gets the first answer even where it would be refused by now.
            receipt = await desk.first_answer(credential, once) if once else None
            if receipt is None:
                raise
        else:
            receipt = await desk.submit_draft(draft)
    body: dict[str, Any] = {"id": str(receipt.message_id)}
    if suppressed := receipt.suppressed:
        body["suppressed"] = suppressed
    return Sent(202, body, receipt.is_repeat)


async def send_batch(order: Order, data: Any, desk: Desk, *, is_light: bool) -> Sent:
    """The same for up to a hundred emails, stored together in one transaction."""
    key = order.idempotency_key
    once = by_batch_key(key, await _do(is_light, lambda: request_fingerprint(data))) if key else None
    try:
        batch = await _read(data, order, desk, is_light=is_light)
        if batch.refused and not order.is_permissive:
            raise batch.refusal()
    except Refused:
        # A repeat gets the first answer even where it would be refused by now.
        receipt = await desk.first_answer(order.credential, once) if once else None
        if receipt is None:
            raise
        return Sent(200, receipt.answer, is_repeat=True)
    answer = batch.answer(is_permissive=order.is_permissive)
    if batch.accepted:
        receipt = await desk.submit_together(Parcel(tuple(batch.accepted), once, answer))
    else:  # nothing is stored, so no key is taken
        receipt = await desk.first_answer(order.credential, once) if once else None
    if receipt is not None and receipt.is_repeat:
        return Sent(200, receipt.answer, is_repeat=True)
    return Sent(200, receipt.answer if receipt and receipt.answer else answer)


def _draft(data: Any, order: Order, limits: Limits, once: Once | None = None) -> Draft:
    return examine(submission_of(data, order.credential, limits, client=order.client, once=once), limits)


async def _do(is_light: bool, work: Callable[[], T]) -> T:
    return work() if is_light else await in_thread(work)


async def in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, work)


# ---- Batches ---------------------------------------------------------------------------------------------------------


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


def _is_permissive(meta: Mapping[str, Any]) -> bool:
    mode = meta.get("HTTP_X_BATCH_VALIDATION", "strict")
    if mode not in ("strict", "permissive"):
        raise Refused("invalid_request_header", header=VALIDATION, problem="write strict or permissive")
    return bool(mode == "permissive")


async def _read(data: object, order: Order, desk: Desk, *, is_light: bool) -> _Batch:
    """Raises `Refused` for what concerns the batch as a whole, and for trouble of ours."""
    batch = _Batch()
    facts: dict[str, DomainFact | None] = {}
    recipients = octets = 0
    for index, item in enumerate(_items(data)):
        try:
            is_quick = is_light and not waits_for_others(item)
            draft = await _do(is_quick, lambda item=item: _draft_of_batch(item, order, desk.limits))  # type: ignore[misc]
            accepted = await desk.prepare(draft, facts)
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
        await asyncio.sleep(0)  # others have their turn after each email
    return batch


def _items(data: object) -> Sequence[object]:
    if not isinstance(data, list) or not data:
        problem = "the body is to be a list of emails"
        raise Refused("validation_failed", problem=problem, errors=[{"pointer": "", "detail": problem}])
    if len(data) > MOST_EMAILS:
        raise Refused("batch_too_large", limit=f"{MOST_EMAILS} emails")
    return data


def _draft_of_batch(item: object, order: Order, limits: Limits) -> Draft:
    if names_files(item):  # a hundred times the time that one request may take to fetch
        raise Refused(
            "validation_failed", pointer="/attachments", problem="files by path are possible in single emails only"
        )
    try:
        return _draft(item, order, limits)
    except ValidationError as error:
        raise invalid_fields(error) from None


def _errors(index: int, refused: Refused) -> list[dict[str, str]]:
    """A refused email's errors as the batch's: their JSON pointers begin with its index."""
    errors = refused.errors or [{"pointer": "", "detail": refused.detail}]
    return [error | {"pointer": f"/{index}{error['pointer']}", "code": refused.code} for error in errors]
