"""What a message may be made of, and how lines that are too long become legal."""

import binascii
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import Refused
from relay.submission.content import ContentLimits, check_content, has_long_line, read_content
from relay.submission.headers import Parsed, parse

LIMITS = ContentLimits(header_fields=20, header_octets=8000, mime_depth=3, mime_parts=5)
HEAD = b"From: a@b.test\r\nSubject: Hi\r\n"
LONG = b"word " * 300 + b"\r\n"


def passed_on(content: bytes) -> bytes:
    parsed = read_content(content, LIMITS)
    return b"".join(field.raw for field in parsed.fields) + parsed.body


def refusal(content: bytes) -> str:
    with pytest.raises(Refused) as caught:
        read_content(content, LIMITS)
    return caught.value.code


def read(content: bytes) -> EmailMessage:
    return cast(EmailMessage, message_from_bytes(content, policy=policy.default))


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b") -> bytes:
    """A Content-Type field and a body."""
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return b"Content-Type: multipart/%s; boundary=%s\r\n\r\n%s--%s--\r\n" % (kind, boundary, body, boundary)


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"\r\n" + b"x" * 998 + b"\r\n",
        HEAD + b"\r\n" + b"x" * 998,
        HEAD + b"X-Long: " + b"y" * 990 + b"\r\n\r\n",
        HEAD + b"\r\n",
        HEAD,
        HEAD + multipart(b"\r\none", b"Content-Type: text/html\r\n\r\ntwo"),
        HEAD + b"\r\n" + b"line\r\n" * 5000,
    ],
)
def test_what_is_legal_stays_as_it_is(content: bytes) -> None:
    parsed = parse(content)
    assert check_content(parsed, LIMITS) is parsed


@pytest.mark.parametrize("content_type", [b"", b"Content-Type: text/html; charset=utf-8\r\n"])
@pytest.mark.parametrize(
    "encoding", [b"", b"Content-Transfer-Encoding: 8bit\r\n", b"content-transfer-encoding:7BIT\r\n"]
)
def test_long_text_becomes_quoted_printable(content_type: bytes, encoding: bytes) -> None:
    body = "grüße ".encode() * 300 + b" \r\n.\r\nFrom here = x\r\n"
    out = passed_on(HEAD + content_type + encoding + b"\r\n" + body)
    assert not has_long_line(out)
    assert out.startswith(HEAD)
    assert out.lower().count(b"content-transfer-encoding") == 1
    assert b"MIME-Version: 1.0\r\n" in out
    message = read(out)
    assert message["content-transfer-encoding"] == "quoted-printable"
    assert message.get_payload(decode=True) == body


def test_a_long_part_is_encoded_and_its_neighbours_stay() -> None:
    other = b"Content-Type: text/plain\r\n\r\nshort\r\n"
    part = b"Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>" + LONG * 2
    data = b"Content-Type: application/json\r\n\r\n{" + b" " * 2000 + b"}"
    out = passed_on(HEAD + b"MIME-Version: 1.0\r\n" + multipart(other, part, data))
    assert not has_long_line(out)
    assert other in out
    parts = list(read(out).iter_parts())
    assert parts[1].get_payload(decode=True) == b"<p>" + LONG * 2
    assert parts[2].get_payload(decode=True) == b"{" + b" " * 2000 + b"}"
    assert [part["content-transfer-encoding"] for part in parts] == [None, "quoted-printable", "base64"]


def test_a_part_without_a_header_gets_one() -> None:
    out = passed_on(HEAD + multipart(b"\r\n" + LONG))
    assert next(read(out).iter_parts()).get_payload(decode=True) == LONG


def test_what_is_encoded_already_is_wrapped_anew() -> None:
    data = bytes(range(256)) * 20
    base64 = b"Content-Transfer-Encoding: base64\r\n\r\n" + binascii.b2a_base64(data, newline=False)
    quoted = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=C3=BC and so on " * 100
    out = passed_on(HEAD + multipart(b"Content-Type: image/png\r\n" + base64, quoted))
    assert not has_long_line(out)
    parts = list(read(out).iter_parts())
    assert parts[0].get_payload(decode=True) == data
    assert parts[1].get_payload(decode=True) == b"\xc3\xbc and so on " * 100


@pytest.mark.parametrize(
    "content",
    [
        HEAD + multipart(b"\r\n" + LONG, kind=b"signed"),
        HEAD + multipart(multipart(b"\r\n" + LONG, boundary=b"c"), kind=b"signed"),
        HEAD + multipart(b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n" + LONG),
        HEAD + b"Content-Transfer-Encoding: x-uuencode\r\n\r\n" + LONG,
        HEAD + multipart(b"\r\nshort").replace(b"\r\n\r\n", b"\r\n\r\n" + LONG, 1),  # before the first part
        HEAD + b"X-Long: " + b"y" * 1000 + b"\r\n\r\n",
    ],
)
def test_what_must_not_be_touched_is_refused(content: bytes) -> None:
    assert refusal(content) == "line_too_long"


def test_long_header_fields_are_folded_and_say_the_same() -> None:
    references = b"References: " + b" ".join(b"<%d@example.test>" % number for number in range(200)) + b"\r\n"
    out = passed_on(HEAD + references + b"\r\nHello\r\n")
    assert not has_long_line(out)
    assert b"\r\n\r\nHello\r\n" in out
    assert out.replace(b"\r\n <", b" <") == HEAD + references + b"\r\nHello\r\n"


def test_our_own_fields_may_be_long() -> None:
    content = HEAD + b"X-PlugSend-Metadata: {" + b"x" * 3000 + b"}\r\nBcc: " + b"a@b.test," * 200 + b"\r\n\r\n"
    assert passed_on(content) == content


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (HEAD + b"X: y\r\n" * 19 + b"\r\n", "header_too_large"),
        (HEAD + b"X: yyyyyyyy\r\n" * 900 + b"\r\n", "header_too_large"),
        (b"X" * 9000, "header_too_large"),
        (HEAD + multipart(*[b"\r\nx"] * 6), "mime_too_complex"),
        (HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n--b-not" * 100, "mime_too_complex"),
        (
            HEAD + multipart(multipart(multipart(multipart(b"\r\nx", boundary=b"e"), boundary=b"d"), boundary=b"c")),
            "mime_too_complex",
        ),
        (HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 5 + b"x", "mime_too_complex"),
    ],
)
def test_too_much_is_refused(content: bytes, code: str) -> None:
    assert refusal(content) == code


def test_a_large_message_is_looked_through_fast() -> None:
    body = b"\r\n" + b"x" * 76 + b"\r\n"
    parsed = Parsed((), body * 250_000)  # 20 MB
    assert check_content(parsed, LIMITS) is parsed


LINES = st.lists(st.binary(max_size=1100).map(lambda line: line.translate(None, b"\r\n\0")), max_size=6)


@given(LINES, st.sampled_from([b"7bit", b"8bit", b"quoted-printable", b"base64", b"x-other"]), st.booleans())
def test_whatever_is_passed_on_is_legal(lines: list[bytes], encoding: bytes, in_part: bool) -> None:
    leaf = b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + b"\r\n".join(lines)
    content = HEAD + (multipart(leaf) if in_part else leaf)
    try:
        out = passed_on(content)
    except Refused:
        return
    assert not has_long_line(out)
    assert b"\n" not in out.replace(b"\r\n", b"")
    if not has_long_line(content):
        assert out == content
