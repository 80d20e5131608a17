"""Header fields written: folded, and encoded where they are not ASCII (RFC 5322, 2.2 and 3.4; RFC 2047; RFC 2231). No I/O.

A line has at most 76 characters (RFC 2047, 2) where white space lets it be folded, and never more than 998 octets. What is
written must have passed `is_line`.
"""

from __future__ import annotations

import binascii
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

LINE = 76
LONGEST_LINE = 998  # RFC 5322, 2.1.1
LONGEST_WORD = 75  # RFC 2047, 2
_WORD_FRAME = len("=?utf-8?q??=")
_SHORTEST_WORD = 30  # where less is left in a line, words begin in the next one
_LONGEST_PHRASE_TOKEN = 70

# What ends a line for somebody: C0 and C1 controls (all but TAB), U+2028, U+2029; and what UTF-8 cannot hold.
_NOT_IN_LINES = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_Q_SAFE = f"{string.ascii_letters}{string.digits}!*+-/"  # RFC 2047, 5 (3): safe in a phrase too
_Q = {chr(octet): f"={octet:02X}" for octet in range(128)} | {c: c for c in _Q_SAFE} | {" ": "_"}
_Q_SAFE_OCTETS = f"{_Q_SAFE} ".encode()
_TOKENS = re.compile(r"[ \t]*[^ \t]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")  # RFC 5322, 3.2.3
_PLAIN_PARAMETER = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # needs no escape between quotes
_PARAMETER_SECTION = 50  # characters of a value in one line
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`{|}~"  # RFC 2231, 7, beside letters and digits


@dataclass(frozen=True, slots=True)
class Mailbox:
    """RFC 5322, 3.4. The domain of the address is an A-label; its local part may be UTF-8 (RFC 6532)."""

    name: str
    address: str


def is_line(text: str) -> bool:
    """Whether it stays one line in everybody's eyes: header injection ends here."""
    return _NOT_IN_LINES.search(text) is None


def text_field(name: str, value: str) -> str:
    """An unstructured field (RFC 5322, 3.2.5), CRLF included. White space around the value means nothing and is left out."""
    value = value.strip(" \t")
    if value.isascii() and "=?" not in value:
        if len(name) + len(value) <= LINE - 2 and value.isprintable():
            return f"{name}: {value}\r\n"
        if (folded := _folded_text(name, value)) is not None:
            return folded
    return _folded(f"{name}:", encoded_words(value, LINE - len(name) - 2))


def address_field(name: str, mailboxes: Sequence[Mailbox]) -> str:
    return _folded(f"{name}:", _mailbox_tokens(mailboxes, LINE - len(name) - 2))


def structured_field(name: str, value: str, parameters: Iterable[tuple[str, str]] = ()) -> str:
    """A field of MIME's: a value and parameters (RFC 2045, 5.1; RFC 2183, 2). The value stays beside the name, which is where
    simple readers look for it."""
    sections = [value, *(section for parameter, text in parameters for section in _parameter(parameter, text))]
    first, *others = [*(f"{section};" for section in sections[:-1]), sections[-1]]
    return _folded(f"{name}: {first}", others)


def encoded_words(text: str, first: int = LONGEST_WORD) -> list[str]:
    """RFC 2047; each character whole in one word. `first`: how long the first word may be."""
    room = (first if first >= _SHORTEST_WORD else LONGEST_WORD) - _WORD_FRAME
    octets = text.encode()
    unsafe = len(octets.translate(None, _Q_SAFE_OCTETS))
    make = _q_words if 3 * (len(octets) + 2 * unsafe) <= 4 * len(octets) + 6 else _b_words
    return list(make(text, room))


def _q_words(text: str, room: int) -> Iterator[str]:
    word = ""
    for character in text:
        piece = _Q.get(character) or "".join(f"={octet:02X}" for octet in character.encode())
        if len(word) + len(piece) > room:
            yield f"=?utf-8?q?{word}?="
            word, room = "", LONGEST_WORD - _WORD_FRAME
        word += piece
    yield f"=?utf-8?q?{word}?="


def _b_words(text: str, room: int) -> Iterator[str]:
    octets, start = text.encode(), 0
    while start < len(octets):
        end = min(start + room // 4 * 3, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        yield f"=?utf-8?b?{binascii.b2a_base64(octets[start:end], newline=False).decode()}?="
        start, room = end, LONGEST_WORD - _WORD_FRAME


def _folded_text(name: str, value: str) -> str | None:
    """None where only encoding keeps its lines legal. Every space and tab stays."""
    tokens = _TOKENS.findall(value)
    lines, line = [], f"{name}:"
    for number, token in enumerate(tokens):
        piece = token if number else f" {token}"
        if len(line) + len(piece) > LINE and (number or len(piece) <= LINE):
            lines.append(line)
            line = ""
        line += piece
        if len(line) > LONGEST_LINE:
            return None
    return "\r\n".join([*lines, line]) + "\r\n"


def _folded(line: str, tokens: Iterable[str]) -> str:
    """The line goes on with tokens, a space before each; none is longer than a line may be."""
    lines = []
    for token in tokens:
        if len(line) + 1 + len(token) > LINE:
            lines.append(line)
            line = ""
        line += f" {token}"
    return "\r\n".join([*lines, line]) + "\r\n"


def _mailbox_tokens(mailboxes: Sequence[Mailbox], room: int) -> Iterator[str]:
    last = len(mailboxes) - 1
    for number, mailbox in enumerate(mailboxes):
        comma = "," if number < last else ""
        if not mailbox.name:
            yield f"{mailbox.address}{comma}"
            continue
        yield from _phrase(mailbox.name, LONGEST_WORD if number else room)
        yield f"<{mailbox.address}>{comma}"


def _phrase(name: str, room: int) -> list[str]:
    """A display name (RFC 5322, 3.2.5; RFC 2047, 5 (3))."""
    if name.isascii() and name.isprintable() and "=?" not in name:
        if _ATOMS.fullmatch(name):
            tokens = name.split(" ")
            if max(map(len, tokens)) <= _LONGEST_PHRASE_TOKEN:
                return tokens
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if len(quoted) <= _LONGEST_PHRASE_TOKEN:
            return [quoted]
    return encoded_words(name, room)


def _parameter(name: str, value: str) -> list[str]:
    if len(value) <= _PARAMETER_SECTION and "=?" not in value and _PLAIN_PARAMETER.fullmatch(value):
        return [f'{name}="{value}"']
    pieces = [quote(character, safe=_ATTRIBUTE_CHARACTERS) for character in value]
    sections = [""]
    for piece in pieces:
        if len(sections[-1]) + len(piece) > _PARAMETER_SECTION:
            sections.append("")
        sections[-1] += piece
    if len(sections) == 1:
        return [f"{name}*=utf-8''{sections[0]}"]
    sections[0] = f"utf-8''{sections[0]}"
    return [f"{name}*{number}*={section}" for number, section in enumerate(sections)]
