"""What goes in comes out at the recipient's exchanger, apart from what we add: by property, over the whole path."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.platform import Platform, wait_for
from tests.wire import GOOD, Wire

pytestmark = pytest.mark.xdist_group("platform")

# Dots, blanks at line ends, empty lines and every octet but CR, LF and NUL.
SPECIAL = st.sampled_from(
    [b"", b".", b"..", b". ", b" ", b"\t", b"From x", b"--", b"=", b"QUIT", b"\xff\xfe", b"\x01\x7f"]
)
OCTETS = st.binary(max_size=60).map(lambda octets: octets.translate(None, b"\r\n\0"))
BODY = st.lists(st.one_of(SPECIAL, OCTETS, OCTETS.map(lambda octets: b"." + octets)), max_size=12).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)
CUTS = st.lists(st.integers(1, 400), max_size=4)


@pytest.fixture(scope="module")
def client(platform: Platform) -> Wire:
    client = Wire(platform.smtp_port)
    client.read()
    assert client.sign_in(platform).startswith("235")
    return client


@given(body=BODY, cuts=CUTS, by_chunks=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_octet_arrives(client: Wire, platform: Platform, body: bytes, cuts: list[int], by_chunks: bool) -> None:
    recipient = f"{uuid4().hex}@bytes.test"
    client.envelope(recipient, " BODY=8BITMIME")
    content = GOOD + body
    if by_chunks:
        for piece in pieces(content, cuts):
            assert client.say(b"BDAT %d\r\n" % len(piece) + piece).startswith("250 ")
        answer = client.command("BDAT 0 LAST")
    else:
        assert client.command("DATA").startswith("354")
        for piece in pieces((b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n", cuts):
            client.send(piece)
        answer = client.read()
    assert answer.startswith("250 2.0.0 Ok: queued as ")
    raw = wait_for(lambda: platform.inbox(recipient), "the mail arrives")[0][0]
    assert raw.endswith(content)


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    """As packets may come: cut anywhere."""
    found = []
    for cut in cuts:
        found.append(octets[:cut])
        octets = octets[cut:]
    return [*found, octets]
