"""Builds the message that a REST request describes. No I/O.

Our own code, because Python's `email` package took over a millisecond for a small message, more than all the rest of its way.
Whatever goes into the header is checked to be one line, so nothing can be injected.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.header import decode_header, make_header

from accounts.catalogue import Refused
from relay.submission.addresses import parse_address, parse_mailboxes
from relay.submission.content import ENCODED_LINE, has_long_line
from relay.submission.header_writing import Mailbox, address_field, is_line, structured_field, text_field
from relay.submission.media_types import LONGEST, UNKNOWN, MediaType, guess_media_type, read_media_type

_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322, 2.2
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,128}")
_HIGH_OCTETS = bytes(range(128, 256))
# What we or the request's own fields set, and what would change how the mail is read, routed or trusted.
RESERVED = {
    "from", "to", "cc", "bcc", "subject", "reply-to", "date", "message-id", "sender", "received", "return-path",
    "dkim-signature", "domainkey-signature", "authentication-results", "received-spf", "mime-version", "delivered-to",
    "x-original-to", "apparently-to", "errors-to",
}  # fmt: skip
_RESERVED_BEGINNINGS = ("content-", "resent-", "arc-", "x-plugsend-")


@dataclass(frozen=True, slots=True)
class Attachment:
    content: bytes
    filename: str = ""
    content_type: str = ""  # empty: told from the file's name
    content_id: str = ""  # not empty: shown inside the HTML, which refers to it as `cid:<content_id>`


@dataclass(frozen=True, slots=True)
class Letter:
    """What a REST client asks for. Addresses are `name@domain` or `Name <name@domain>`."""

    from_: str
    to: tuple[str, ...]
    subject: str
    text: str | None = None
    html: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A message with its envelope. Bcc is in the envelope only; the content has CRLF line ends."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    is_plain: bool  # a text, an HTML, and no more header fields than these need


@dataclass(frozen=True, slots=True)
class _Part:
    """`head`: fields that tell how the part is made. `body`: what stands after the empty line, in pieces."""

    head: str
    body: list[bytes]


def build(letter: Letter) -> Built:
    """Raises `Refused`, which names the field by a JSON pointer."""
    sender = parse_mailbox(letter.from_, "/from", refusal="invalid_sender")
    to, cc, bcc, reply_to = (
        [parse_mailbox(address, f"/{name}/{number}") for number, address in enumerate(addresses)]
        for name, addresses in (
            ("to", letter.to),
            ("cc", letter.cc),
            ("bcc", letter.bcc),
            ("reply_to", letter.reply_to),
        )
    )
    fields = [address_field("From", [sender])]
    fields += [address_field(name, some) for name, some in (("To", to), ("Cc", cc), ("Reply-To", reply_to)) if some]
    fields.append(text_field("Subject", _checked_line(letter.subject, "/subject", "subject")))
    fields += [_custom_field(name, value) for name, value in letter.headers.items()]
    whole = _whole(letter)
    head = "".join([*fields, "MIME-Version: 1.0\r\n", whole.head, "\r\n"])
    ending = b"" if whole.body[-1].endswith(b"\r\n") else b"\r\n"
    return Built(
        sender=sender.address,
        recipients=tuple(mailbox.address for mailbox in (*to, *cc, *bcc)),
        content=b"".join([head.encode(), *whole.body, ending]),
        is_plain=not (letter.headers or letter.attachments),
    )


# ---- Header ----------------------------------------------------------------------------------------------------------


def parse_mailbox(text: str, pointer: str, *, refusal: str = "invalid_recipient") -> Mailbox:
    """One mailbox (RFC 5322, 3.4). A name that is encoded already (RFC 2047) is taken as meant. Raises `Refused(refusal)`."""
    mailboxes = parse_mailboxes(text) if is_line(text) and "\t" not in text else None
    name, address = mailboxes[0] if mailboxes and len(mailboxes) == 1 else ("", "")
    parsed = parse_address(address)
    if "=?" in name:
        name = _decoded(name)
    if parsed is None or not is_line(name):
        shown = " ".join(text[:200].encode("utf-8", "replace").decode().split())
        raise Refused(refusal, pointer=pointer, address=shown or "(empty)")
    return Mailbox(name, f"{parsed[0]}@{parsed[1]}")


def _decoded(name: str) -> str:
    try:
        return str(make_header(decode_header(name)))
    except (LookupError, UnicodeError, ValueError):  # an encoded word that nobody can read
        return name


def _custom_field(name: str, value: str) -> str:
    pointer = f"/headers/{name.replace('~', '~0').replace('/', '~1')}"
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name):
        shown = name[:60].encode("ascii", "replace").decode()
        raise Refused("malformed_header", pointer=pointer, problem=f"'{shown}' is not a header name")
    if lower in RESERVED or lower.startswith(_RESERVED_BEGINNINGS):
        problem = f"{name} cannot be set here; use the request's own fields"
        raise Refused("malformed_header", pointer=pointer, problem=problem)
    return text_field(name, _checked_line(value, pointer, f"headers.{name}"))


def _checked_line(value: str, pointer: str, where: str) -> str:
    if not is_line(value):
        problem = f"{where} holds a line break or another control character"
        raise Refused("malformed_header", pointer=pointer, problem=problem)
    return value


# ---- Body ------------------------------------------------------------------------------------------------------------


def _whole(letter: Letter) -> _Part:
    """attachments beside (text or (HTML with what it shows)): RFC 2046, 5.1.3 and 5.1.4; RFC 2387."""
    seed = secrets.token_hex(12)
    shown: list[_Part] = []
    beside: list[_Part] = []
    for number, attachment in enumerate(letter.attachments):
        is_shown = attachment.content_id and letter.html is not None
        (shown if is_shown else beside).append(_attachment(attachment, f"/attachments/{number}"))
    bodies = []
    if letter.text is not None or letter.html is None:
        bodies.append(_text(letter.text or "", "plain", "/text"))
    if letter.html is not None:
        html = _text(letter.html, "html", "/html")
        bodies.append(_multipart("related", [html, *shown], seed, [("type", "text/html")]) if shown else html)
    body = bodies[0] if len(bodies) == 1 else _multipart("alternative", bodies, seed)
    return _multipart("mixed", [body, *beside], seed) if beside else body


def _multipart(subtype: str, parts: Sequence[_Part], seed: str, parameters: Sequence[tuple[str, str]] = ()) -> _Part:
    # "=_" stands in no quoted-printable or base64 line (RFC 2045, 6.7); no boundary begins with another one.
    boundary = f"=_{subtype}_{seed}"
    body: list[bytes] = []
    for part in parts:
        body += [f"--{boundary}\r\n{part.head}\r\n".encode(), *part.body, b"\r\n"]
    body.append(f"--{boundary}--\r\n".encode())
    head = structured_field("Content-Type", f"multipart/{subtype}", [*parameters, ("boundary", boundary)])
    return _Part(head, body)


def _text(text: str, subtype: str, pointer: str) -> _Part:
    """Whichever encoding is plainest: 7bit as it stands where lines are legal, then the shorter one."""
    if "\0" in text:  # RFC 5322, 2.2
        raise Refused("malformed_line_endings", pointer=pointer, octet="a NUL octet")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        content = text.replace("\n", "\r\n").encode()
    except UnicodeEncodeError:
        problem = "Holds half of a surrogate pair, which is no character."
        raise Refused("validation_failed", pointer=pointer, problem=problem) from None
    encoding = "7bit"
    if not content.isascii() and _is_mostly_high(content):
        encoding, content = "base64", base64_lines(content)
    elif not content.isascii() or has_long_line(content):
        # b2a_qp takes its line end from the first one that it sees.
        encoding, content = "quoted-printable", binascii.b2a_qp(content + b"\r\n", istext=True)[:-2]
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return _Part(head, [content])


def _is_mostly_high(content: bytes) -> bool:
    """Whether base64 is shorter: it takes a third of all octets more, quoted-printable two for each that is not ASCII."""
    return 6 * (len(content) - len(content.translate(None, _HIGH_OCTETS))) > len(content)


def base64_lines(content: bytes) -> bytes:
    encoded = binascii.b2a_base64(content, newline=False)
    return b"\r\n".join([encoded[at : at + ENCODED_LINE] for at in range(0, len(encoded), ENCODED_LINE)])


# ---- Attachments -----------------------------------------------------------------------------------------------------


def _attachment(attachment: Attachment, pointer: str) -> _Part:
    if not is_line(attachment.filename):
        problem = "a file name holds a line break or another control character"
        raise Refused("malformed_header", pointer=f"{pointer}/filename", problem=problem)
    media_type = _media_type(attachment, f"{pointer}/content_type")
    fields = [structured_field("Content-Type", media_type.name, media_type.parameters)]
    if media_type.kind == "message":  # RFC 2046, 5.2.1: base64 is forbidden
        content = _forwarded(attachment.content)
        encoding = "7bit" if content.isascii() else "8bit"
    else:
        content, encoding = base64_lines(attachment.content), "base64"
    fields.append(f"Content-Transfer-Encoding: {encoding}\r\n")
    disposition = "attachment"
    if attachment.content_id:
        if not _CONTENT_ID.fullmatch(attachment.content_id):
            problem = "a content id has 1 to 128 visible ASCII characters, no spaces and no angle brackets"
            raise Refused("malformed_header", pointer=f"{pointer}/content_id", problem=problem)
        disposition = "inline"
        fields.append(structured_field("Content-ID", f"<{attachment.content_id}>"))
    filename = [("filename", attachment.filename)] if attachment.filename else []
    fields.append(structured_field("Content-Disposition", disposition, filename))
    return _Part("".join(fields), [content])


def _media_type(attachment: Attachment, pointer: str) -> MediaType:
    if not attachment.content_type:
        guessed = guess_media_type(attachment.filename)
        is_sendable = guessed.kind != "message" or _is_forwardable(attachment.content)
        return _with_charset(guessed, attachment.content) if is_sendable else MediaType(UNKNOWN)
    given = read_media_type(attachment.content_type)
    if given is None:
        problem = (
            f"a content type reads as type/subtype, in at most {LONGEST} characters; multipart types are not possible"
        )
        raise Refused("malformed_header", pointer=pointer, problem=problem)
    if given.kind == "message" and not _is_forwardable(attachment.content):
        raise Refused("line_too_long", pointer=pointer, where="The attached message, which must go as it is,")
    return _with_charset(given, attachment.content)


def _with_charset(media_type: MediaType, content: bytes) -> MediaType:
    """Text that does not say so is shown as ASCII (RFC 2046, 4.1.2)."""
    if media_type.kind != "text" or media_type.charset or content.isascii():
        return media_type
    try:
        content.decode()
    except UnicodeDecodeError:
        return media_type
    return MediaType(media_type.name, (*media_type.parameters, ("charset", "utf-8")))


def _forwarded(message: bytes) -> bytes:
    return message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _is_forwardable(message: bytes) -> bool:
    return b"\0" not in message and not has_long_line(_forwarded(message))
