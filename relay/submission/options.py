"""REST's powers over SMTP: the `X-PlugSend-*` header fields, read and taken out before delivery. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.catalogue import Refused
from accounts.credentials import Credential
from domains.streams import NO_STREAM, STREAM_RULE, is_stream
from relay.delivery.retry import HORIZON
from relay.submission.headers import OPTION_PREFIX, Parsed
from relay.submission.send_at import KEYED_LATE, SLACK, read_send_at, scheduled_for

MOST_TAGS = 50
METADATA_KEYS = 50
METADATA_KEY_LENGTH = 100
METADATA_VALUE_LENGTH = 1000
SOONEST_EXPIRY = timedelta(seconds=60)
TAG_WORD = r"[A-Za-z0-9_-]{1,256}"

_KEY = re.compile(r"[!-~]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_TEMPLATE = re.compile(r"[!-~]{1,60}")
_TAG = re.compile(rf"({TAG_WORD})(?::({TAG_WORD}))?")


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """A template asked for by id or alias, with its variables."""

    reference: str
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """What a submission asks for beside being sent. A tag is `name` or `name:value`.

    `expires`: when to give up, as a time or counted from when it is to be sent; None: after the usual horizon.
    `send_at`: not before; None: at once. `stream`: the kind of mail that its recipients may unsubscribe from; empty: the
    credential's.
    """

    idempotency_key: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires: timedelta | datetime | None = None
    send_at: datetime | None = None
    stream: str = ""
    template: TemplateCall | None = None  # by which the desk is to fill in the message; REST's are filled in already

    def stream_of(self, credential: Credential) -> str:
        """Empty: none, and nobody can unsubscribe from it."""
        stream = self.stream or credential.stream
        return "" if stream == NO_STREAM else stream

    def scheduled_at(self, submitted_at: datetime) -> datetime | None:
        """None: at once. Raises `Refused` for a time in the past or too far ahead."""
        late = KEYED_LATE if self.idempotency_key else SLACK
        return None if self.send_at is None else scheduled_for(self.send_at, submitted_at, late=late)

    def expires_at(self, sent_at: datetime) -> datetime:
        """`sent_at`: when the first attempt is due. Raises `Refused` unless it is between a minute and the horizon away."""
        if self.expires is None:
            return sent_at + HORIZON
        if isinstance(self.expires, datetime):
            left, shown = self.expires - sent_at, f"at {self.expires.isoformat()}"
        else:
            left, shown = self.expires, f"after {self.expires.total_seconds():.0f} seconds"
        if not SOONEST_EXPIRY <= left <= HORIZON:
            raise Refused("expiry_out_of_range", value=shown)
        return (sent_at + left).astimezone(UTC)


def read_options(parsed: Parsed) -> Options:
    """Raises `Refused` for an option that is malformed, given twice, or unknown: a typo must not pass as silence."""
    given: dict[str, Any] = {}
    tags = []
    for found in parsed.fields:
        if not found.name.startswith(OPTION_PREFIX):
            continue
        option = found.name[len(OPTION_PREFIX) :].decode("ascii", "replace").title()
        if option == "Tag":
            tags.append(_tag(found.value))
        elif option not in _READERS:
            raise _malformed(option, "there is no such option")
        elif option in given:
            raise _malformed(option, "it stands in the message twice")
        else:
            given[option] = _READERS[option](found.value)
    if len(tags) > MOST_TAGS:
        raise _malformed("Tag", f"at most {MOST_TAGS} tags")
    if "Variables" in given and "Template" not in given:
        raise _malformed("Variables", "there is no X-PlugSend-Template beside it")
    return Options(
        idempotency_key=given.get("Idempotency-Key", ""),
        tags=tuple(dict.fromkeys(tags)),
        metadata=given.get("Metadata", {}),
        expires=given.get("Expires"),
        send_at=given.get("Send-At"),
        stream=given.get("Stream", ""),
        template=TemplateCall(given["Template"], given.get("Variables", {})) if "Template" in given else None,
    )


def check_idempotency_key(key: str, where: str) -> str:
    """1 to 256 visible ASCII characters. Raises `Refused`."""
    if not is_idempotency_key(key):
        raise Refused("malformed_option_header", header=where, problem="1 to 256 visible ASCII characters, no spaces")
    return key


def is_idempotency_key(key: str) -> bool:
    return bool(_KEY.fullmatch(key))


def _tag(value: str) -> str:
    if not _TAG.fullmatch(value):
        raise _malformed("Tag", "write name or name:value, of letters, digits, _ and -")
    return value


def _expires(value: str) -> timedelta | datetime:
    """Seconds, or a time by RFC 3339."""
    if _SECONDS.fullmatch(value):
        return timedelta(seconds=int(value))
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        form = "write seconds as in 3600, or a time with its zone as in 2026-11-25T10:00:00Z"
        raise _malformed("Expires", f"'{value[:60]}' is neither; {form}")
    return time


def _send_at(value: str) -> datetime:
    try:
        return read_send_at(value, datetime.now(UTC))
    except ValueError as error:
        raise _malformed("Send-At", str(error)) from None


def _metadata(value: str) -> dict[str, str]:
    try:
        metadata: Any = json.loads(value)
    except ValueError as error:
        raise _malformed("Metadata", f"it is not JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise _malformed("Metadata", "it is not a JSON object")
    if len(metadata) > METADATA_KEYS:
        raise _malformed("Metadata", f"at most {METADATA_KEYS} keys")
    for name, text in metadata.items():
        if not is_metadata_key(name):
            raise _malformed("Metadata", f"a key has 1 to {METADATA_KEY_LENGTH} printable characters")
        if not isinstance(text, str) or len(text) > METADATA_VALUE_LENGTH or not _is_storable(text):
            raise _malformed("Metadata", f"{name[:60]}: a string of at most {METADATA_VALUE_LENGTH} characters")
    return metadata


def _template(value: str) -> str:
    if not _TEMPLATE.fullmatch(value):
        raise _malformed("Template", "give a template's id or alias")
    return value


def _variables(value: str) -> dict[str, Any]:
    try:
        variables: Any = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise _malformed("Variables", f"it is not JSON: {error}"[:200]) from None
    if not isinstance(variables, dict):
        raise _malformed("Variables", "it is not a JSON object")
    return variables


def _stream(value: str) -> str:
    if not is_stream(value):
        raise _malformed("Stream", STREAM_RULE)
    return value


def is_metadata_key(name: str) -> bool:
    return name.isprintable() and 1 <= len(name) <= METADATA_KEY_LENGTH


def _is_storable(text: str) -> bool:
    """PostgreSQL's text holds neither NUL nor half a surrogate pair, which JSON can both spell."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _malformed(option: str, problem: str) -> Refused:
    return Refused("malformed_option_header", header=f"X-PlugSend-{option}"[:100], problem=problem)


_READERS: dict[str, Callable[[str], Any]] = {
    "Idempotency-Key": lambda value: check_idempotency_key(value, "X-PlugSend-Idempotency-Key"),
    "Metadata": _metadata,
    "Expires": _expires,
    "Send-At": _send_at,
    "Stream": _stream,
    "Template": _template,
    "Variables": _variables,
}
