"""What a REST client asked for is what a standard parser reads back."""

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.catalogue import Refused
from relay.submission import headers
from relay.submission.content import ContentLimits, read_content, read_own_content
from relay.submission.header_writing import Mailbox, address_field, encoded_words, text_field
from relay.submission.media_types import guess_media_type, read_media_type
from relay.submission.mime import Attachment, Letter, build

LETTER = Letter(from_="Ada <ada@example.test>", to=("bob@b.test",), subject="Hi", text="Hello\n")
# Every character that a line may hold, those that trouble encoders most often.
CHARACTER = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from(
    ' _=?"\\<>,;:@()[]éß日💌\u200d\u00a0'
)
ONE_LINE = st.text(CHARACTER, max_size=300)
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t") | st.sampled_from(" =.-\n\u2028\x85"),
    max_size=2000,
)
LINE_ENDS = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\x7f",
    "\ud800",
]


def letter(**fields: Any) -> Letter:
    return Letter(**({name: getattr(LETTER, name) for name in LETTER.__dataclass_fields__} | fields))


def read(letter: Letter) -> EmailMessage:
    raw = build(letter).content
    check_legal(raw)
    return cast(EmailMessage, message_from_bytes(raw, policy=default))


def check_legal(raw: bytes) -> None:
    """What both doors ask of any message, and more: header lines folded, no line mended afterwards."""
    headers.check_octets(raw)
    parsed = read_content(raw, ContentLimits())
    headers.check_single(parsed)
    assert b"".join([*(field.raw for field in parsed.fields), parsed.body]) == raw
    assert raw.endswith(b"\r\n")
    for line in raw.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        assert line.strip()
        assert len(line.decode()) <= 78 or len(line.split()) <= 2, line


# ---- Header ----------------------------------------------------------------------------------------------------------


@given(subject=ONE_LINE)
@example(subject="=?utf-8?q?already?=")
@example(subject="s" * 3000)
@example(subject="a" + " " * 1500 + "b")
@example(subject="word " * 400)
@example(subject="x" * 900 + " y")
@example(subject="\tü\t")
def test_any_subject_is_read_back(subject: str) -> None:
    assert str(read(letter(subject=subject))["Subject"]) == subject.strip(" \t")


@given(names=st.lists(st.text(CHARACTER, max_size=120), min_size=1, max_size=8))
@example(
    names=[
        "=?utf-8?q?already?=",
        'O"Neil \\ Sons',
        "Dr. Ada",
        "",
        "a" * 300,
        "\u00c4" * 300,
        "two  spaces",
        "word " * 60,
    ]
)
def test_any_name_is_read_back(names: list[str]) -> None:
    field = address_field("Reply-To", [Mailbox(name, f"u{number}@b.test") for number, name in enumerate(names)])
    check_legal(f"From: a@b.test\r\n{field}\r\n".encode())
    # The old interface of Python's parser: the new one puts spaces between encoded words (RFC 2047, 6.2 says not to).
    raw = field.partition(":")[2].replace("\r\n", "")
    found = [(str(make_header(decode_header(name))), address) for name, address in getaddresses([raw])]
    assert found == [(name, f"u{number}@b.test") for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ada@example.test", "", "ada@example.test"),
        ("Ada Lovelace <ada@example.test>", "Ada Lovelace", "ada@example.test"),
        ('"Lovelace, Ada" <ada@example.test>', "Lovelace, Ada", "ada@example.test"),
        ('"Ada \\"Countess\\" Lovelace" <ada@example.test>', 'Ada "Countess" Lovelace', "ada@example.test"),
        ("Grüße an 👩\u200d💻 <ada@example.test>", "Grüße an 👩\u200d💻", "ada@example.test"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= <ada@example.test>", "Grüße", "ada@example.test"),
        ("ada@bücher.test", "", "ada@xn--bcher-kva.test"),
        ("jürgen@example.test", "", "jürgen@example.test"),
        ('Ada <"ada l"@example.test>', "Ada", '"ada l"@example.test'),
    ],
)
def test_addresses_are_taken_as_people_write_them(text: str, name: str, address: str) -> None:
    built = build(letter(to=(text,), cc=(text,), reply_to=(text,), bcc=("x@b.test",)))
    assert built.recipients == (address, address, "x@b.test")
    raw = headers.parse(built.content).first(b"to")
    assert raw is not None
    shown, found = getaddresses([raw.raw.decode()[3:].strip()])[0]
    assert (str(make_header(decode_header(shown))), found) == (name, address)
    assert b"x@b.test" not in built.content


