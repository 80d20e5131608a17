"""A message submitted with `X-PlugSend-Template`: its subject and body come from the template. No I/O."""

from __future__ import annotations

import re
from dataclasses import replace

from accounts.catalogue import Refused
from relay.submission.accept import Draft, Limits, check_size
from relay.submission.headers import Field, Parsed, parse
from relay.submission.mime import Letter, build
from relay.templating.published import FilledIn

_BODY_FIELDS = (b"content-", b"mime-version")
_MEDIA_TYPE = re.compile(rb"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", re.I)
_REPLACEABLE = re.compile(rb"text/.+|multipart/alternative")


def with_template(draft: Draft, filled: FilledIn, limits: Limits) -> Draft:
    """The draft with the template's subject (where it has one) and body; its other header fields stay. Raises `Refused`."""
    parsed = draft.parsed
    _check_body(parsed)
    made = parse(_built(filled))
    subjects = [field for field in made.fields if field.name == b"subject"] if filled.subject else []
    kept = [field for field in parsed.fields if not _is_replaced(field, has_subject=bool(subjects))]
    if filled.reply_to and parsed.first(b"reply-to") is None:
        subjects += [field for field in made.fields if field.name == b"reply-to"]
    body_fields = [field for field in made.fields if field.name.startswith(_BODY_FIELDS)]
    whole = Parsed((*kept, *subjects, *body_fields), made.body)
    octets = sum(len(field.raw) for field in whole.fields) + len(whole.body)
    check_size(octets, draft.submission.credential, limits)
    return replace(draft, parsed=whole, submission=replace(draft.submission, template=filled.use))


def _built(filled: FilledIn) -> bytes:
    # Of these addresses none is used: the message has its own.
    return build(
        Letter(
            from_="template@here.test",
            to=(),
            subject=filled.subject,
            text=filled.text,
            html=filled.html,
            reply_to=filled.reply_to,
        )
    ).content


def _is_replaced(field: Field, *, has_subject: bool) -> bool:
    return field.name.startswith(_BODY_FIELDS) or (has_subject and field.name == b"subject")


def _check_body(parsed: Parsed) -> None:
    """What would be lost with the body is told, not dropped."""
    field = parsed.first(b"content-type")
    if field is None:
        return
    found = _MEDIA_TYPE.match(field.raw.partition(b":")[2].replace(b"\r\n", b"").strip())
    kind = found.group().lower() if found else b"text/plain"  # RFC 2045, 5.2
    if not _REPLACEABLE.fullmatch(kind):
        raise Refused("template_body_expected", kind=kind.decode())
