"""The parts of a MIME message, found by offset in its body and not copied (RFC 2045, RFC 2046). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from accounts.catalogue import Refused

_BOUNDARY = re.compile(rb'\bboundary[ \t]*=[ \t]*(?:"((?:\\.|[^"\\])*)"|([^\s;"]+))', re.I)
_AFTER_DELIMITER = re.compile(rb"(--)?[ \t]*(?:\r\n|\Z)")  # RFC 2046, 5.1.1
# Their octets are under a signature or encrypted (RFC 1847), or somebody else's message (RFC 2046, 5.2.1).
_SEALED = ("multipart/signed", "multipart/encrypted", "message/")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part without parts. Offsets are in the body; `head` is None for the message as a whole."""

    content_type: str
    encoding: str
    head: tuple[int, int] | None
    start: int
    end: int
    is_sealed: bool


class Walk:
    """One pass over a body. Raises `Refused` when it has too many parts or they are too deep."""

    def __init__(self, body: bytes, *, most_parts: int, deepest: int) -> None:
        self._body, self._most_parts, self._deepest = body, most_parts, deepest
        self.heads: list[tuple[int, int]] = []  # of parts that have parts, once `leaves` has gone through them
        self._parts = self._delimiters = 0

    def leaves(self, header: bytes) -> list[Leaf]:
        """`header` holds at least the fields that tell how the whole is made."""
        start = 2 if self._body.startswith(b"\r\n") else 0  # the empty line after the header
        return self._leaves(header, None, start, len(self._body), depth=0, is_sealed=False)

    def _leaves(
        self, header: bytes, head: tuple[int, int] | None, start: int, end: int, *, depth: int, is_sealed: bool
    ) -> list[Leaf]:
        if depth > self._deepest:
            raise Refused("mime_too_complex", limit=f"{self._deepest} levels of nested parts")
        value = _value(header, b"content-type")
        content_type = value.partition(b";")[0].strip().lower().decode("ascii", "replace") or "text/plain"
        boundary = _BOUNDARY.search(value) if content_type.startswith("multipart/") else None
        is_sealed = is_sealed or content_type.startswith(_SEALED)
        if boundary:
            found = boundary[2] or re.sub(rb"\\(.)", rb"\1", boundary[1] or b"")
            inner = self._split(found, start, end)
        elif content_type == "message/rfc822":
            inner = [(start, end)]
        else:
            encoding = _value(header, b"content-transfer-encoding").strip().lower().decode("ascii", "replace") or "7bit"
            return [Leaf(content_type, encoding, head, start, end, is_sealed)]
        if head is not None and not is_sealed:
            self.heads.append(head)
        leaves = []
        for part_start, part_end in inner:
            head_end = self._head_end(part_start, part_end)
            block = self._body[part_start:head_end]
            leaves += self._leaves(
                block,
                (part_start, head_end),
                min(head_end + 2, part_end),
                part_end,
                depth=depth + 1,
                is_sealed=is_sealed,
            )
        return leaves

    def _split(self, boundary: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """Where each part begins and ends; the CRLF before a delimiter belongs to the delimiter (RFC 2046, 5.1.1)."""
        delimiter, parts, opened, at = b"--" + boundary, [], -1, start
        while (at := self._body.find(delimiter, at, end)) >= 0:
            found, at = at, at + len(delimiter)
            # With very many of them, in a line's middle or not, looking at each would take long.
            self._delimiters += 1
            if self._delimiters > 10 * self._most_parts:
                raise Refused("mime_too_complex", limit=f"{self._most_parts} parts")
            after = _AFTER_DELIMITER.match(self._body, at, end)
            if after is None or not (found == start or self._body[found - 2 : found] == b"\r\n"):
                continue  # in a line's middle, or the beginning of a longer boundary
            if opened >= 0:
                parts.append((opened, max(opened, found - 2)))
            opened = -1 if after[1] else after.end()
            if after[1]:
                break
            self._parts += 1
            if self._parts > self._most_parts:
                raise Refused("mime_too_complex", limit=f"{self._most_parts} parts")
        if opened >= 0:
            parts.append((opened, end))
        return parts

    def _head_end(self, start: int, end: int) -> int:
        """Behind the CRLF of the last header line; `start` when there is no header."""
        if self._body.startswith(b"\r\n", start, end):
            return start
        found = self._body.find(b"\r\n\r\n", start, end)
        return found + 2 if found >= 0 else end


@cache
def header_pattern(name: bytes) -> re.Pattern[bytes]:
    """A whole header field, folds and CRLF included; its value is group 1."""
    return re.compile(rb"^" + name + rb"[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)(?:\r\n|\Z)", re.I | re.M)


def _value(header: bytes, name: bytes) -> bytes:
    match = header_pattern(name).search(header)
    return match[1].replace(b"\r\n", b"") if match else b""
