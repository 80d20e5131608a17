"""The rules behind both doors, by table."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from string import Formatter
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import REFUSALS, Refused
from accounts.credentials import Credential
from relay.submission.accept import Accepted, DomainFact, Limits, Submission, accept, examine
from relay.submission.headers import from_addresses, parse

LIMITS = Limits(message_octets=10_000, recipients=3)
ORGANIZATION = UUID(int=1)
CREDENTIAL = Credential(ORGANIZATION, False, None, None, frozenset({"send"}), "example.test")
CONTENT = b"From: Ada <ada@example.test>\r\nTo: bob@b.test\r\nSubject: Hi\r\n\r\nHello\r\n"
SUBMISSION = Submission(
    credential=CREDENTIAL,
    door="smtp",
    protocol="ESMTPSA",
    envelope_sender="ada@example.test",
    recipients=("bob@b.test",),
    content=CONTENT,
)
VERIFIED = {"example.test": DomainFact(UUID(int=7), "example.test", True), "other.test": None}


def submit(submission: Submission, facts: Mapping[str, DomainFact | None] = VERIFIED) -> Accepted:
    return accept(examine(submission, LIMITS), facts, hostname="mail.example.net")


def refusal(submission: Submission, facts: Mapping[str, DomainFact | None] = VERIFIED) -> str:
    with pytest.raises(Refused) as caught:
        submit(submission, facts)
    return caught.value.code


def test_a_plain_message_is_accepted() -> None:
    accepted = submit(SUBMISSION)
    assert accepted.subject == "Hi"
    assert accepted.header_from == "Ada <ada@example.test>"
    assert [(r.address, r.destination) for r in accepted.recipients] == [("bob@b.test", "b.test")]
    assert accepted.domain_id == UUID(int=7)


def test_content_arrives_as_it_came_but_for_what_we_add() -> None:
    accepted = submit(SUBMISSION)
    added, _, rest = accepted.content.partition(b"From: ")
    assert b"From: " + rest == CONTENT
    assert added.startswith(b"Received: by mail.example.net (PlugSend) with ESMTPSA id ")
    assert f"Message-ID: <{accepted.id}@example.test>\r\n".encode() in added
    assert b"\r\nDate: " in added


@pytest.mark.parametrize(("client", "literal"), [("192.0.2.7", "[192.0.2.7]"), ("2001:db8::7", "[IPv6:2001:db8::7]")])
def test_the_clients_address_is_named_only_when_the_organization_asks(client: str, literal: str) -> None:
    assert client.encode() not in submit(replace(SUBMISSION, client=client)).content
    asking = replace(SUBMISSION, client=client, credential=replace(CREDENTIAL, show_client_address=True))
    received = submit(asking).content.partition(b"From: ")[0]
    assert received.startswith(f"Received: from {literal}\r\n\tby mail.example.net ".encode())


def test_date_and_message_id_of_the_client_stay() -> None:
    content = b"Date: Wed, 25 Nov 2026 01:02:03 +0000\r\nMessage-ID: <x@y>\r\n" + CONTENT
    accepted = submit(replace(SUBMISSION, content=content))
    assert accepted.content.endswith(content)
    assert accepted.content.count(b"Date:") == accepted.content.count(b"Message-ID:") == 1
    assert accepted.message_id_header == "x@y"


def test_bcc_and_our_own_option_headers_do_not_travel() -> None:
    content = b"Bcc: secret@b.test,\r\n more@b.test\r\nX-PlugSend-Tag: x\r\n" + CONTENT
    accepted = submit(replace(SUBMISSION, content=content))
    assert b"secret" not in accepted.content
    assert b"more@" not in accepted.content
    assert b"X-PlugSend" not in accepted.content


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"recipients": ()}, "no_recipients"),
        ({"recipients": ("bob",)}, "invalid_recipient"),
        ({"recipients": ("bob@b.test\r\nRCPT TO:<x@y.test>",)}, "invalid_recipient"),
        ({"recipients": ("a@b.test", "b@b.test", "c@b.test", "d@b.test")}, "too_many_recipients"),
        ({"envelope_sender": "nobody"}, "invalid_sender"),
        ({"envelope_sender": "ada@other.test"}, "sender_not_allowed"),
        ({"content": CONTENT.replace(b"ada@example.test", b"ada@other.test")}, "sender_not_allowed"),
        ({"content": CONTENT.replace(b"Ada <ada@example.test>", b"nobody in particular")}, "invalid_sender"),
        ({"content": b"Subject: Hi\r\n\r\nHello\r\n"}, "missing_from_header"),
        ({"content": b"\r\nHello\r\n"}, "missing_from_header"),
        ({"content": b"From: eve@example.test\r\n" + CONTENT}, "duplicate_header"),
        ({"content": b"this is no header\r\n" + CONTENT}, "malformed_header"),
        ({"content": CONTENT + b"bare\nfeed\r\n"}, "malformed_line_endings"),
        ({"content": CONTENT + b"bare\rreturn\r\n"}, "malformed_line_endings"),
        ({"content": CONTENT + b"\n.\r\nMAIL FROM"}, "malformed_line_endings"),
        ({"content": CONTENT + b"nul\0\r\n"}, "malformed_line_endings"),
        ({"content": CONTENT + b"x" * 10_000}, "message_too_large"),
        ({"credential": replace(CREDENTIAL, is_suspended=True)}, "organization_suspended"),
        ({"credential": replace(CREDENTIAL, scopes=frozenset({"read"}))}, "insufficient_scope"),
    ],
)
def test_what_is_refused(change: dict[str, object], code: str) -> None:
    assert refusal(replace(SUBMISSION, **change)) == code  # type: ignore[arg-type]


def test_domain_must_be_ours_and_verified() -> None:
    assert refusal(SUBMISSION, {"example.test": None}) == "sender_domain_unknown"
    pending = DomainFact(uuid4(), "example.test", False)
    assert refusal(SUBMISSION, {"example.test": pending}) == "sender_domain_not_verified"
    for status in ("stopped", "taken_over"):
        lost = DomainFact(uuid4(), "example.test", False, status=status)
        assert refusal(SUBMISSION, {"example.test": lost}) == f"sender_domain_{status}"


OWN = b"Received: by MAIL.example.net\r\n (PlugSend) with ESMTPSA id 7;\r\n\tWed, 25 Nov 2026 01:02:03 +0000\r\n"
OTHER = b"Received: from mail.example.net (PlugSend) by mx.b.test; 25 Nov 2026 01:02:03 +0000\r\n"


@pytest.mark.parametrize(
    ("fields", "is_loop"),
    [
        (OTHER * 99 + OWN, False),
        (OTHER * 101, True),
        (OWN * 4, False),
        (OTHER * 50 + OWN * 5, True),
        (OWN.replace(b"MAIL.example.net", b"mail2.example.net") * 5, False),
        (b"X-" + (OWN + b"X-") * 5 + b"End: x\r\n", False),
    ],
)
def test_a_message_that_goes_in_circles_is_refused(fields: bytes, is_loop: bool) -> None:
    submission = replace(SUBMISSION, content=fields + CONTENT)
    if is_loop:
        assert refusal(submission) == "mail_loop"
    else:
        submit(submission)


def test_a_loop_through_ourselves_is_broken_at_the_fifth_round() -> None:
    submission = replace(SUBMISSION, client="192.0.2.7", credential=replace(CREDENTIAL, show_client_address=True))
    for _ in range(5):
        submission = replace(submission, content=submit(submission).content)
    assert refusal(submission) == "mail_loop"


def test_expiry_counts_from_the_submission() -> None:
    now = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
    draft = examine(replace(SUBMISSION, content=b"X-PlugSend-Expires: 3600\r\n" + CONTENT), LIMITS)
    assert accept(draft, VERIFIED, hostname="mail.example.net", now=now).expires_at == now + timedelta(hours=1)
    draft = examine(SUBMISSION, LIMITS)
    assert accept(draft, VERIFIED, hostname="mail.example.net", now=now).expires_at == now + timedelta(hours=72)
    assert refusal(replace(SUBMISSION, content=b"X-PlugSend-Expires: 5\r\n" + CONTENT)) == "expiry_out_of_range"


def test_each_address_gets_the_message_once() -> None:
    accepted = submit(replace(SUBMISSION, recipients=("bob@b.test", "bob@B.TEST", "Bob@b.test")))
    assert [r.address for r in accepted.recipients] == ["bob@b.test", "Bob@b.test"]


def test_an_internationalized_domain_is_the_same_in_both_forms() -> None:
    facts = {"xn--bcher-kva.test": DomainFact(UUID(int=8), "xn--bcher-kva.test", True)}
    credential = replace(CREDENTIAL, only_domain="xn--bcher-kva.test")
    content = "From: ada@bücher.test\r\n\r\nHello\r\n".encode()
    accepted = submit(
        replace(SUBMISSION, credential=credential, envelope_sender="ada@bücher.test", content=content), facts
    )
    assert accepted.domain_id == UUID(int=8)


@given(body=st.binary(max_size=2000))
def test_any_body_with_legal_line_ends_passes_unchanged(body: bytes) -> None:
    body = body.replace(b"\0", b"").replace(b"\r", b"").replace(b"\n", b"\r\n")
    content = CONTENT + body
    assert submit(replace(SUBMISSION, content=content)).content.endswith(content)


@given(head=st.binary(max_size=300))
def test_any_header_octets_are_accepted_or_refused_never_an_accident(head: bytes) -> None:
    with contextlib.suppress(Refused):
        submit(replace(SUBMISSION, content=head + b"\r\n" + CONTENT))


def test_every_refusal_fits_an_smtp_reply_line() -> None:
    for code, row in REFUSALS.items():
        values = {name: "x" * 600 for _, name, _, _ in Formatter().parse(row.detail) if name}
        reply = Refused(code, **values).smtp_reply()
        assert reply.startswith(f"{row.smtp} {row.enhanced} {code}: ")
        assert row.enhanced[0] == str(row.smtp)[0]
        assert reply.endswith(row.help_url)
        assert len(reply) <= 510
        assert reply.isascii()


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("ada@example.test", ["ada@example.test"]),
        ("Ada <ada@example.test>", ["ada@example.test"]),
        ('"Ada, Countess" <ada@example.test>', ["ada@example.test"]),
        ("Ada (the first) <ada@example.test>", ["ada@example.test"]),
        ("Ada <ada@example.test>, Bob <bob@b.test>", ["ada@example.test", "bob@b.test"]),
        ("=?utf-8?q?Ad=C3=A4?= <ada@example.test>", ["ada@example.test"]),
        ("Adä <ada@example.test>", ["ada@example.test"]),
        ('"Ada \\"the\\" first" <ada@example.test>', ["ada@example.test"]),
        ("eve@evil.test)ada@example.test", []),
        ("ada@example.test <eve@evil.test>", []),
        ("<ada@example.test> <eve@evil.test>", []),
        ("Ada <ada@example.test", []),
        ("Ada", []),
        ("", []),
    ],
)
def test_header_from_is_read_for_certain_or_not_at_all(value: str, addresses: list[str]) -> None:
    assert from_addresses(parse(f"From: {value}\r\n\r\n".encode())) == addresses


@pytest.mark.parametrize(
    "subject", [b"=?utf-8?q?nul=00?=", b"=?utf-16?b?2AA=?=", b"=?none?q?x?=", b"=?utf-8?b?####?=", b"\xff"]
)
def test_a_subject_that_no_text_can_hold_is_shown_as_well_as_can_be(subject: bytes) -> None:
    shown = submit(replace(SUBMISSION, content=CONTENT.replace(b"Hi", subject))).subject
    assert "\0" not in shown
    shown.encode()
