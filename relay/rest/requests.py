"""From the JSON of a request to the `Submission` that accept takes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from accounts.catalogue import Refused
from accounts.credentials import Credential
from domains.guarded_fetch import Answer, FetchFailed, fetch_files, read_url
from relay.models import Door
from relay.rest.plain_requests import read_plain
from relay.rest.serializers import SendEmailSerializer
from relay.rest.template_use import filled_in
from relay.submission.accept import Limits, Submission, check_size, size_limit
from relay.submission.header_writing import is_line
from relay.submission.media_types import UNKNOWN, guess_media_type, read_media_type
from relay.submission.mime import Attachment, Letter, build
from relay.submission.once import Once
from relay.submission.options import Options, is_idempotency_key

FETCH_WITHIN_S = 10.0  # all files of a request together
FETCHING_AT_ONCE = 4  # requests of this process: half of its threads stay free for others
FETCH_WAIT_S = 2.0

# Reading changes nothing in a serializer, and to make one anew costs more than all it does.
_SEND_EMAIL = SendEmailSerializer()
_fetching = threading.BoundedSemaphore(FETCHING_AT_ONCE)


def idempotency_key_of(meta: Mapping[str, Any]) -> str:
    """Empty where the request has none. Raises `Refused`: a key that is empty by accident must not pass as none."""
    key = meta.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not is_idempotency_key(key):
        raise Refused("invalid_idempotency_key")
    return key or ""


def submission_of(
    data: Any, credential: Credential, limits: Limits, *, client: str, once: Once | None = None
) -> Submission:
    """One email as `POST /api/v1/emails` takes it. Raises `Refused` and DRF's ValidationError, which name the field by a JSON
    pointer into `data`. Blocks where `waits_for_others`."""
    least = _least_octets(data)
    check_size(least, credential, limits)
    plain = read_plain(data)
    asked, template = filled_in(_SEND_EMAIL.run_validation(data) if plain is None else plain, credential)
    attachments = attachments_of(asked.get("attachments", ()), room=size_limit(credential, limits) - least)
    built = build(letter_of(asked, attachments))
    return Submission(
        credential=credential,
        door=Door.REST.value,
        protocol="HTTP",
        envelope_sender=built.sender,
        recipients=built.recipients,
        content=built.content,
        is_own=built.is_plain,
        client=client,
        template=template,
        options=options_of(asked, once.key if once else ""),
        fingerprint=once.fingerprint if once else b"",
    )


def letter_of(asked: Mapping[str, Any], attachments: tuple[Attachment, ...]) -> Letter:
    return Letter(
        from_=asked["from"],
        to=tuple(asked["to"]),
        subject=asked["subject"],
        text=asked.get("text"),
        html=asked.get("html"),
        cc=tuple(asked.get("cc", ())),
        bcc=tuple(asked.get("bcc", ())),
        reply_to=tuple(asked.get("reply_to", ())),
        headers=asked.get("headers", {}),
        attachments=attachments,
    )


def options_of(asked: Mapping[str, Any], idempotency_key: str) -> Options:
    seconds = asked.get("expires_in")
    return Options(
        idempotency_key=idempotency_key,
        tags=tuple(f"{tag['name']}:{tag['value']}" for tag in asked.get("tags", ())),
        metadata=asked.get("metadata", {}),
        expires=None if seconds is None else timedelta(seconds=seconds),
        send_at=asked.get("scheduled_at"),
        stream=asked.get("stream", ""),
    )


# ---- Attachments -----------------------------------------------------------------------------------------------------


def attachments_of(asked: Sequence[Mapping[str, Any]], *, room: int) -> tuple[Attachment, ...]:
    """Files that are given by `path` are fetched, in `room` octets of the message. Raises `Refused`."""
    remote = [number for number, attachment in enumerate(asked) if "path" in attachment]
    files = dict(zip(remote, _fetch([asked[number]["path"] for number in remote], room), strict=True))
    failed = {number: file for number, file in files.items() if isinstance(file, FetchFailed)}
    if failed:
        number, problem = next(iter(failed.items()))
        errors = [{"pointer": f"/attachments/{n}/path", "detail": f"Not fetched: {why}."} for n, why in failed.items()]
        raise Refused("attachment_not_fetched", errors=errors, number=number, problem=problem)
    return tuple(_attachment(attachment, files.get(number)) for number, attachment in enumerate(asked))


def _fetch(paths: list[str], room: int) -> list[Answer | FetchFailed]:
    if not paths:
        return []
    if not _fetching.acquire(timeout=FETCH_WAIT_S):
        raise Refused("temporarily_unavailable")
    try:
        return fetch_files(
            paths, most_octets=room * 57 // 78, within_s=FETCH_WITHIN_S
        )  # a line of base64 has 78 octets
    finally:
        _fetching.release()


def _attachment(asked: Mapping[str, Any], file: Answer | FetchFailed | None) -> Attachment:
    filename, content_type = asked.get("filename", ""), asked.get("content_type", "")
    if not isinstance(file, Answer):
        return Attachment(asked["content"], filename, content_type, asked.get("content_id", ""))
    if not filename:
        named = read_url(asked["path"]).filename[-255:].strip()
        filename = named if named and is_line(named) else "attachment"
    if (
        not content_type
        and guess_media_type(filename).name == UNKNOWN
        and file.media_type.partition("/")[0] != "message"
    ):
        told = file.header.get("content-type", "")
        content_type = told if read_media_type(told) else ""
    return Attachment(file.body, filename, content_type, asked.get("content_id", ""))


def waits_for_others(data: Any) -> bool:
    """Whether there is something to fetch, or a template to be filled in. No field needs to be valid."""
    return names_files(data) or (isinstance(data, dict) and bool(data.get("template")))


def names_files(data: Any) -> bool:
    """Whether there is something to fetch. No field needs to be valid."""
    attachments = data.get("attachments") if isinstance(data, dict) else None
    return isinstance(attachments, list) and any(isinstance(one, dict) and one.get("path") for one in attachments)


def _least_octets(data: Any) -> int:
    """What the message will have at least, told without reading it. No field needs to be valid."""
    if not isinstance(data, dict):
        return 0
    attachments = data.get("attachments")
    contents = (
        [one.get("content") for one in attachments if isinstance(one, dict)] if isinstance(attachments, list) else []
    )
    texts = [value for value in (data.get("text"), data.get("html"), *contents) if isinstance(value, str)]
    numbers = [value for value in contents if isinstance(value, list)]
    return sum(map(len, texts)) + sum(map(len, numbers)) * 4 // 3
