"""What a message may be made of; lines that are too long made legal, 8-bit content made 7-bit, before it is signed. No I/O.

The rule for lines of more than 998 octets (RFC 5322, 2.1.1; RFC 5321, 4.5.3.1.6), which no other server need take:

- a header field is folded at its white space;
- text, alone or as a part, becomes quoted-printable; base64 and quoted-printable are wrapped anew; other parts become base64;
- what must not be touched (parts of signed, encrypted and forwarded messages) or cannot be folded is refused.

Everything else stays as it came, octet for octet. For a server that takes no 8-bit content the same is done to what is not
ASCII (RFC 6152, 3); there nothing is refused: what must not be touched stays, and header fields do.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from accounts.catalogue import Refused
from relay.submission.content_parts import Leaf, Walk, header_pattern
from relay.submission.headers import OPTION_PREFIX, Field, Parsed, parse

LONGEST_LINE = 998  # octets before CRLF
ENCODED_LINE = 76  # RFC 2045, 6.7 and 6.8
CTE = b"content-transfer-encoding"
_EIGHT_BIT_LABEL = re.compile(rb"^(" + CTE + rb"[ \t]*:[ \t\r\n]*)(?:8bit|binary)(?=[ \t]*(?:\r\n|\Z))", re.I | re.M)


@dataclass(frozen=True, slots=True)
class ContentLimits:
    header_fields: int = 1000
    header_octets: int = 256 * 1024
    mime_depth: int = 30
    mime_parts: int = 1000


def read_content(content: bytes, limits: ContentLimits) -> Parsed:
    """The message split into its parts and made legal. `content` has CRLF line ends. Raises `Refused`."""
    _check_header_octets(content, limits)
    return check_content(parse(content), limits)


def read_own_content(content: bytes, limits: ContentLimits) -> Parsed:
    """The same for what `relay.submission.mime` built of a text and an HTML: it is legal, and not deep."""
    _check_header_octets(content, limits)
    return parse(content)


def check_content(parsed: Parsed, limits: ContentLimits) -> Parsed:
    """The same message, lines made legal where they were not. Raises `Refused`."""
    if len(parsed.fields) > limits.header_fields:
        raise Refused("header_too_large", limit=f"{limits.header_fields} fields")
    # Our own option fields and Bcc go no further.
    if any(len(field.raw) > LONGEST_LINE + 2 and _is_passed_on(field) for field in parsed.fields):
        parsed = replace(parsed, fields=tuple(_folded(f) if _is_passed_on(f) else f for f in parsed.fields))
    content_type = parsed.first(b"content-type")
    is_composed = content_type is not None and b"m" in content_type.raw[13:].lstrip()[:1].lower()  # multipart, message
    is_long = has_long_line(parsed.body)
    if not (is_composed or is_long):
        return parsed
    walk = Walk(parsed.body, most_parts=limits.mime_parts, deepest=limits.mime_depth)
    leaves = walk.leaves(_how_made(parsed))
    return _made_legal(parsed, leaves) if is_long else parsed


def to_seven_bit(content: bytes) -> bytes:
    """An accepted message for a server that does not offer 8BITMIME: not ASCII any more only where that cannot be helped."""
    parsed = parse(content)
    if parsed.body.isascii():
        return content
    parsed = _encoded(parsed, _walk(parsed).leaves(_how_made(parsed)), _has_eight_bit)
    if parsed.body.isascii():
        parsed = _labelled_seven_bit(parsed)
    return b"".join([*(field.raw for field in parsed.fields), parsed.body])


def has_long_line(octets: bytes, start: int = 0, end: int | None = None) -> bool:
    """Goes from line end to line end in steps of up to a thousand octets, whatever the lines' lengths."""
    end = len(octets) if end is None else end
    while end - start > LONGEST_LINE:
        line_end = octets.rfind(b"\n", start, min(end, start + LONGEST_LINE + 2))
        if line_end < 0:
            return True
        start = line_end + 1
    return False


def _check_header_octets(content: bytes, limits: ContentLimits) -> None:
    if len(content) > limits.header_octets:
        end = content.find(b"\r\n\r\n", 0, limits.header_octets)
        if end < 0 and not content.startswith(b"\r\n"):
            raise Refused("header_too_large", limit=f"{limits.header_octets} octets")


# ---- Header ----------------------------------------------------------------------------------------------------------


def _is_passed_on(field: Field) -> bool:
    return field.name != b"bcc" and not field.name.startswith(OPTION_PREFIX)


def _folded(field: Field) -> Field:
    raw = fold(field.raw)
    if has_long_line(raw):
        raise Refused("line_too_long", where=f"The header {field.name.decode('ascii', 'replace')[:60]}")
    return field if raw is field.raw else Field(field.name, raw)


def fold(block: bytes) -> bytes:
    """RFC 5322, 2.2.3: CRLF before white space, as few as will do. Lines without white space stay as they are."""
    if not has_long_line(block):
        return block
    return b"\r\n".join(_fold_line(line) for line in block.split(b"\r\n"))


