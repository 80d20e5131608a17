"""An exchanger that does not offer 8BITMIME gets ASCII that says the same, and is signed in that form (RFC 6152, 3)."""

import asyncio
from contextlib import AsyncExitStack
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.credentials import Credential
from domains.models import DkimKey
from events.models import Event
from relay.lanes import Lane
from relay.models import Recipient
from relay.submission.accept import Submission
from relay.submission.content import has_long_line, to_seven_bit
from tests.dkim_verifiers import by_dkimpy, by_opendkim
from tests.peer import Peer
from tests.test_content import HEAD, multipart
from tests.test_fairness import at_work, make_organization, wait_until

GRUESSE = "Grüße\r\n".encode()
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + GRUESSE
DATA = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\xd8\r\n"


def leaves(content: bytes) -> list[tuple[str, str | None, object]]:
    """Content type, charset and decoded octets of each part without parts."""
    message = message_from_bytes(content, policy=policy.compat32)
    return [
        (part.get_content_type(), part.get_content_charset(), part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]


def encodings(content: bytes) -> list[str | None]:
    fields = [part["content-transfer-encoding"] for part in message_from_bytes(content).walk()]
    return [field and field.strip() for field in fields]


# ---- What is converted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEAD + b"\r\n" + GRUESSE, ["quoted-printable"]),
        (HEAD + TEXT, ["quoted-printable"]),
        (HEAD + DATA, ["base64"]),
        (HEAD + multipart(TEXT, DATA, b"\r\nplain"), [None, "quoted-printable", "base64", None]),
        (HEAD + multipart(b"\r\n" + GRUESSE), [None, "quoted-printable"]),
        (
            HEAD + b"Content-Transfer-Encoding: 8bit\r\n" + multipart(
                b"content-transfer-encoding:\r\n BINARY\r\n" + multipart(TEXT, boundary=b"c"),
                b"Content-Transfer-Encoding: 8bit\r\n\r\nplain",
            ),
            ["7bit", "7bit", "quoted-printable", "7bit"],
        ),
        (HEAD + multipart(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC \xc3\xbc"), [None, "quoted-printable"]),
    ],
)  # fmt: skip
def test_each_part_gets_the_encoding_that_suits_it(content: bytes, expected: list[str | None]) -> None:
    converted = to_seven_bit(content)
    assert converted.isascii()
    assert converted.startswith(HEAD)
    assert encodings(converted) == expected
    assert leaves(converted) == leaves(content)


def test_mime_is_named_where_it_was_not() -> None:
    assert b"\r\nMIME-Version: 1.0\r\n" in to_seven_bit(HEAD + b"\r\n" + GRUESSE)
    versioned = HEAD + b"Mime-Version: 1.0\r\n\r\n" + GRUESSE
    assert to_seven_bit(versioned).lower().count(b"mime-version") == 1


@pytest.mark.parametrize(
    "untouched",
    [
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n" + GRUESSE,
        multipart(TEXT, boundary=b"c", kind=b"signed"),
        multipart(TEXT, boundary=b"c", kind=b"encrypted"),
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\n" + GRUESSE,
        "Content-Disposition: attachment; filename=Grüße\r\n\r\nplain".encode(),
    ],
)
def test_what_must_not_be_touched_stays_and_the_rest_is_converted(untouched: bytes) -> None:
    content = HEAD + b"Content-Transfer-Encoding: 8bit\r\n" + multipart(untouched, TEXT)
    converted = to_seven_bit(content)
    assert untouched in converted
    assert converted.count(GRUESSE) == content.count(GRUESSE) - 1
    assert encodings(converted)[0] == "8bit"  # still true
    assert leaves(converted) == leaves(content)


def test_fields_of_the_header_stay() -> None:
    content = "Subject: Grüße\r\n\r\nGrüße\r\n".encode()
    assert to_seven_bit(content).startswith("Subject: Grüße\r\n".encode())
    assert to_seven_bit(content).endswith(b"\r\n\r\nGr=C3=BC=C3=9Fe\r\n")
    only_there = "Subject: Grüße\r\n\r\nplain\r\n".encode()
    assert to_seven_bit(only_there) == only_there


# Lines as a client may send them: no CR, LF or NUL alone, of legal length, and none that looks like a boundary.
LINE = st.binary(max_size=900).map(lambda line: line.translate(None, b"\r\n\0").replace(b"--", b"-"))
BODY = st.lists(LINE, max_size=6).map(b"\r\n".join)
ENCODING = st.sampled_from([b"", b"7bit", b"8bit", b"Binary", b"quoted-printable"])
TYPE = st.sampled_from(
    [b"", b"text/plain; charset=utf-8", b"TEXT/HTML; charset=latin-1", b"image/png", b"application/x"]
)


@st.composite
def entities(draw: st.DrawFn, depth: int = 2) -> bytes:
    """Header fields, an empty line and a body, perhaps of parts."""
    if depth and draw(st.booleans()):
        parts = draw(st.lists(entities(depth=depth - 1), min_size=1, max_size=3))
        label = draw(st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n"]))
        return label + multipart(*parts, boundary=b"depth-%d" % depth)
    content_type, encoding, body = draw(TYPE), draw(ENCODING), draw(BODY)
    fields = b"Content-Type: %b\r\n" % content_type if content_type else b""
    fields += b"Content-Transfer-Encoding: %b\r\n" % encoding if encoding else b""
    return fields + b"\r\n" + body


@given(entities())
def test_it_is_ascii_legal_and_says_the_same(entity: bytes) -> None:
    content = HEAD + entity
    converted = to_seven_bit(content)
    assert converted.isascii()
    assert leaves(converted) == leaves(content)
    assert not has_long_line(converted)
    assert converted.count(b"\n") == converted.count(b"\r\n") == converted.count(b"\r")
    assert to_seven_bit(converted) == converted
    if content.isascii():
        assert converted == content


# ---- On the wire -----------------------------------------------------------------------------------------------------

OFFERS_LITTLE = b"250-peer.test\r\n250 PIPELINING\r\n"


def without_8bitmime(line: bytes) -> bytes | None:
    return OFFERS_LITTLE if line.startswith(b"EHLO") else None


def send(peers: dict[str, Peer], content: bytes, *addresses: str) -> None:
    """Delivers one message to all, and waits until nobody's is open any more."""
    acme = make_organization("acme")
    credential = Credential(acme.pk, False, None, None, frozenset({"send"}), "")

    async def main() -> None:
        async with AsyncExitStack() as stack:
            for peer in peers.values():
                await stack.enter_async_context(peer)
            ports = {destination: peer.port for destination, peer in peers.items()}
            desk, engine = await stack.enter_async_context(at_work(ports))
            await desk.submit(Submission(credential, "smtp", "ESMTPSA", "ada@acme.test", addresses, content))
            engine.wake({Lane(acme.pk, destination) for destination in peers})
            await wait_until(lambda: all(peer.messages for peer in peers.values()))
            async with asyncio.timeout(10):
                while await Recipient.objects.filter(next_attempt_at__isnull=False).aexists():
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def dkim_records() -> dict[str, str]:
    key = DkimKey.objects.get(state="active")
    return {f"{key.selector}._domainkey.acme.test": f"v=DKIM1; k=rsa; p={key.public_key}"}


def received(peer: Peer) -> bytes:
    """Without the final dot and what it doubled."""
    return peer.messages[0].removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("padding", [0, 700_000])  # signed on the loop; signed in a thread, read when its turn has come
def test_one_message_to_both_kinds_of_exchanger(tmp_path: Path, padding: int) -> None:
    old, new = Peer(answer_line=without_8bitmime), Peer()
    text = GRUESSE + b".\r\n" + b"x" * 70 + b"\r\n" + b"y" * 70 + b"\r\n" * (padding // 2)
    content = HEAD.replace(b"a@b.test", b"ada@acme.test") + multipart(TEXT + text, DATA)
    send({"old.test": old, "new.test": new}, content, "bob@old.test", "cleo@new.test")
    assert received(old).isascii()
    assert TEXT + text in received(new)
    assert leaves(received(old)) == leaves(received(new))
    records = dkim_records()
    for peer in (old, new):
        assert [one.holds for one in by_dkimpy(received(peer), records)] == [True]
        assert [result for result, *_ in by_opendkim(received(peer), records, tmp_path)] == ["pass"]
    converted, as_it_was = (
        Event.objects.get(type="delivered", address=address).transcript for address in ("bob@old.test", "cleo@new.test")
    )
    assert "-- 8BITMIME is not offered: converted to 7 bits and signed in that form\n" in converted
    assert "BODY=8BITMIME" not in converted
    assert "converted" not in as_it_was
    assert "BODY=8BITMIME" in as_it_was


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_converted_is_sent_as_it_is() -> None:
    old = Peer(answer_line=without_8bitmime)
    signed = multipart(TEXT, boundary=b"c", kind=b"signed")
    send({"old.test": old}, b"From: ada@acme.test\r\n" + multipart(signed, TEXT), "bob@old.test")
    assert signed in received(old)
    assert [one.holds for one in by_dkimpy(received(old), dkim_records())] == [True]
    assert "; what cannot be converted is sent as it is\n" in Event.objects.get(type="delivered").transcript


@pytest.mark.django_db(transaction=True)
def test_a_server_of_the_old_kind_gets_ascii() -> None:
    """HELO only: it offers nothing at all."""
    old = Peer(answer_line=lambda line: b"502 5.5.1 what is EHLO\r\n" if line.startswith(b"EHLO") else None)
    send({"old.test": old}, b"From: ada@acme.test\r\n" + TEXT, "bob@old.test")
    assert received(old).isascii()
