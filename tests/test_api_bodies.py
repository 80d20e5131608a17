"""JSON that readers could understand differently is refused, and everything else is read as the standard library reads it."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import Refused
from accounts.rest.bodies import MOST_LEVELS, MOST_VALUES, Body, read_json

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NUMBER = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_is_json_is_read(value: Any, ensure_ascii: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ensure_ascii).encode()) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ud0e1-', max_size=60).map(str.encode))
def test_anything_else_is_refused_and_never_an_accident(raw: bytes) -> None:
    try:
        value = read_json(raw)
    except Refused as refused:
        refused.detail.encode()
    else:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"\xff", "octet 0 is not UTF-8"),
        (b'{"to": 1, "to": 2}', 'the member "to" stands twice'),
        (b'[{"a": {"b": 1, "b": 1}}]', 'the member "b" stands twice'),
        (b"NaN", "NaN is not a JSON value"),
        (b"[-Infinity]", "-Infinity is not a JSON value"),
        (b"1e400", "out of range"),
        (b"9223372036854775808", "out of range"),
        (b"-" + b"9" * 5000, "out of range"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested too deeply"),
        (b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1), "nested too deeply"),
        (b"[" + b"[]," * MOST_VALUES + b"1]", "too many values"),
        (b'"a\nb"', "Invalid control character"),
        (b"", "Expecting value"),
    ],
)
def test_bad_json_is_told(raw: bytes, problem: str) -> None:
    with pytest.raises(Refused) as caught:
        read_json(raw)
    assert caught.value.code == "malformed_json"
    assert problem in caught.value.detail


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (rb'{"subject": "a\u0000b"}', "/subject"),
        (rb'{"to": ["x", "\ud83d"]}', "/to/1"),
        (rb'{"to": ["\ude00\ud83d"]}', "/to/0"),
        (rb'{"a/b~": {"\ud800": 1}}', "/a~1b~0/\\ud800"),
        (rb'"\u0000"', ""),
    ],
)
def test_text_that_is_none_is_named(raw: bytes, pointer: str) -> None:
    with pytest.raises(Refused) as caught:
        read_json(raw)
    assert caught.value.code == "validation_failed"
    assert [error["pointer"] for error in caught.value.errors] == [pointer]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\\u0000"', "\\u0000"),
        (b"[" * MOST_LEVELS + b"]" * MOST_LEVELS, None),
        (b'"' + b"[" * 200 + b'"', "[" * 200),
        (b'["' + b"," * (MOST_VALUES + 1) + b'"]', None),
    ],
)
def test_what_only_looks_bad_is_read(raw: bytes, value: Any) -> None:
    assert read_json(raw) == (json.loads(raw) if value is None else value)


# ---- What comes in, as WSGI gives it ---------------------------------------------------------------------------------


class Source(io.BytesIO):
    """Gives a few octets at a time, as a socket may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size) if size and size > 0 else 7)


def body(octets: bytes, *, announced: int | None = None, limit: int = 100) -> tuple[Body, Source]:
    """`announced` None: it comes in chunks."""
    source = Source(octets)
    length = {"HTTP_TRANSFER_ENCODING": "chunked"} if announced is None else {"CONTENT_LENGTH": str(announced)}
    return Body({"wsgi.input": source, **length}, limit), source


@pytest.mark.parametrize("announced", [None, 100])
def test_a_body_up_to_the_limit_is_read(announced: int | None) -> None:
    whole, _ = body(b"x" * 100, announced=announced)
    assert whole.read(30) + whole.read() == b"x" * 100
    assert whole.read() == b""


def test_what_follows_the_announced_body_stays() -> None:
    whole, source = body(b"x" * 10 + b"the next request", announced=10)
    assert whole.read() == b"x" * 10
    assert source.tell() == 10


def test_an_announcement_over_the_limit_is_refused_before_it_is_read() -> None:
    whole, source = body(b"x" * 101, announced=101)
    with pytest.raises(Refused, match="request_too_large"):
        whole.read()
    assert source.tell() == 0


def test_chunks_are_refused_as_soon_as_they_exceed_the_limit() -> None:
    whole, source = body(b"x" * 10_000)
    with pytest.raises(Refused, match="request_too_large"):
        whole.read()
    assert source.tell() == 101


@pytest.mark.parametrize("announced", [None, 500])
def test_the_rest_is_thrown_away_within_reason(announced: int | None) -> None:
    whole, source = body(b"x" * 500, announced=announced)
    whole.discard(most=1000, within_s=5)
    assert source.tell() == 500
    whole, source = body(b"x" * 500, announced=announced)
    whole.discard(most=200, within_s=5)
    assert source.tell() == (200 if announced is None else 0)


def test_a_client_that_stops_in_the_middle_is_no_accident() -> None:
    whole, _ = body(b"x" * 20, announced=50)
    assert whole.read() == b"x" * 20