def _fold_line(line: bytes) -> bytes:
    pieces = []
    line = line.rstrip(b" \t") if len(line) > LONGEST_LINE else line
    while len(line) > LONGEST_LINE:
        first = len(line) - len(line.lstrip(b" \t")) + 1  # no piece may be all white space
        cut = max(line.rfind(b" ", first, LONGEST_LINE + 1), line.rfind(b"\t", first, LONGEST_LINE + 1))
        if cut < 0:
            break
        pieces.append(line[:cut])
        line = line[cut:]
    return b"\r\n".join([*pieces, line])


# ---- Body ------------------------------------------------------------------------------------------------------------


def _made_legal(parsed: Parsed, leaves: list[Leaf]) -> Parsed:
    legal = _encoded(parsed, leaves, has_long_line)
    if has_long_line(legal.body):
        raise Refused("line_too_long", where="The body")
    return legal


def _encoded(parsed: Parsed, leaves: list[Leaf], needs_it: Callable[[bytes, int, int], bool]) -> Parsed:
    """Leaves whose octets, from one offset to another, need it, as far as they may be touched."""
    body, fields, edits = parsed.body, parsed.fields, []
    for leaf in leaves:
        if leaf.is_sealed:
            continue
        if leaf.head is not None and has_long_line(body, *leaf.head):
            edits.append((*leaf.head, fold(body[slice(*leaf.head)])))
        encoding = _encoding_for(leaf)
        if encoding is None or not needs_it(body, leaf.start, leaf.end):
            continue
        edits.append((leaf.start, leaf.end, _ENCODE[encoding](leaf, body[leaf.start : leaf.end])))
        if leaf.encoding == encoding:
            continue
        if leaf.head is None:
            fields = _with_encoding(fields, encoding)
        else:
            edits = [edit for edit in edits if edit[:2] != leaf.head]
            edits.append((*leaf.head, fold(_block_with_encoding(body[slice(*leaf.head)], encoding))))
    return Parsed(fields, _edited(body, edits))


def _edited(body: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """`edits`: from where to where, and what stands there instead."""
    pieces, at = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [body[at:start], replacement]
        at = end
    return b"".join([*pieces, body[at:]])


def _walk(parsed: Parsed) -> Walk:
    """Of an accepted message: what it may be made of was checked then."""
    return Walk(parsed.body, most_parts=sys.maxsize, deepest=sys.maxsize)


def _how_made(parsed: Parsed) -> bytes:
    return b"".join(field.raw for field in parsed.fields if field.name in {b"content-type", CTE})


def _has_eight_bit(octets: bytes, start: int, end: int) -> bool:
    return not octets[start:end].isascii()


def _labelled_seven_bit(parsed: Parsed) -> Parsed:
    """RFC 2045, 6.2 and 6.4: an encoding of 8bit or binary tells what octets may be found inside, all parts together."""
    walk = _walk(parsed)
    leaves = walk.leaves(_how_made(parsed))
    heads = [*walk.heads, *(leaf.head for leaf in leaves if leaf.head is not None and not leaf.is_sealed)]
    edits = [(*head, _EIGHT_BIT_LABEL.sub(rb"\g<1>7bit", parsed.body[slice(*head)])) for head in heads]
    fields = [Field(f.name, _EIGHT_BIT_LABEL.sub(rb"\g<1>7bit", f.raw)) if f.name == CTE else f for f in parsed.fields]
    return Parsed(tuple(fields), _edited(parsed.body, edits))


def _encoding_for(leaf: Leaf) -> str | None:
    if leaf.encoding in {"quoted-printable", "base64"}:
        return leaf.encoding
    if leaf.encoding not in {"7bit", "8bit", "binary"}:
        return None
    return "quoted-printable" if leaf.content_type.startswith("text/") else "base64"


def _quoted_printable(leaf: Leaf, content: bytes) -> bytes:
    if leaf.encoding == "quoted-printable":
        content = binascii.a2b_qp(content)
    # b2a_qp takes its line end from the first one that it sees.
    return binascii.b2a_qp(content + b"\r\n", istext=True)[:-2]


def _base64(leaf: Leaf, content: bytes) -> bytes:
    ending = b"\r\n" if content.endswith(b"\r\n") else b""
    encoded = content.translate(None, b" \t\r\n") if leaf.encoding == "base64" else base64.b64encode(content)
    lines = (encoded[at : at + ENCODED_LINE] for at in range(0, len(encoded), ENCODED_LINE))
    return b"\r\n".join(lines) + ending


_ENCODE: dict[str, Callable[[Leaf, bytes], bytes]] = {"quoted-printable": _quoted_printable, "base64": _base64}


def _with_encoding(fields: tuple[Field, ...], encoding: str) -> tuple[Field, ...]:
    kept = [field for field in fields if field.name != CTE]
    if not any(field.name == b"mime-version" for field in kept):  # RFC 2045, 4
        kept.append(Field(b"mime-version", b"MIME-Version: 1.0\r\n"))
    return (*kept, Field(CTE, f"Content-Transfer-Encoding: {encoding}\r\n".encode()))


def _block_with_encoding(block: bytes, encoding: str) -> bytes:
    return header_pattern(CTE).sub(b"", block) + f"Content-Transfer-Encoding: {encoding}\r\n".encode()
