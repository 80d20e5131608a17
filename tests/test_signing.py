"""DKIM signatures, checked by verifiers that are not ours; the journey has Perl's Mail::DKIM check them too."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.dkim.keys import public_part
from relay.delivery.signing import Signer, canonical_body
from tests.dkim_verifiers import by_dkimpy, by_opendkim

RSA, ED25519 = rsa.generate_private_key(public_exponent=65537, key_size=2048), Ed25519PrivateKey.generate()
SIGNER = Signer("example.test", (("ps1", RSA), ("pse1", ED25519)))
RECORDS = {
    "ps1._domainkey.example.test": f"v=DKIM1; k=rsa; p={public_part(RSA)}",
    "pse1._domainkey.example.test": f"v=DKIM1; k=ed25519; p={public_part(ED25519)}",
}
HEAD = (
    b"Received: by x; Wed, 25 Nov 2026 00:00:00 +0000\r\nFrom: Ada <ada@example.test>\r\nTo: b@b.test\r\n"
    b"Subject: =?utf-8?q?H=C3=AFllo?=\r\n\t folded\r\nDate: Wed, 25 Nov 2026 00:00:00 +0000\r\n"
    b"Content-Type: text/plain;\r\n charset=utf-8\r\nList-Unsubscribe: <https://x.test/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
)
MESSAGE = HEAD + b"\r\nHello  \r\n\r\n\r\n"
BOTH = [("pass", "rsa-sha256", "ps1"), ("pass", "ed25519-sha256", "pse1")]
NEITHER = [("fail", "rsa-sha256", "ps1"), ("fail", "ed25519-sha256", "pse1")]


def verdicts(message: bytes) -> list[tuple[str, str, str]]:
    """(result, algorithm, selector) of each signature, by dkimpy."""
    return [("pass" if one.holds else "fail", one.algorithm, one.selector) for one in by_dkimpy(message, RECORDS)]


def signed_names(message: bytes) -> list[list[str]]:
    """The names in h= of each signature."""
    return [
        re.sub(r"\s", "", names).split(":")
        for names in re.findall(r"^DKIM-Signature:.*?\bh=([^;]*);", message.decode("latin-1"), re.DOTALL | re.MULTILINE)
    ]


# ---- They hold -------------------------------------------------------------------------------------------------------


def test_both_signatures_verify_rsa_in_front() -> None:
    signed = SIGNER.sign(MESSAGE)
    assert signed.endswith(MESSAGE)
    assert verdicts(signed) == BOTH


def test_a_domain_with_one_key_signs_once() -> None:
    assert verdicts(Signer("example.test", SIGNER.keys[:1]).sign(MESSAGE)) == BOTH[:1]
    assert verdicts(Signer("example.test", SIGNER.keys[1:]).sign(MESSAGE)) == BOTH[1:]


def test_opendkim_finds_both_good_and_sees_a_change(tmp_path: Path) -> None:
    signed = SIGNER.sign(MESSAGE)
    assert by_opendkim(signed, RECORDS, tmp_path) == BOTH
    obsolete = MESSAGE.replace(b"To:", b"To :")  # RFC 5322, 4.5; dkimpy does not read it
    assert by_opendkim(SIGNER.sign(obsolete), RECORDS, tmp_path) == BOTH
    assert by_opendkim(signed.replace(b"Hello", b"Hallo"), RECORDS, tmp_path) == NEITHER
    assert by_opendkim(b"Subject: Another\r\n" + signed, RECORDS, tmp_path) == NEITHER


def test_neither_signature_needs_the_other() -> None:
    rsa_field, ed25519_field = re.findall(rb"(?s)DKIM-Signature:.*?\r\n(?! )", SIGNER.sign(MESSAGE))
    assert verdicts(ed25519_field + MESSAGE) == BOTH[1:]
    assert verdicts(rsa_field + MESSAGE) == BOTH[:1]
    assert verdicts(ed25519_field + rsa_field + MESSAGE) == BOTH[::-1]


def test_a_message_without_a_body_verifies() -> None:
    assert verdicts(SIGNER.sign(HEAD)) == BOTH
    assert verdicts(SIGNER.sign(HEAD + b"\r\n")) == BOTH


def test_the_longest_domain_and_all_fields_make_no_long_line() -> None:
    name = ".".join(["a" * 60] * 3) + "." + "b" * 48 + ".test"
    fields = b"".join(
        b"%b: x\r\n" % field.title() for field in (b"sender", b"resent-message-id", b"list-unsubscribe") * 9
    )
    signed = Signer(name, SIGNER.keys).sign(fields + MESSAGE)
    added = signed.removesuffix(fields + MESSAGE).split(b"\r\n")
    assert max(map(len, added)) < 300  # the domain is one word
    assert sorted(map(len, added))[-3] <= 78


body_text = st.one_of(
    st.binary(max_size=500),
    st.lists(st.sampled_from([b" ", b"\t", b"\n", b"a", b" " * 9, b"."]), max_size=30).map(b"".join),
).map(lambda body: body.replace(b"\r", b"").replace(b"\n", b"\r\n"))
# White space, folds, empty values, upper and lower case; names that are signed, that are not, and doubled ones.
# \x0b and \x0c are left out: dkimpy takes them for white space, which is SP and TAB alone (RFC 6376, 2.8).
field_value = st.text(
    st.characters(exclude_characters="\r\n\0\x0b\x0c", exclude_categories=["Cs"]) | st.sampled_from(" \t"), max_size=40
)
fields = st.lists(
    st.tuples(
        st.sampled_from(
            ["Subject", "TO", "cc", "List-Id", "X-Other", "Resent-From", "Received", "Content-Type", "Bcc"]
        ),
        st.lists(field_value, min_size=1, max_size=3).map("\r\n ".join),
    ),
    max_size=8,
).map(lambda pairs: "".join(f"{name}:{value}\r\n" for name, value in pairs).encode())


@settings(max_examples=150, deadline=None)
@given(before=fields, after=fields, body=body_text)
def test_any_message_verifies(before: bytes, after: bytes, body: bytes) -> None:
    assert verdicts(SIGNER.sign(before + b"From: a@example.test\r\n" + after + b"\r\n" + body)) == BOTH


@given(body=body_text)
def test_body_is_canonical_as_dkimpy_has_it(body: bytes) -> None:
    assert canonical_body(body) == Relaxed.canonicalize_body(body)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", [b" " * 997 + b"x\r\n", b" \t" * 499 + b"\r\n", b"\r\n", b" \r\n"])
def test_no_body_holds_up_the_others(line: bytes) -> None:
    """A second at most. dkimpy's own canonicalization tries each run from each of its places: 80 s for the first of these."""
    assert canonical_body(line * (40_000_000 // len(line)) + b"end\r\n").endswith(b"end\r\n")


# ---- They hold nothing else ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hello", b"Hallo"),
        (b"Ada", b"Eve"),
        (b"b@b.test", b"c@b.test"),
        (b"x.test/u", b"y.test/u"),
        (b"One-Click", b"Two-Clicks"),
        (b"charset=utf-8", b"charset=utf-7"),
    ],
)
def test_a_changed_message_does_not_verify(old: bytes, new: bytes) -> None:
    assert verdicts(SIGNER.sign(MESSAGE).replace(old, new)) == NEITHER


