"""The body of a REST request: capped while it is read, and JSON that means one thing only (RFC 8259, RFC 7493)."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from accounts.catalogue import Refused

CHUNK = 65_536
MOST_LEVELS = 100  # of arrays and objects in each other
MOST_VALUES = 1_000_000  # an empty array takes two octets here and sixty in memory
MOST_ERRORS = 20
LONGEST_INTEGER = 20  # octets of the longest that fits into 64 bits
UNKNOWN_LENGTH = "-1"  # what DRF and Django are told where there is no Content-Length: anything but nothing

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ILL_TEXT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # NUL; half of a surrogate pair, perhaps with its other half


def announced_octets(environ: Mapping[str, Any]) -> int | None:
    """Of a request's body. None: it comes in chunks, however many (RFC 9112, 6.3: that overrides Content-Length)."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    announced = environ.get("CONTENT_LENGTH") or ""
    return int(announced) if announced.isdecimal() else 0


def too_large(limit: int) -> Refused:
    return Refused("request_too_large", limit=f"{limit:,}")


class Body:
    """What a request brings along, as WSGI gives it (PEP 3333): the octets that it announces, or chunks up to their end."""

    def __init__(self, environ: Mapping[str, Any], limit: int) -> None:
        announced = announced_octets(environ)
        self._source: IO[bytes] = environ["wsgi.input"]
        self._limit = limit
        self.is_chunked = announced is None
        self._left = limit + 1 if announced is None else announced
        self._is_ended = self._left == 0

    def read(self, size: int | None = -1) -> bytes:
        """As a file's. Raises `Refused` where more than the limit is announced, before it comes, or comes in chunks."""
        if not self.is_chunked and self._left > self._limit:
            raise too_large(self._limit)
        parts = list(self._parts(self._left if size is None or size < 0 else min(size, self._left)))
        if self.is_chunked and not self._left:
            raise too_large(self._limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def discard(self, most: int, within_s: float) -> None:
        """A client whose connection ends while it still sends never sees the answer (RFC 9112, 9.6): let it finish."""
        if self._is_ended or (self._left > most and not self.is_chunked):
            return
        deadline = time.monotonic() + within_s
        with contextlib.suppress(OSError):  # it is gone
            for _ in self._parts(most if self.is_chunked else self._left):
                if time.monotonic() > deadline:
                    break

    def _parts(self, wanted: int) -> Iterator[bytes]:
        while wanted > 0:
            part = self._source.read(min(wanted, CHUNK))
            wanted -= len(part)
            self._left -= len(part)
            self._is_ended = not part or not (self._left or self.is_chunked)
            if not part:
                break
            yield part


class JsonParser(BaseParser):
    """DRF's parser for every view."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return read_json(stream.read())


def read_json(raw: bytes) -> Any:
    """Refuses what readers understand differently: names given twice, numbers out of range, NaN, NUL, lone surrogates.

    Raises `Refused`.
    """
    try:
        text = raw.decode("utf-8-sig")  # RFC 8259, 8.1: a byte order mark may be ignored
        if _is_crowded(text):
            raise ValueError("it has too many values")
        value = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise Refused("malformed_json", problem=f"octet {error.start} is not UTF-8") from None
    except RecursionError:
        raise Refused("malformed_json", problem="it is nested too deeply") from None
    except ValueError as error:
        raise Refused("malformed_json", problem=_printable(str(error))) from None
    if _ILL_TEXT.search(text) or text.count("[") + text.count("{") > MOST_LEVELS:
        _check(value)
    return value


def _is_crowded(text: str) -> bool:
    """Counts what begins a value. In most texts that are long there is no need to tell strings apart."""
    if sum(map(text.count, ",[{")) <= MOST_VALUES:
        return False
    return sum(map(_STRINGS.sub("", text).count, ",[{")) > MOST_VALUES


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the member "{twice}" stands twice in one object')
    return found


def _integer(digits: str) -> int:
    if len(digits) <= LONGEST_INTEGER and -(2**63) <= (number := int(digits)) < 2**63:
        return number
    raise ValueError(f"the number {digits[:LONGEST_INTEGER]}… is out of range")


def _fraction(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:LONGEST_INTEGER]} is out of range")
    return number


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)


def _check(value: Any) -> None:
    errors = []
    for pointer, problem in _flaws(value):
        errors.append({"pointer": pointer, "detail": problem, "code": "invalid"})
        if len(errors) == MOST_ERRORS:
            break
    if errors:
        problem = "; ".join(f"{error['pointer'] or 'body'}: {error['detail']}" for error in errors[:3])
        raise Refused("validation_failed", problem=problem, errors=errors)


def _flaws(value: Any) -> Iterator[tuple[str, str]]:
    """JSON pointers of what is nested too deeply or holds text that is none."""
    waiting: list[tuple[Any, str, int]] = [(value, "", 0)]
    while waiting:
        value, pointer, level = waiting.pop()
        if isinstance(value, str):
            if problem := _ill_text(value):
                yield pointer, problem
        elif isinstance(value, (dict, list)) and level >= MOST_LEVELS:
            raise Refused("malformed_json", problem="it is nested too deeply")
        elif isinstance(value, dict):
            for name, member in value.items():
                below = f"{pointer}/{escape(_printable(name))}"
                if problem := _ill_text(name):
                    yield below, problem
                waiting.append((member, below, level + 1))
        elif isinstance(value, list):
            waiting.extend((member, f"{pointer}/{n}", level + 1) for n, member in enumerate(value))


def _ill_text(text: str) -> str:
    if "\0" in text:
        return "Holds a NUL character."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "Holds half of a surrogate pair, which is no character."
    return ""


def _printable(text: str) -> str:
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def escape(name: str) -> str:
    """A member's name as a reference token of a JSON pointer (RFC 6901, 3)."""
    return name.replace("~", "~0").replace("/", "~1")
