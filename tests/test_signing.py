"""DKIM signatures, checked by dkimpy; the journey has them checked by an independent verifier too."""

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.delivery.signing import Signer

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNER = Signer("example.test", "ps1", KEY)
RECORD = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)
MESSAGE = (
    b"Received: by x; Wed, 25 Nov 2026 00:00:00 +0000\r\nFrom: Ada <ada@example.test>\r\nTo: b@b.test\r\n"
    b"Subject: =?utf-8?q?H=C3=AFllo?=\r\n folded\r\nDate: Wed, 25 Nov 2026 00:00:00 +0000\r\n\r\nHello  \r\n\r\n\r\n"
)


def verifies(message: bytes) -> bool:
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: RECORD))


def test_the_signature_verifies() -> None:
    signed = SIGNER.sign(MESSAGE)
    assert signed.endswith(MESSAGE)
    assert verifies(signed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hello", b"Hallo"),
        (b"Ada", b"Eve"),
        (b"b@b.test", b"c@b.test"),
        (b"From: Ada", b"From: Eve <e@e>\r\nFrom: Ada"),
    ],
)
def test_a_changed_message_does_not_verify(old: bytes, new: bytes) -> None:
    signed = SIGNER.sign(MESSAGE)
    assert not verifies(signed.replace(old, new))


def test_a_second_from_cannot_be_added() -> None:
    assert not verifies(b"From: Eve <eve@evil.test>\r\n" + SIGNER.sign(MESSAGE))


@settings(max_examples=50, deadline=None)
@given(body=st.one_of(st.binary(max_size=500), st.text(" \t\na", max_size=30).map(str.encode)))
def test_any_body_verifies(body: bytes) -> None:
    body = body.replace(b"\r", b"").replace(b"\n", b"\r\n")
    head = MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]
    assert verifies(SIGNER.sign(head + body))
    assert verifies(SIGNER.sign(MESSAGE + body))


def test_a_message_without_a_body_verifies() -> None:
    assert verifies(SIGNER.sign(MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 2]))
