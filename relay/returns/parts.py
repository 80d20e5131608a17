"""A mail that came back, taken apart. It was written by anyone: nothing raises, and time and memory are linear. No I/O.

The `email` package's parser has its traps (deep nesting, codecs that are no charsets, errors in odd headers), so this one takes
no more than what returns need: fields, parts in their order, decoded text.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from html import unescape

READ_MOST = 512 * 1024  # octets: reports stand in front, the copy of our mail behind them
HEAD_MOST = 64 * 1024  # octets of one header
PARTS_MOST = 60
DEEPEST = 8
TEXT_MOST = 64 * 1024  # characters of one part
FIELD_MOST = 4000  # characters of one field's value
ENCODED_MOST = 2000  # of them, where encoded words are looked for

_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "oem", "mbcs"})
_OTHER_NAMES = {"ks_c_5601-1987": "cp949", "x-sjis": "cp932", "unicode-1-1-utf-7": "utf-7", "cp-850": "cp850"}
_FIELD = re.compile(r"([!-9;-~]{1,200})[ \t]*:[ \t]*(.*)", re.S)
_TYPE = re.compile(r"\s*([\w.+-]{1,60}/[\w.+-]{1,80})")
_PARAMETER = re.compile(r'[;\s][ \t]*([\w*-]{1,40})[ \t]*=[ \t]*("(?:[^"\\]|\\.){0,300}"|[^\s;"]{1,300})')
_TAG = re.compile(r"<[^<>]*>")
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/h\d|/li|/table)\b[^<>]*>", re.I)
_ORIGINALS = (
    "message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers",
    "text/rfc822", "message/partial",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fields:
    """Of a header or a block of a report: names in lower case, values unfolded and decoded."""

    pairs: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str:
        return next((value for key, value in self.pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self.pairs)


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf. `octets` are decoded by its Content-Transfer-Encoding."""

    content_type: str
    fields: Fields
    octets: bytes
    charset: str = ""

    @property
    def text(self) -> str:
        decoded = decode(self.octets[: TEXT_MOST * 4], self.charset)[:TEXT_MOST]
        return plain_of(decoded) if self.content_type == "text/html" else decoded

    @property
    def is_original(self) -> bool:
        """Our mail, or its header."""
        return self.content_type in _ORIGINALS


@dataclass(frozen=True, slots=True)
class Mail:
    fields: Fields
    content_type: str
    parts: list[Part]

    @property
    def original(self) -> Fields:
        """The header of the mail that is reported of, where a part holds it."""
        for part in self.parts:
            if part.is_original:
                return fields_of(part.octets.lstrip(b"\n")[:HEAD_MOST].partition(b"\n\n")[0])
        return Fields()

    @property
    def text(self) -> str:
        """What is said to people, in front of the copy of our mail. Of alternatives the plain one."""
        texts: list[str] = []
        plain = any(part.content_type == "text/plain" and part.octets.strip() for part in self.parts)
        for part in self.parts:
            if part.is_original:
                break
            if part.content_type == "text/plain" or (part.content_type == "text/html" and not plain):
                texts.append(part.text)
        return "\n".join(texts)[:TEXT_MOST]

    def first(self, *content_types: str) -> Part | None:
        return next((part for part in self.parts if part.content_type in content_types), None)


def read_mail(raw: bytes) -> Mail:
    """Only its beginning, where it is larger than READ_MOST."""
    octets = raw[:READ_MOST].replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n")
    head, body = _split_head(octets)
    fields = fields_of(head)
    parts: list[Part] = []
    content_type = _collect(fields, body, parts, 0)
    return Mail(fields, content_type, parts)


def fields_of(head: bytes) -> Fields:
    """Of lines that end with LF. What is no field is left out."""
    pairs: list[tuple[str, str]] = []
    lines: list[str] = []

    def close() -> None:
        found = _FIELD.fullmatch("".join(lines)[: FIELD_MOST + 200]) if lines else None
        if found:
            pairs.append((found[1].lower(), decoded_words(found[2].strip())))
        lines.clear()

    for line in decode(head, "").split("\n"):
        if line[:1] in " \t" and lines:
            lines.append(" " + line.strip())
        else:
            close()
            lines.append(line)
    close()
    return Fields(pairs)


def decoded_words(value: str) -> str:
    """RFC 2047."""
    if "=?" not in value:
        return value[:FIELD_MOST]
    try:
        pieces = decode_header(value[:ENCODED_MOST])
    except (HeaderParseError, ValueError, binascii.Error):
        return value[:FIELD_MOST]
    return "".join(piece if isinstance(piece, str) else decode(piece, charset or "") for piece, charset in pieces)[
        :FIELD_MOST
    ]


