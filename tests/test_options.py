"""REST's powers over SMTP: the X-PlugSend header fields, and how a repeated message is recognised."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from accounts.catalogue import Refused
from accounts.fingerprints import request_fingerprint
from relay.submission.headers import parse
from relay.submission.once import by_content, message_fingerprint
from relay.submission.options import Options, read_options


def options(*lines: str) -> Options:
    return read_options(parse("".join(f"{line}\r\n" for line in (*lines, "From: a@b.test", "")).encode()))


def test_options_are_read() -> None:
    read = options(
        "X-PlugSend-Idempotency-Key: order-42",
        "x-plugsend-tag: welcome",
        "X-PlugSend-Tag: kind:trial",
        "X-PlugSend-Tag: welcome",
        'X-PlugSend-Metadata: {"order": "42",\r\n "name": "\\u00c4da"}',
    )
    assert read == Options("order-42", ("welcome", "kind:trial"), {"order": "42", "name": "Äda"})


def test_without_options_there_are_none() -> None:
    assert options() == Options()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("X-PlugSend-Idempotency-Key:", "1 to 256 visible"),
        ("X-PlugSend-Idempotency-Key: two words", "1 to 256 visible"),
        ("X-PlugSend-Idempotency-Key: " + "x" * 257, "1 to 256 visible"),
        ("X-PlugSend-Idempotency-Key: a\r\nX-PlugSend-Idempotency-Key: b", "twice"),
        ("X-PlugSend-Tag: no spaces", "letters"),
        ("X-PlugSend-Tag: a:b:c", "letters"),
        ("X-PlugSend-Metadata: {", "not JSON"),
        ("X-PlugSend-Metadata: []", "not a JSON object"),
        ('X-PlugSend-Metadata: {"a": 1}', "a: a string"),
        ('X-PlugSend-Metadata: {"": "x"}', "printable"),
        ('X-PlugSend-Metadata: {"a": "\\u0000"}', "a: a string"),
        ('X-PlugSend-Metadata: {"a": "\\ud800"}', "a: a string"),
        ("X-PlugSend-Metadata: {}\r\nX-PlugSend-Metadata: {}", "twice"),
        ("X-PlugSend-Expires:", "'' is neither"),
        ("X-PlugSend-Expires: soon", "'soon' is neither"),
        ("X-PlugSend-Expires: -5", "'-5' is neither"),
        ("X-PlugSend-Expires: 3600.5", "is neither"),
        ("X-PlugSend-Expires: 2026-11-25T10:00:00", "with its zone"),
        ("X-PlugSend-Expires: 2026-11-31T10:00:00Z", "is neither"),
        ("X-PlugSend-Expires: 60\r\nX-PlugSend-Expires: 60", "twice"),
        ("X-PlugSend-Send-At: soon", "'soon' is not understood"),
        ("X-PlugSend-Send-At: 2026-11-25T10:00:00", "has no zone"),
        ("X-PlugSend-Send-At: now\r\nX-PlugSend-Send-At: now", "twice"),
        ("X-PlugSend-Stream: News", "a to z, digits"),
        ("X-PlugSend-Stream: " + "n" * 41, "at most 40"),
        ("X-PlugSend-Stream: a\r\nX-PlugSend-Stream: b", "twice"),
        ("X-PlugSend-Idempotencykey: a", "no such option"),
        ("\r\n".join(f"X-PlugSend-Tag: t{n}" for n in range(51)), "at most 50"),
    ],
)
def test_a_malformed_option_is_refused_by_name(line: str, says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        options(line)
    assert caught.value.code == "malformed_option_header"
    assert "X-PlugSend-" in caught.value.detail


NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], NOW + timedelta(hours=72)),
        (["X-PlugSend-Expires: 3600"], NOW + timedelta(hours=1)),
        (["X-PlugSend-Expires: 60"], NOW + timedelta(minutes=1)),
        (["X-PlugSend-Expires: 259200"], NOW + timedelta(hours=72)),
        (["X-PlugSend-Expires: 2026-11-25T11:00:00Z"], NOW + timedelta(hours=1)),
        (["X-PlugSend-Expires: 2026-11-25T13:00:00.5+02:00"], NOW + timedelta(hours=1, milliseconds=500)),
    ],
)
def test_a_message_expires_when_it_asks_to(lines: list[str], expected: datetime) -> None:
    expires_at = options(*lines).expires_at(NOW)
    assert expires_at == expected
    assert expires_at.tzinfo == UTC


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "after 0 seconds"),
        ("59", "after 59 seconds"),
        ("259201", "after 259201 seconds"),
        ("999999999", "after 999999999 seconds"),
        ("20261125", "after 20261125 seconds"),
        ("2026-11-25T09:00:00Z", "at 2026-11-25T09:00:00+00:00"),
        ("2026-11-25T10:00:59Z", "at 2026-11-25T10:00:59+00:00"),
        ("2026-11-28T10:00:01Z", "at 2026-11-28T10:00:01+00:00"),
        ("0001-01-01T00:00:00+23:59", "at 0001-01-01"),
        ("9999-12-31T23:59:59-23:59", "at 9999-12-31"),
    ],
)
def test_an_expiry_out_of_range_is_refused_with_its_value(value: str, shown: str) -> None:
    with pytest.raises(Refused) as caught:
        options(f"X-PlugSend-Expires: {value}").expires_at(NOW)
    assert caught.value.code == "expiry_out_of_range"
    assert shown in caught.value.detail


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        (["X-PlugSend-Send-At: 2026-11-25T12:00:00+01:00"], NOW + timedelta(hours=1)),
        (["X-PlugSend-Send-At: 2026-11-25T09:59:30Z"], None),
        (["X-PlugSend-Send-At: 2026-11-25T05:00:00Z", "X-PlugSend-Idempotency-Key: k"], None),
    ],
)
def test_a_message_is_sent_when_it_asks_to(lines: list[str], expected: datetime | None) -> None:
    assert options(*lines).scheduled_at(NOW) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["X-PlugSend-Send-At: 2026-11-25T05:00:00Z"],
        ["X-PlugSend-Send-At: 2026-11-24T05:00:00Z", "X-PlugSend-Idempotency-Key: k"],
        ["X-PlugSend-Send-At: 2026-12-26T10:00:00Z"],
    ],
)
def test_a_time_of_sending_out_of_range_is_refused(lines: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        options(*lines).scheduled_at(NOW)
    assert caught.value.code == "schedule_out_of_range"


def test_words_are_counted_from_the_present() -> None:
    send_at = options("X-PlugSend-Send-At: in 2 hours").send_at
    assert send_at is not None
    assert abs(send_at - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)


MESSAGE = (
    b"Date: Wed, 25 Nov 2026 01:02:03 +0000\r\nMessage-ID: <1@a>\r\nFrom: a@b.test\r\nSubject: Hi\r\n"
    b'Content-Type: multipart/alternative; boundary="=====1"\r\n\r\n--=====1\r\n\r\nHello\r\n--=====1--\r\n'
)


def fingerprint(
    message: bytes, sender: str = "a@b.test", recipients: tuple[str, ...] = ("c@d.test", "e@f.test")
) -> bytes:
    return message_fingerprint(sender, recipients, parse(message))


def test_a_message_built_anew_is_the_same() -> None:
    again = MESSAGE.replace(b"01:02:03", b"01:02:04").replace(b"<1@a>", b"<2@a>").replace(b"=====1", b"=====2")
    again = b"X-PlugSend-Idempotency-Key: k\r\n" + again
    assert again != MESSAGE
    assert fingerprint(again, recipients=("e@f.test", "c@d.test")) == fingerprint(MESSAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"message": MESSAGE.replace(b"Hello", b"Hallo")},
        {"message": MESSAGE.replace(b"Subject: Hi", b"Subject: Ho")},
        {"message": MESSAGE.replace(b"From: a@", b"From: b@")},
        {"message": MESSAGE, "sender": "b@b.test"},
        {"message": MESSAGE, "recipients": ("c@d.test",)},
    ],
)
def test_another_message_is_another(change: dict[str, object]) -> None:
    assert fingerprint(**change) != fingerprint(MESSAGE)  # type: ignore[arg-type]


def test_safe_resend_goes_by_message_id_and_body() -> None:
    def key(message: bytes, user: int = 1) -> str | None:
        once = by_content(UUID(int=user), "a@b.test", ("c@d.test",), parse(message))
        return once.key if once else None

    assert key(MESSAGE) == key(MESSAGE.replace(b"01:02:03", b"01:02:09"))
    assert key(MESSAGE) != key(MESSAGE.replace(b"<1@a>", b"<2@a>"))
    assert key(MESSAGE) != key(MESSAGE.replace(b"Hello", b"Hallo"))
    assert key(MESSAGE) != key(MESSAGE, user=2)
    assert key(MESSAGE.replace(b"Message-ID: <1@a>\r\n", b"")) is None


def test_a_request_that_says_the_same_is_the_same() -> None:
    assert request_fingerprint({"a": 1, "b": [1, 2]}) == request_fingerprint({"b": [1, 2], "a": 1})
    assert request_fingerprint({"a": 1, "b": [1, 2]}) != request_fingerprint({"a": 1, "b": [2, 1]})