def test_a_thousand_recipients_are_named_in_legal_lines() -> None:
    to = tuple(f"Person {number} <person.{number}@example.test>" for number in range(1000))
    parsed = read(letter(to=to))
    assert [str(address) for address in parsed["To"].addresses] == list(to)


@given(values=st.dictionaries(st.from_regex(r"X-[A-Za-z0-9-]{1,60}", fullmatch=True), ONE_LINE, max_size=5))
def test_any_custom_header_is_read_back(values: dict[str, str]) -> None:
    if len({name.lower() for name in values}) < len(values) or any(n.lower().startswith("x-plugsend-") for n in values):
        return
    parsed = read(letter(headers=values))
    assert {name: str(parsed[name]) for name in values} == {name: text.strip(" \t") for name, text in values.items()}


def test_headers_that_programs_read_stay_as_they_are() -> None:
    urls = "<https://example.test/u?" + "t" * 300 + ">, <mailto:u@example.test?subject=" + "s" * 100 + ">"
    fields = {"List-Unsubscribe": urls, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "X-Entity-Ref-ID": "1"}
    raw = build(letter(headers=fields)).content
    assert f"List-Unsubscribe: {urls}\r\n".replace(", <", ",\r\n <").encode() in raw
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw


@given(text=st.text(CHARACTER, min_size=1, max_size=200), first=st.integers(0, 75))
def test_encoded_words_are_short_and_whole(text: str, first: int) -> None:
    for word in (words := encoded_words(text, first)):
        assert len(word) <= 75
        decode_header(word)[0][0].decode()  # RFC 2047, 5: no character is cut in two
    assert str(make_header(decode_header(" ".join(words)))) == text


@pytest.mark.parametrize("octet", LINE_ENDS)
@pytest.mark.parametrize(
    "field",
    [
        "from_",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "header",
        "header name",
        "filename",
        "content_type",
        "content_id",
    ],
)
def test_nothing_can_be_injected(field: str, octet: str) -> None:
    evil = f"x{octet}Bcc: eve@evil.test"
    attachment = {name: evil for name in ("filename", "content_type", "content_id") if name == field}
    changes: dict[str, Any] = {
        "from_": {"from_": f"{evil} <ada@example.test>"},
        "subject": {"subject": evil},
        "header": {"headers": {"X-A": evil}},
        "header name": {"headers": {evil: "x"}},
    }.get(field, {"attachments": (Attachment(b"x", **attachment),)} if attachment else {field: (f"{evil} <b@b.test>",)})
    with pytest.raises(Refused) as refused:
        build(letter(**changes))
    assert refused.value.errors[0]["pointer"].startswith(f"/{field.split('_')[0].split(' ')[0]}"[:5]) or attachment


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"headers": {"X-A: 1\r\nBcc": "eve@evil.test"}}, "malformed_header", "/headers/X-A: 1\r\nBcc"),
        ({"headers": {"bcc": "eve@evil.test"}}, "malformed_header", "/headers/bcc"),
        ({"headers": {"DKIM-Signature": "v=1"}}, "malformed_header", "/headers/DKIM-Signature"),
        ({"headers": {"Content-Type": "text/html"}}, "malformed_header", "/headers/Content-Type"),
        ({"headers": {"Resent-From": "a@b.test"}}, "malformed_header", "/headers/Resent-From"),
        ({"headers": {"ARC-Seal": "i=1"}}, "malformed_header", "/headers/ARC-Seal"),
        ({"headers": {"X-PlugSend-Tag": "x"}}, "malformed_header", "/headers/X-PlugSend-Tag"),
        ({"headers": {"": "x"}}, "malformed_header", "/headers/"),
        ({"headers": {"X-Ü/~": "x"}}, "malformed_header", "/headers/X-Ü~1~0"),
        ({"to": ("bob@b.test, eve@evil.test",)}, "invalid_recipient", "/to/0"),
        ({"to": ("bob@b.test", "")}, "invalid_recipient", "/to/1"),
        ({"cc": ("bob",)}, "invalid_recipient", "/cc/0"),
        ({"reply_to": ("=?utf-8?q?a=0D=0Ab?= <b@b.test>",)}, "invalid_recipient", "/reply_to/0"),
        ({"from_": "nobody"}, "invalid_sender", "/from"),
        ({"text": "nul\0"}, "malformed_line_endings", "/text"),
        ({"html": "nul\0"}, "malformed_line_endings", "/html"),
        ({"text": "half a pair \ud83d"}, "validation_failed", "/text"),
        (
            {"attachments": (Attachment(b""), Attachment(b"", "a", "text"))},
            "malformed_header",
            "/attachments/1/content_type",
        ),
        (
            {"attachments": (Attachment(b"", "a", "multipart/mixed"),)},
            "malformed_header",
            "/attachments/0/content_type",
        ),
        ({"attachments": (Attachment(b"", "a", content_id="a b"),)}, "malformed_header", "/attachments/0/content_id"),
        ({"attachments": (Attachment(b"\0", "a", "message/rfc822"),)}, "line_too_long", "/attachments/0/content_type"),
    ],
)
def test_what_is_refused_is_named(change: dict[str, Any], code: str, pointer: str) -> None:
    with pytest.raises(Refused) as refused:
        build(letter(**change))
    assert (refused.value.code, [error["pointer"] for error in refused.value.errors]) == (code, [pointer])


