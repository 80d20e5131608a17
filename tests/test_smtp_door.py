"""What an SMTP client is told, over real sockets, and that nothing is half-stored when the answer is no."""

import base64
import smtplib
import ssl

import pytest

from tests.platform import Platform, wait_for
from tests.wire import GOOD, count_messages, plain, signed_in, wire

pytestmark = pytest.mark.xdist_group("platform")


def test_authentication_is_offered_and_taken_only_after_tls(platform: Platform) -> None:
    with wire(platform) as client:
        offered = client.command("EHLO client.test")
        assert "STARTTLS" in offered
        assert "AUTH" not in offered
        assert client.command(f"AUTH PLAIN {plain(platform)}").startswith("538 5.7.11 encryption_required")
        client.start_tls()
        offered = client.command("EHLO client.test")
        assert "STARTTLS" not in offered
        assert "AUTH LOGIN PLAIN" in offered
        assert client.command(f"AUTH PLAIN {plain(platform)}").startswith("235 ")


@pytest.mark.parametrize("mechanism", ["PLAIN", "plain", "LOGIN"])
def test_a_wrong_password_is_told(platform: Platform, mechanism: str) -> None:
    with wire(platform) as client:
        client.command("EHLO client.test")
        client.start_tls()
        client.command("EHLO client.test")
        if mechanism == "LOGIN":
            assert client.command("AUTH LOGIN").startswith("334")
            assert client.command(base64.b64encode(b"admin@demo.test").decode()).startswith("334")
            answer = client.command(base64.b64encode(b"wrong").decode())
        else:
            answer = client.command(f"AUTH {mechanism} {plain(platform, 'wrong')}")
        assert answer.startswith("535 5.7.8 invalid_credentials: ")
        assert answer.endswith("/errors/invalid_credentials/")
        assert client.command("MAIL FROM:<admin@demo.test>").startswith("530 5.7.0 ")


def test_mail_without_authentication_is_refused(platform: Platform) -> None:
    with wire(platform) as client:
        client.command("EHLO client.test")
        assert client.command("MAIL FROM:<admin@demo.test>").startswith("530 5.7.0 authentication_required")
        client.start_tls()
        client.command("EHLO client.test")
        assert client.command("MAIL FROM:<admin@demo.test>").startswith("530 5.7.0 authentication_required")


def test_commands_sent_ahead_of_the_handshake_are_thrown_away(platform: Platform) -> None:
    """RFC 3207, 4.2: what came in the clear must not be taken as if it had come encrypted."""
    with wire(platform) as client:
        client.command("EHLO client.test")
        client._socket.sendall(b"STARTTLS\r\nEHLO injected.test\r\n")
        assert client.read().startswith("220")
        client._socket = ssl._create_unverified_context().wrap_socket(client._socket)
        client._file = client._socket.makefile("rb")
        assert client.command("MAIL FROM:<a@b.test>").startswith("503")  # no EHLO was seen since


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        ("eve@evil.test", "550 5.7.1 sender_not_allowed: "),
        ("eve@sub.demo.test", "550 5.7.1 sender_subdomain_not_allowed: "),
        ("eve", "553 5.1.7 invalid_sender: "),
    ],
)
def test_a_foreign_envelope_sender_is_refused(platform: Platform, sender: str, answer: str) -> None:
    with signed_in(platform) as client:
        said = client.command(f"MAIL FROM:<{sender}>")
        assert said.startswith(answer)
        assert "http" in said


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (GOOD.replace(b"From: admin@demo.test", b"From: boss@evil.test"), "550 5.7.1 sender_not_allowed"),
        (GOOD.replace(b"From: admin@demo.test\r\n", b""), "550 5.6.0 missing_from_header"),
        (b"From: other@demo.test\r\n" + GOOD, "550 5.6.0 duplicate_header"),
        (GOOD + b"bare\nfeed\r\n", "550 5.6.11 malformed_line_endings"),
        (GOOD + b"smuggled\n.\nMAIL FROM:<admin@demo.test>\r\n", "550 5.6.11 malformed_line_endings"),
        (GOOD + b"smuggled\r\n.\nMAIL FROM:<admin@demo.test>\r\n", "550 5.6.11 malformed_line_endings"),
        (GOOD + b"smuggled\n.\r\nMAIL FROM:<admin@demo.test>\r\n", "550 5.6.11 malformed_line_endings"),
        (b"", "550 5.6.0 missing_from_header"),
        (b"X-PlugSend-Expires: soon\r\n" + GOOD, "550 5.6.0 malformed_option_header"),
        (b"X-PlugSend-Expires: 59\r\n" + GOOD, "550 5.6.0 expiry_out_of_range: The message is to expire after 59 sec"),
        (b"Received: by somebody\r\n" * 101 + GOOD, "554 5.4.6 mail_loop: "),
    ],
)
def test_a_bad_message_is_refused_and_not_stored(platform: Platform, content: bytes, answer: str) -> None:
    before = count_messages(platform)
    with signed_in(platform) as client:
        client.command("MAIL FROM:<admin@demo.test>")
        client.command("RCPT TO:<ada@example.test>")
        assert client.command("DATA").startswith("354")
        assert client.say(content + b".\r\n").startswith(answer)
        assert client.command("NOOP").startswith("250")
    assert count_messages(platform) == before


