"""BDAT (RFC 3030, section 2 unless said otherwise)."""

import pytest

from tests.platform import Platform, wait_for
from tests.wire import GOOD, Wire, count_messages, signed_in, wire

pytestmark = pytest.mark.xdist_group("platform")


def bdat(client: Wire, chunk: bytes, last: str = "") -> str:
    return client.say(b"BDAT %d%s\r\n" % (len(chunk), last.encode()) + chunk)


def test_a_message_in_chunks_arrives_whole(platform: Platform) -> None:
    # Cut in the middle of a line end; dots are not transparent here, and the end of data means nothing.
    content = GOOD + b".\r\n..two\r\n\xc3\xa9\xff\r\n.\r\nQUIT\r\n"
    with signed_in(platform) as client:
        client.envelope("chunks@example.test", " BODY=8BITMIME")
        cut = content.index(b"\r\n") + 1
        assert bdat(client, content[:cut]) == f"250 2.0.0 {cut} octets received"
        assert bdat(client, content[cut:]).startswith("250 2.0.0 ")
        assert bdat(client, b"", " LAST").startswith("250 2.0.0 Ok: queued as ")
    raw = wait_for(lambda: platform.inbox("chunks@example.test"), "the mail arrives")[0][0]
    assert raw.endswith(content)


def test_one_chunk_that_ends_in_the_middle_of_a_line_is_completed(platform: Platform) -> None:
    with signed_in(platform) as client:
        client.envelope("open-end@example.test")
        assert bdat(client, GOOD + b"no end", " last").startswith("250 2.0.0 Ok: queued as ")
    raw = wait_for(lambda: platform.inbox("open-end@example.test"), "the mail arrives")[0][0]
    assert raw.endswith(GOOD + b"no end\r\n")


def test_everything_in_one_packet(platform: Platform) -> None:
    with signed_in(platform) as client:
        head, tail = GOOD[:20], GOOD[20:]
        client.send(
            b"MAIL FROM:<admin@demo.test>\r\nRCPT TO:<ada@example.test>\r\n"
            + b"BDAT %d\r\n%sBDAT %d LAST\r\n%sNOOP\r\n" % (len(head), head, len(tail), tail)
        )
        assert [client.read()[:9] for _ in range(5)] == [
            "250 2.1.0",
            "250 2.1.5",
            "250 2.0.0",
            "250 2.0.0",
            "250 2.0.0",
        ]


def test_a_refused_recipient_does_not_turn_content_into_commands(platform: Platform) -> None:
    content = b"RSET\r\nMAIL FROM:<admin@demo.test>\r\n"
    with signed_in(platform) as client:
        client.commands("MAIL FROM:<admin@demo.test>", "RCPT TO:<not valid>")
        assert bdat(client, content).startswith("554 5.5.1 no_recipients")
        assert bdat(client, content, " LAST").startswith("503 5.5.1 ")  # already under way: read and thrown away
        assert client.command("NOOP").startswith("250 ")
        assert client.deliver(GOOD).startswith("250 2.0.0 Ok: queued as ")


@pytest.mark.parametrize("envelope", [[], ["MAIL FROM:<admin@demo.test>"]])
def test_a_chunk_without_an_envelope_is_read_and_refused(platform: Platform, envelope: list[str]) -> None:
    with signed_in(platform) as client:
        client.commands(*envelope) if envelope else None
        assert bdat(client, b"QUIT\r\n").startswith("503 5.5.1 ")
        assert client.command("NOOP").startswith("250 ")


def test_a_chunk_before_signing_in_is_read_and_refused(platform: Platform) -> None:
    with wire(platform) as client:
        client.command("EHLO x")
        assert bdat(client, b"QUIT\r\n").startswith("530 5.7.0 ")
        assert client.command("NOOP").startswith("250 ")


@pytest.mark.parametrize("command", ["DATA", "MAIL FROM:<admin@demo.test>", "RCPT TO:<b@example.test>"])
def test_between_chunks_only_chunks_are_taken(platform: Platform, command: str) -> None:
    with signed_in(platform) as client:
        client.envelope()
        bdat(client, GOOD)
        assert client.command(command).startswith("503 5.5.1 ")
        assert client.command("RSET").startswith("250 ")
        assert client.deliver(GOOD).startswith("250 ")


def test_reset_between_chunks_forgets_them(platform: Platform) -> None:
    before = count_messages(platform)
    with signed_in(platform) as client:
        client.envelope()
        bdat(client, GOOD)
        client.command("RSET")
        assert bdat(client, b"", " LAST").startswith("503 5.5.1 ")
    assert count_messages(platform) == before


@pytest.mark.parametrize("argument", ["", "x", "-1", "1 LATER", "1 LAST now", "9" * 30])
def test_a_chunk_of_unknown_size_ends_the_session(platform: Platform, argument: str) -> None:
    """What follows is content, and nobody knows how much: it must not be obeyed."""
    with signed_in(platform) as client:
        client.envelope()
        client.send(f"BDAT {argument}\r\nRSET\r\n".encode())
        assert client.read().startswith("501 5.5.4 ")
        assert client.read().startswith("421 4.5.2 ")
        assert client.is_closed()


def test_chunks_that_are_too_large_together_are_refused(platform: Platform) -> None:
    with signed_in(platform) as client:
        client.envelope()
        half = b"x" * (13 * 1024 * 1024)
        assert bdat(client, half).startswith("250 ")
        assert bdat(client, half).startswith("552 5.3.4 message_too_large")
        assert bdat(client, half, " LAST").startswith("503 5.5.1 ")
        assert client.command("RSET").startswith("250 ")


def test_chunks_are_held_against_the_same_rules(platform: Platform) -> None:
    before = count_messages(platform)
    with signed_in(platform) as client:
        client.envelope()
        assert bdat(client, GOOD + b"bare\nfeed\r\n", " LAST").startswith("550 5.6.11 malformed_line_endings")
        assert client.command("NOOP").startswith("250 ")
    assert count_messages(platform) == before