# ---- Body ------------------------------------------------------------------------------------------------------------


def told(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(text=TEXT, html=TEXT, subject=ONE_LINE)
@example(text="x" * 5000, html="ü" * 5000, subject="ü" * 900)
@example(text="a\r\nb\rc\n\nd ", html=".\n..\nFrom x\n", subject="")
def test_what_is_plain_needs_no_check(text: str, html: str, subject: str) -> None:
    """`accept` takes it as it is (`read_own_content`)."""
    built = build(letter(text=text, html=html, subject=subject, to=("Ü <a@b.test>", "c@b.test")))
    assert built.is_plain
    headers.check_octets(built.content)
    assert read_content(built.content, ContentLimits()) == read_own_content(built.content, ContentLimits())


@pytest.mark.parametrize("beside", [{"headers": {"X-Order": "42"}}, {"attachments": (Attachment(b"x", "a.txt"),)}])
def test_what_has_more_to_it_is_not_plain(beside: dict[str, Any]) -> None:
    assert not build(letter(**beside)).is_plain


@given(text=TEXT, html=TEXT)
@example(text="x" * 5000, html="ü" * 5000)
@example(text="a\r\nb\rc\n\nd ", html=".\n..\nFrom x\n")
@example(text="x" * 70 + "=" * 20 + " \n", html=("x" * 990 + " \n") * 3)
def test_any_text_is_read_back(text: str, html: str) -> None:
    for asked in (letter(text=text), letter(text=None, html=html), letter(text=text, html=html)):
        parsed = read(asked)
        for kind, expected in (("plain", asked.text), ("html", asked.html)):
            part = parsed.get_body((kind,))
            assert (part is None) == (expected is None)
            if part is not None and expected is not None:
                assert told(part.get_content()).removesuffix("\n") == told(expected).removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n" * 100, "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Viele Grüße aus der Stadt am großen Fluss", "quoted-printable"),
        ("日本語" * 100, "base64"),
        ("", "7bit"),
    ],
)
def test_the_plainest_encoding_is_taken(text: str, encoding: str) -> None:
    assert read(letter(text=text))["Content-Transfer-Encoding"] == encoding


# ---- Attachments -----------------------------------------------------------------------------------------------------

ATTACHMENT = st.builds(
    Attachment,
    content=st.binary(max_size=200),
    filename=st.text(CHARACTER, min_size=1, max_size=200).map(str.strip).filter(bool),
    content_type=st.sampled_from(
        ["", "application/pdf", "image/png", "text/csv; header=present; charset=utf-16", 'a/b;x="y z"']
    ),
    content_id=st.sampled_from(["", "logo", "a" * 128, "img.1@example.test"]),
)