@pytest.mark.parametrize(
    "name",
    ["From", "Subject", "To", "Cc", "Reply-To", "Date", "Content-Type", "List-Unsubscribe", "List-Unsubscribe-Post"],
)
def test_a_second_field_cannot_be_added(name: str) -> None:
    """Nor a first Cc or Reply-To."""
    assert verdicts(f"{name}: eve@evil.test\r\n".encode() + SIGNER.sign(MESSAGE)) == NEITHER


def test_what_servers_add_on_the_way_breaks_nothing() -> None:
    added = b"".join(
        b"%b: x\r\n" % name
        for name in (b"Return-Path", b"Received", b"Authentication-Results", b"DKIM-Signature", b"List-Id", b"Sender", b"Bcc",
                     b"Resent-From", b"MIME-Version", b"X-Spam-Status")
    )  # fmt: skip
    assert verdicts(added + SIGNER.sign(MESSAGE))[1:] == BOTH


def test_both_sign_the_same_fields() -> None:
    rsa_names, ed25519_names = signed_names(SIGNER.sign(b"Bcc: c@c.test\r\nReturn-Path: <>\r\n" + MESSAGE))
    assert rsa_names == ed25519_names
    present = ["from", "to", "subject", "date", "content-type", "list-unsubscribe", "list-unsubscribe-post"]
    sealed = ["from", "reply-to", "subject", "to", "cc"]
    assert rsa_names == [*present, *sealed, "date", "content-type", "list-unsubscribe", "list-unsubscribe-post"]


# ---- The verifiers ---------------------------------------------------------------------------------------------------

# RFC 8463, appendix A.
RFC_RECORDS = {
    "brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test._domainkey.football.example.com": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3i"
    "dY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYL"
    "zBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}
RFC_MESSAGE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")


def test_the_sandbox_verifies_as_the_rfc_says() -> None:
    expected = ["pass ed25519-sha256 brisbane football.example.com", "pass rsa-sha256 test football.example.com"]
    assert [str(one) for one in by_dkimpy(RFC_MESSAGE, RFC_RECORDS)] == expected
    assert not any(one.holds for one in by_dkimpy(RFC_MESSAGE.replace(b"lost", b"won"), RFC_RECORDS))


@pytest.mark.parametrize(
    "record",
    [
        "", "v=DKIM1; k=ed25519; p=", "v=DKIM1; k=ed25519; p=!", f"v=DKIM1; p={public_part(ED25519)}",
        f"v=DKIM1; k=ed25519; p={public_part(Ed25519PrivateKey.generate())}", f"v=DKIM1; k=ed25519; p={public_part(RSA)}",
    ],
    ids=["none", "revoked", "garbage", "no-type", "another-key", "rsa-key"],
)  # fmt: skip
def test_the_sandbox_takes_no_other_record_for_an_ed25519_key(record: str) -> None:
    records = RECORDS | {"pse1._domainkey.example.test": record}
    assert [one.holds for one in by_dkimpy(SIGNER.sign(MESSAGE), records)] == [True, False]
