"""What a REST client asked for is what a standard parser reads back."""

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import Refused
from relay.submission.mime import Letter, build

LETTER = Letter(from_="Ada <ada@example.test>", to=("bob@b.test",), subject="Hi", text="Hello\n")
ONE_LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=2000)


def read(letter: Letter) -> EmailMessage:
    return cast(EmailMessage, message_from_bytes(build(letter), policy=default))


@given(subject=ONE_LINE)
def test_any_subject_is_read_back(subject: str) -> None:
    parsed = read(Letter(from_="ada@example.test", to=("bob@b.test",), subject=subject, text=""))
    assert " ".join(str(parsed["Subject"]).split()) == " ".join(subject.split())


@given(text=TEXT)
def test_any_text_is_read_back(text: str) -> None:
    parsed = read(Letter(from_="ada@example.test", to=("bob@b.test",), subject="", text=text))
    assert parsed.get_content().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")


@given(name=st.text(st.characters(categories=["L", "N"], include_characters=" -"), min_size=1, max_size=60))
def test_any_display_name_is_read_back(name: str) -> None:
    quoted = f'"{name}" <ada@example.test>'
    # The old interface of Python's parser: the new one puts spaces between encoded words (RFC 2047, 6.2 says not to).
    parsed = message_from_bytes(build(Letter(from_=quoted, to=("bob@b.test",), subject="", text="")))
    shown, address = parseaddr(str(make_header(decode_header(parsed["From"]))))
    assert address == "ada@example.test"
    assert " ".join(shown.split()) == " ".join(name.split())


def test_text_and_html_are_alternatives() -> None:
    parsed = read(Letter(from_="ada@example.test", to=("b@b.test",), subject="", text="plain", html="<p>ünï 💌</p>"))
    assert parsed.get_content_type() == "multipart/alternative"
    html = parsed.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<p>ünï 💌</p>"


def test_bcc_is_in_the_envelope_only() -> None:
    letter = Letter(from_="a@example.test", to=("b@b.test",), bcc=("Secret <s@b.test>",), subject="", text="x")
    assert letter.recipients == ("b@b.test", "s@b.test")
    assert b"s@b.test" not in build(letter)


def test_lines_are_legal_whatever_their_length() -> None:
    raw = build(Letter(from_="a@example.test", to=("b@b.test",), subject="s" * 3000, text="x" * 5000))
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Hi\r\nBcc: eve@evil.test"},
        {"subject": "Hi\nBcc: eve@evil.test"},
        {"to": ("bob@b.test\r\nBcc: eve@evil.test",)},
        {"from_": "Ada\r\nBcc: eve@evil.test <ada@example.test>"},
        {"headers": {"X-A": "1\r\nBcc: eve@evil.test"}},
        {"headers": {"X-A: 1\r\nBcc": "eve@evil.test"}},
        {"headers": {"Bcc": "eve@evil.test"}},
        {"headers": {"DKIM-Signature": "v=1"}},
        {"to": ("bob@b.test, eve@evil.test",)},
        {"to": ("",)},
        {"text": "nul\0"},
    ],
)
def test_nothing_can_be_injected(change: dict[str, object]) -> None:
    fields = {name: getattr(LETTER, name) for name in LETTER.__dataclass_fields__} | change
    letter = Letter(**fields)
    with pytest.raises(Refused):
        build(letter)
