"""A message is one message, here and at every server behind us: SMTP smuggling in all published variants.

https://sec-consult.com/blog/detail/smtp-smuggling-spoofing-e-mails-worldwide/ and what others found after it. The end of data
is CRLF . CRLF; a bare CR, a bare LF or a NUL anywhere in a message or in a command is refused.
"""

import ssl

import pytest

from tests.platform import Platform, wait_for
from tests.wire import GOOD, Wire, count_messages, wire

pytestmark = pytest.mark.xdist_group("platform")

ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\n.\r",
    b"\r.\r",
    b"\r.\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\n.\n\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\n\r.\n\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\0\r\n.\0\r\n",
    b"\n.\0\n",
]
SMUGGLED = b"MAIL FROM:<admin@demo.test>\r\nRCPT TO:<victim@example.test>\r\nDATA\r\n" + GOOD


@pytest.fixture(scope="module")
def client(platform: Platform) -> Wire:
    client = Wire(platform.smtp_port)
    client.read()
    assert client.sign_in(platform).startswith("235")
    return client


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_no_other_end_of_data_by_data(client: Wire, platform: Platform, end: bytes) -> None:
    before = count_messages(platform)
    answer = client.deliver(GOOD[:-2] + end + SMUGGLED)
    assert answer.startswith("550 5.6.11 malformed_line_endings: ")
    assert client.command("NOOP") == "250 2.0.0 Ok"  # that was the only answer: nothing of it was obeyed
    assert count_messages(platform) == before


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_nor_across_chunks(client: Wire, platform: Platform, end: bytes) -> None:
    before = count_messages(platform)
    client.envelope()
    first, second = GOOD[:-2] + end[:-1], end[-1:] + SMUGGLED
    assert client.say(b"BDAT %d\r\n%s" % (len(first), first)).startswith("250 ")
    answer = client.say(b"BDAT %d LAST\r\n%s" % (len(second), second))
    assert answer.startswith("550 5.6.11 malformed_line_endings: ")
    assert client.command("NOOP") == "250 2.0.0 Ok"
    assert count_messages(platform) == before


def test_an_end_of_data_inside_chunks_is_stuffed_on_its_way_out(client: Wire, platform: Platform) -> None:
    """CRLF . CRLF is content to BDAT; the next server gets it with DATA and must not see an end."""
    content = GOOD + b".\r\n" + SMUGGLED
    client.envelope("stuffed@example.test")
    assert client.say(b"BDAT %d LAST\r\n%s" % (len(content), content)).startswith("250 ")
    assert wait_for(lambda: platform.inbox("stuffed@example.test"), "the mail arrives")[0][0].endswith(content)
    assert not platform.inbox("victim@example.test")


@pytest.mark.parametrize("octets", [b"NOOP\n", b"NOOP\r", b"NO\rOP", b"NOOP \0", b"NOOP \rRSET"], ids=repr)
def test_a_command_ends_with_cr_lf(platform: Platform, octets: bytes) -> None:
    with wire(platform) as client:
        assert client.say(octets if octets.endswith(b"\n") else octets + b"\r\n").startswith("500 5.5.2 ")


@pytest.mark.parametrize("ahead", [b"", b"EHLO injected.test\r\n", b"NOOP\r\nMAIL FROM:<a@b.test>\r\n"])
def test_what_comes_before_the_handshake_is_thrown_away(platform: Platform, ahead: bytes) -> None:
    """RFC 3207, 4.2; CVE-2011-0411 and its kin."""
    with wire(platform) as client:
        client.command("EHLO client.test")
        client.send(b"STARTTLS\r\n" + ahead)
        assert client.read().startswith("220")
        client.wrap()
        assert client.command("NOOP") == "250 2.0.0 Ok"  # the first thing that is answered
        assert client.command("MAIL FROM:<a@b.test>").startswith("503")  # no EHLO was seen since


def test_what_comes_in_the_clear_in_place_of_a_handshake_is_not_obeyed(platform: Platform) -> None:
    with wire(platform) as client:
        client.command("EHLO client.test")
        assert client.command("STARTTLS").startswith("220")
        client.send(b"EHLO injected.test\r\n")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.wrap()