def test_a_bad_recipient_is_refused_alone(platform: Platform) -> None:
    with signed_in(platform) as client:
        client.command("MAIL FROM:<admin@demo.test>")
        assert client.command("RCPT TO:<not an address>").startswith("553 5.1.3 ")
        assert client.command("RCPT TO:<jürgen@example.test>").startswith("553 5.6.7 ")
        assert client.command("RCPT TO:<ada@example.test>").startswith("250 2.1.5")
        client.command("DATA")
        assert client.say(GOOD + b".\r\n").startswith("250 2.0.0 Ok: queued as ")


def test_dots_and_eight_bit_octets_arrive_as_they_were(platform: Platform) -> None:
    body = b".one\r\n..two\r\n\r\n.\x2e\r\ntrailing  \r\n\xc3\xa9\xff\r\n"
    stuffed = body.replace(b"\r\n.", b"\r\n..")
    with signed_in(platform) as client:
        client.command("MAIL FROM:<admin@demo.test> BODY=8BITMIME")
        client.command("RCPT TO:<dots@example.test>")
        client.command("DATA")
        assert client.say(GOOD + b"." + stuffed + b".\r\n").startswith("250 ")
    raw, dkim, domain, tls = wait_for(lambda: platform.inbox("dots@example.test"), "the mail arrives")[0]
    assert raw.endswith(GOOD + body)
    assert (dkim, domain) == ("pass", "demo.test")
    assert tls.startswith("TLSv1.3")


def test_several_messages_in_one_session_and_several_commands_in_one_packet(platform: Platform) -> None:
    with signed_in(platform) as client:
        for number in range(3):
            client._socket.sendall(b"MAIL FROM:<admin@demo.test>\r\nRCPT TO:<p%d@example.test>\r\nDATA\r\n" % number)
            assert [client.read()[:3] for _ in range(3)] == ["250", "250", "354"]
            # The next command is in the same packet as the end of the message.
            client._socket.sendall(GOOD + b".\r\nNOOP\r\n")
            assert [client.read()[:3] for _ in range(2)] == ["250", "250"]
    for number in range(3):
        wait_for(lambda n=number: platform.inbox(f"p{n}@example.test"), f"mail {number} arrives")  # type: ignore[misc]


def test_a_message_over_the_limit_is_refused_at_mail_and_at_data(platform: Platform) -> None:
    with signed_in(platform) as client:
        assert client.command("MAIL FROM:<admin@demo.test> SIZE=99999999").startswith("552")
        client.command("MAIL FROM:<admin@demo.test>")
        client.command("RCPT TO:<big@example.test>")
        client.command("DATA")
        assert client.say(GOOD + b"x" * 70 * 400_000 + b"\r\n.\r\n").startswith("552 5.3.4 message_too_large")
        assert client.command("NOOP").startswith("250")


def test_the_last_reply_carries_the_message_id_and_each_recipient_is_delivered(platform: Platform) -> None:
    message_id = platform.send("one@example.test", "two@other.test", "bounce@example.test")
    wait_for(lambda: len(platform.events(message_id)) == 6, "all three recipients end")
    final = {address: (type_, reason) for address, type_, reason in platform.events(message_id)}
    assert final == {
        "one@example.test": ("delivered", ""),
        "two@other.test": ("delivered", ""),
        "bounce@example.test": ("bounced", "no_such_address"),
    }


def test_a_revoked_password_stops_within_five_seconds_in_open_sessions_too(platform: Platform) -> None:
    with platform.smtp() as client, platform.database() as connection:
        connection.execute("UPDATE accounts_organization SET suspended_at = now() WHERE NOT is_system")
        try:
            wait_for(lambda: _is_refused(platform), "new sessions are refused", 5)
        finally:
            connection.execute("UPDATE accounts_organization SET suspended_at = NULL")
        client.noop()
    wait_for(lambda: not _is_refused(platform), "and let in again", 5)


def _is_refused(platform: Platform) -> bool:
    try:
        platform.smtp().quit()
    except smtplib.SMTPAuthenticationError:
        return True
    return False


def test_a_large_message_waits_on_disk_and_arrives_whole(platform: Platform) -> None:
    body = b"".join(b"%075d\r\n" % number for number in range(40_000)) + b"..dot\r\n"
    with signed_in(platform) as client:
        assert client.deliver(GOOD + body.replace(b"\r\n.", b"\r\n.."), "large@example.test").startswith("250 ")
    assert wait_for(lambda: platform.inbox("large@example.test"), "the mail arrives")[0][0].endswith(GOOD + body)
    assert not list((platform.var / "spool").iterdir())
