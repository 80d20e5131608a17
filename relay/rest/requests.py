"""From a request's checked data to what the desk takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rest_framework.request import Request

from accounts.catalogue import Refused
from accounts.credentials import Credential
from relay.models import Door
from relay.submission.accept import Submission
from relay.submission.mime import Letter, build, parse_mailbox
from relay.submission.options import Options, is_idempotency_key


def idempotency_key_of(request: Request) -> str:
    """Empty where the request has none. Raises `Refused`: a key that is empty by accident must not pass as none."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not is_idempotency_key(key):
        raise Refused("invalid_idempotency_key")
    return key or ""


def submission_of(
    data: Mapping[str, Any], credential: Credential, *, client: str, idempotency_key: str = "", fingerprint: bytes = b""
) -> Submission:
    """`data`: what `SendEmailSerializer` has checked. Raises `Refused`."""
    letter = letter_of(data)
    seconds = data.get("expires_in")
    return Submission(
        credential=credential,
        door=Door.REST.value,
        protocol="HTTP",
        envelope_sender=parse_mailbox(letter.from_, refusal="invalid_sender").addr_spec,
        recipients=letter.recipients,
        content=build(letter),
        client=client,
        options=Options(
            idempotency_key=idempotency_key,
            tags=tuple(f"{tag['name']}:{tag['value']}" for tag in data.get("tags", ())),
            metadata=data.get("metadata", {}),
            expires=None if seconds is None else timedelta(seconds=seconds),
        ),
        fingerprint=fingerprint,
    )


def letter_of(data: Mapping[str, Any]) -> Letter:
    return Letter(
        from_=data["from"],
        to=tuple(data["to"]),
        subject=data["subject"],
        text=data.get("text"),
        html=data.get("html"),
        cc=tuple(data.get("cc", ())),
        bcc=tuple(data.get("bcc", ())),
        reply_to=tuple(data.get("reply_to", ())),
        headers=data.get("headers", {}),
    )
