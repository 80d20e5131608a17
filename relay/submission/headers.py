"""The header section of a submitted message: read once, never re-serialized (RFC 5322, 2.2 and 3.6). No I/O.

Only the header block is looked at, as octets; the body is carried through untouched.
"""

from __future__ import annotations

import email.header
import io
import re
from collections import Counter
from dataclasses import dataclass

from accounts.catalogue import Refused
from relay.submission.addresses import parse_mailboxes

ONCE = {b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"message-id", b"in-reply-to", b"references",
        b"subject", b"date"}  # fmt: skip
MOST_RECEIVED = 100  # RFC 5321, 6.3: "normally at least 100"
MOST_OWN_RECEIVED = 4
OPTION_PREFIX = b"x-plugsend-"
CHECKED_AT_ONCE = 256 * 1024  # octets
_FIELD_NAME = re.compile(rb"[!-9;-~]+")  # RFC 5322, 2.2: printable US-ASCII except colon


@dataclass(frozen=True, slots=True)
class Field:
    """One header field. `raw` is the field as it stands, folds and final CRLF included."""

    name: bytes  # lower case
    raw: bytes

    @property
    def value(self) -> str:
        """Unfolded and decoded (RFC 2047) for our own use; what no database's text can hold is replaced."""
        return self._decoded().replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()

    def _decoded(self) -> str:
        text = self.raw.partition(b":")[2].replace(b"\r\n", b"").strip()
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            decoded = text.decode("latin-1")
        if "=?" not in decoded:
            return decoded
        try:
            return str(email.header.make_header(email.header.decode_header(decoded)))
        except (LookupError, UnicodeError, ValueError):  # an encoded word that nobody can read
            return decoded


@dataclass(frozen=True, slots=True)
class Parsed:
    """A message split into its header fields and the rest (which begins with the empty line, if there is a body)."""

    fields: tuple[Field, ...]
    body: bytes

    def first(self, name: bytes) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    def values(self, name: bytes) -> list[str]:
        return [field.value for field in self.fields if field.name == name]

    def text_of(self, name: bytes) -> str:
        field = self.first(name)
        return field.value if field else ""


def check_octets(content: bytes) -> None:
    """Refuses what could be read as another message by the next server (SMTP smuggling): RFC 5321, 2.3.8; RFC 5322, 2.2."""
    if b"\0" in content:
        raise Refused("malformed_line_endings", octet="a NUL octet")
    if _line_ends(content) <= {"\r\n"}:
        return
    if content.count(b"\n") != content.count(b"\r\n"):
        raise Refused("malformed_line_endings", octet="a line feed without carriage return")
    raise Refused("malformed_line_endings", octet="a carriage return without line feed")


def _line_ends(content: bytes) -> set[str]:
    """Which of CR, LF and CRLF there are. This decoder looks for nothing else: a fifth of what counting them costs."""
    decoder = io.IncrementalNewlineDecoder(None, translate=False)
    with memoryview(content) as view:
        for start in range(0, len(view), CHECKED_AT_ONCE):
            decoder.decode(str(view[start : start + CHECKED_AT_ONCE], "latin-1"))
    decoder.decode("", final=True)
    found = decoder.newlines
    return {found} if isinstance(found, str) else set(found or ())


def parse(content: bytes) -> Parsed:
    """Splits a message at its first empty line. `content` has CRLF line ends (`check_octets`)."""
    if not content or content.startswith(b"\r\n"):
        return Parsed((), content or b"\r\n")
    end = content.find(b"\r\n\r\n")
    head, body = (content, b"") if end < 0 else (content[: end + 2], content[end + 2 :])
    if not head.endswith(b"\r\n"):
        head += b"\r\n"
    fields = tuple(_field(raw) for raw in re.split(rb"(?<=\r\n)(?![ \t])", head) if raw)
    return Parsed(fields, body or b"\r\n")


def _field(raw: bytes) -> Field:
    name, colon, _ = raw.partition(b":")
    name = name.rstrip(b" \t")  # RFC 5322, 4.5: obsolete syntax allows white space before the colon
    if not colon or not _FIELD_NAME.fullmatch(name):
        line = raw.strip()[:60].decode("ascii", "replace")
        raise Refused("malformed_header", problem=f"the line '{line}' is not a header field")
    return Field(name.lower(), raw)


def check_single(parsed: Parsed) -> None:
    """RFC 5322, 3.6: these fields occur at most once."""
    counts = Counter(field.name for field in parsed.fields)
    for name in ONCE:
        if counts[name] > 1:
            raise Refused("duplicate_header", header=name.decode().title())
    if not counts[b"from"]:
        raise Refused("missing_from_header")


def received(hostname: str, *, client: str, protocol: str, identifier: object, date: str) -> bytes:
    """Our trace field (RFC 5321, 4.4). `client`: the literal of the from clause, or empty."""
    origin = f"from {client}\r\n\t" if client else ""
    return f"Received: {origin}{_our_clause(hostname)} with {protocol} id {identifier};\r\n\t{date}\r\n".encode()


def check_no_loop(parsed: Parsed, hostname: str) -> None:
    """Refuses a message that goes in circles (RFC 5321, 6.3): too many hops, or too often through our own hands."""
    fields = [field.raw for field in parsed.fields if field.name == b"received"]
    if len(fields) > MOST_RECEIVED:
        raise Refused("mail_loop", problem=f"{len(fields)} Received fields, more than {MOST_RECEIVED}")
    if len(fields) <= MOST_OWN_RECEIVED:
        return
    ours = f" {_our_clause(hostname)} ".encode().lower()
    # Whoever passed the message on may have folded the fields anew.
    own = sum(ours in b" ".join(raw.split()).lower() for raw in fields)
    if own > MOST_OWN_RECEIVED:
        raise Refused("mail_loop", problem=f"{own} Received fields that {hostname} wrote")


def _our_clause(hostname: str) -> str:
    return f"by {hostname} (PlugSend)"


def from_addresses(parsed: Parsed) -> list[str]:
    """The addresses of the header From (RFC 5322, 3.6.2: one or more mailboxes); empty when it cannot be read."""
    field = parsed.first(b"from")
    if field is None:
        return []
    text = field.raw.partition(b":")[2].replace(b"\r\n", b"").strip().decode("utf-8", "replace")
    return [address for _, address in parse_mailboxes(text) or []]


def message_id(parsed: Parsed) -> str:
    return parsed.text_of(b"message-id").strip().strip("<>")


def complete(parsed: Parsed, *, received: bytes, date: str, message_id: str) -> bytes:
    """The message as it will be signed: our Received in front, Date and Message-ID where missing (RFC 6409, 8.1 and 8.2),
    Bcc and our own option fields dropped; every other octet as it came."""
    kept = [f.raw for f in parsed.fields if f.name != b"bcc" and not f.name.startswith(OPTION_PREFIX)]
    added = [received]
    if parsed.first(b"date") is None:
        added.append(f"Date: {date}\r\n".encode())
    if parsed.first(b"message-id") is None:
        added.append(f"Message-ID: <{message_id}>\r\n".encode())
    return b"".join([*added, *kept, parsed.body])