@given(
    attachments=st.lists(ATTACHMENT, max_size=12),
    text=st.none() | st.just("text"),
    html=st.none() | st.just("<p>ü</p>"),
)
def test_any_attachments_are_read_back(attachments: list[Attachment], text: str | None, html: str | None) -> None:
    parsed = read(letter(text=text, html=html, attachments=tuple(attachments)))
    parts = [part for part in parsed.walk() if part.get_content_disposition()]
    shown = [attachment for attachment in attachments if attachment.content_id and html is not None]
    beside = [attachment for attachment in attachments if attachment not in shown]
    for part, attachment in zip(parts, [*shown, *beside], strict=True):
        assert part.get_filename() == attachment.filename
        assert part.get_payload(decode=True) == attachment.content
        assert part.get_content_disposition() == ("inline" if attachment.content_id else "attachment")
        assert str(part["Content-ID"] or "") == (f"<{attachment.content_id}>" if attachment.content_id else "")
        expected = read_media_type(attachment.content_type) or guess_media_type(attachment.filename)
        assert part.get_content_type() == expected.name
        for name, text_ in expected.parameters:
            assert part["Content-Type"].params[name] == text_
    for kind, asked in (("plain", text if text or html else ""), ("html", html)):
        body = parsed.get_body((kind,))
        assert (body.get_content().strip() if body is not None else None) == asked


def test_a_letter_with_everything_has_the_usual_shape() -> None:
    attachments = (Attachment(b"%PDF", "receipt.pdf"), Attachment(b"\x89PNG", "logo.png", content_id="logo"))
    parsed = read(letter(html='<img src="cid:logo">', attachments=attachments))

    def shape(part: EmailMessage) -> Any:
        parts = [shape(cast(EmailMessage, inner)) for inner in part.iter_parts()] if part.is_multipart() else []
        return (part.get_content_type(), *parts) if parts else part.get_content_type()

    related = ("multipart/related", "text/html", "image/png")
    assert shape(parsed) == ("multipart/mixed", ("multipart/alternative", "text/plain", related), "application/pdf")


def test_the_same_attachment_twice_is_there_twice() -> None:
    attachment = Attachment(b"x", "x.txt")
    assert len(list(read(letter(attachments=(attachment, attachment))).iter_attachments())) == 2


@pytest.mark.parametrize(
    ("attachment", "content_type", "encoding"),
    [
        (Attachment(b"Subject: x\n\nbody\n", "x.eml", "message/rfc822"), "message/rfc822", "7bit"),
        (Attachment("Subject: x\n\nü\n".encode(), "x.eml"), "message/rfc822", "8bit"),
        (Attachment(b"x" * 999, "x.eml"), "application/octet-stream", "base64"),
        (Attachment(b"a;b", "x.csv"), "text/csv", "base64"),
        (Attachment("ä;b".encode(), "x.csv"), 'text/csv; charset="utf-8"', "base64"),
        (Attachment("ä;b".encode("latin-1"), "x.csv"), "text/csv", "base64"),
        (Attachment(b"x", "x.tar.gz"), "application/gzip", "base64"),
        (Attachment(b"x", "REPORT.DOCX"), guess_media_type("a.docx").name, "base64"),
        (Attachment(b"x", "x"), "application/octet-stream", "base64"),
    ],
)
def test_the_type_is_told_from_name_and_content(attachment: Attachment, content_type: str, encoding: str) -> None:
    (part,) = read(letter(attachments=(attachment,))).iter_attachments()
    assert (part["Content-Type"], part["Content-Transfer-Encoding"]) == (content_type, encoding)


@given(st.text(max_size=60) | st.from_regex(r"[a-z]+/[a-z]+(;[a-z]+=[a-z\"]+)*", fullmatch=True))
def test_a_media_type_that_is_read_can_be_written(text: str) -> None:
    if read_media_type(text) is not None:
        (part,) = read(letter(attachments=(Attachment(b"", "x", text),))).iter_attachments()
        assert not part["Content-Type"].defects


@given(name=st.from_regex(r"[!-9;-~]{1,76}", fullmatch=True), text=ONE_LINE)
def test_a_field_never_breaks(name: str, text: str) -> None:
    field = text_field(name, text)
    assert all(len(line) <= 998 for line in field.split("\r\n"))
    assert len(headers.parse(field.encode() + b"\r\n").fields) == 1
