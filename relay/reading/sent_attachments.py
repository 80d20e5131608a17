"""The files in a mail as it was accepted. Plain functions over octets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message as Part
from uuid import UUID, uuid5

from relay.submission.media_types import UNKNOWN, read_media_type

_CRLF = policy.compat32.clone(linesep="\r\n")


@dataclass(frozen=True, slots=True)
class SentAttachment:
    id: UUID
    filename: str | None
    content_type: str
    content_disposition: str
    content_id: str | None
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)


def sent_attachments(message_id: UUID, raw: bytes) -> list[SentAttachment]:
    """Every part that is a file rather than what is read, whichever door it came by."""
    # The old interface of Python's parser: it takes any header as it is, where the new one raises on some.
    leaves = _leaves(message_from_bytes(raw, policy=policy.compat32))
    return [_read(message_id, number, part) for number, part in enumerate(leaves) if _is_file(part)]


def _leaves(part: Part) -> Iterator[Part]:
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for inner in part.get_payload():
            if isinstance(inner, Part):
                yield from _leaves(inner)
    else:
        yield part


def _is_file(part: Part) -> bool:
    is_text = part.get_content_type() in {"text/plain", "text/html"}
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None or not is_text


def _read(message_id: UUID, number: int, part: Part) -> SentAttachment:
    """The id tells the place in the message, so it is the same at each look."""
    filename, content_id = part.get_filename(), str(part.get("Content-ID", "")).strip().strip("<>")
    forwarded = part.get_payload(0) if part.is_multipart() else None
    content = forwarded.as_bytes(policy=_CRLF) if isinstance(forwarded, Part) else part.get_payload(decode=True)
    media_type = read_media_type(part.get_content_type())
    return SentAttachment(
        id=uuid5(message_id, str(number)),
        filename=_decoded(filename) if filename else None,
        content_type=media_type.name if media_type else UNKNOWN,
        content_disposition="inline" if part.get_content_disposition() == "inline" else "attachment",
        content_id=content_id or None,
        content=content if isinstance(content, bytes) else b"",
    )


def _decoded(text: str) -> str:
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, UnicodeError, ValueError):
        return text