def decode(octets: bytes, charset: str) -> str:
    """By the charset that is named, or what it may be. Without what PostgreSQL's texts cannot hold: NUL, and halves of
    surrogate pairs, which UTF-7 can make."""
    if not charset and b"\x1b$" in octets:  # RFC 1468: it tells itself
        charset = "iso-2022-jp"
    name = _OTHER_NAMES.get(charset.strip().lower(), charset.strip().lower())
    for candidate in (name, "utf-8"):
        if candidate and candidate.replace("-", "_") not in _NO_CHARSETS and candidate.isascii():
            try:
                text = octets.decode(candidate, "replace" if candidate == name else "strict")
                return text.replace("\0", " ").encode("utf-8", "replace").decode()
            except (LookupError, UnicodeError, ValueError):
                continue
    return octets.decode("latin-1").replace("\0", " ")


def plain_of(html: str) -> str:
    """Without tags, styles and scripts; a line for each block."""
    for name in ("style", "script", "head"):
        html = _without(html, f"<{name}", f"</{name}>")
    return unescape(_TAG.sub(" ", _BREAK.sub("\n", html)))[:TEXT_MOST]


def _without(text: str, begin: str, end: str) -> str:
    kept, at, lower = [], 0, text.lower()
    if len(lower) != len(text):
        return text
    while (start := lower.find(begin, at)) >= 0 and lower[start + len(begin) : start + len(begin) + 1] in " >\n\t":
        stop = lower.find(end, start)
        if stop < 0:
            break
        kept.append(text[at:start])
        at = stop + len(end)
    return "".join(kept) + text[at:]


def _split_head(octets: bytes) -> tuple[bytes, bytes]:
    if octets.startswith(b"\n"):
        return b"", octets[1:]
    head, _, body = octets.partition(b"\n\n")
    return head[:HEAD_MOST], body


def _collect(fields: Fields, body: bytes, parts: list[Part], depth: int) -> str:
    """Adds the leaves in their order. Returns the content type."""
    value = fields.get("content-type")
    named = _TYPE.match(value)
    content_type = named[1].lower() if named else "text/plain"
    parameters = {name.lower(): text.strip('"') for name, text in _PARAMETER.findall(value)}
    if content_type.startswith("multipart/") and depth < DEEPEST:
        for section in _sections(body, parameters.get("boundary", "")):
            if len(parts) >= PARTS_MOST:
                break
            head, inner = _split_head(section)
            _collect(fields_of(head), inner, parts, depth + 1)
    else:
        octets = _transferred(body, fields.get("content-transfer-encoding").strip().lower())
        if content_type.startswith("multipart/"):
            content_type = "text/plain"
        parts.append(Part(content_type, fields, octets, parameters.get("charset", "")))
    return content_type


def _sections(body: bytes, boundary: str) -> list[bytes]:
    """RFC 2046, 5.1.1. One that is not told, or told wrongly, is the first line that looks like one. None: all is one text."""
    for delimiter in (boundary.rstrip().encode("utf-8", "replace"), _guessed(body)):
        if not delimiter:
            continue
        lines = re.compile(rb"^--" + re.escape(delimiter) + rb"(--)?[ \t]*\n?", re.M)
        sections, begin = list[bytes](), -1
        for found in lines.finditer(body):
            if begin >= 0:
                sections.append(body[begin : found.start()].removesuffix(b"\n"))
            begin = -1 if found[1] else found.end()
            if len(sections) > PARTS_MOST:
                return sections
        if begin >= 0:  # not closed, or cut short
            sections.append(body[begin:])
        if sections:
            return sections
    return [b"\n" + body]


def _guessed(body: bytes) -> bytes:
    found = re.search(rb"^--(\S[^\n]{0,100}\S)[ \t]*\n(?=[Cc]ontent-|\n)", body, re.M)
    return found[1] if found else b""


def _transferred(body: bytes, encoding: str) -> bytes:
    try:
        if encoding == "quoted-printable":
            return binascii.a2b_qp(body)
        if encoding == "base64":
            kept = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
            return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4)).replace(b"\r\n", b"\n")
        if encoding in {"x-uuencode", "uuencode", "x-uue"}:
            lines = body.partition(b"begin ")[2].split(b"\n")[1:]
            return b"".join(_uu(line) for line in lines).replace(b"\r\n", b"\n")
    except (binascii.Error, ValueError):
        pass
    return body


def _uu(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line) if line and line != b"end" else b""
    except binascii.Error:
        return b""
