"""What each command is answered, octet for octet, one rule a case. RFC 5321 unless said otherwise."""

import re

import pytest

from tests.platform import Platform
from tests.wire import GOOD, Wire, count_messages, signed_in, wire

pytestmark = pytest.mark.xdist_group("platform")

MAIL = "MAIL FROM:<admin@demo.test>"


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        # 4.1.1.1: a client says who it is, and may do so again.
        (["EHLO"], "501 5.5.4 "),
        (["EHLO two words"], "501 5.5.4 "),
        (["HELO client.test"], "250 mail.plugsend.test"),
        (["EHLO [127.0.0.1]"], "250-"),
        (["ehlo client.test"], "250-"),  # 2.4: verbs are not case-sensitive
        # 4.1.4: nothing that needs it goes before it.
        (["MAIL FROM:<a@b.test>"], "503 5.5.1 "),
        (["DATA"], "503 5.5.1 "),
        (["STARTTLS"], "503 5.5.1 "),
        (["AUTH PLAIN"], "503 5.5.1 "),
        # RFC 4954, 6: nothing of a mail transaction goes before AUTH.
        (["EHLO x", MAIL], "530 5.7.0 "),
        (["EHLO x", "RCPT TO:<a@b.test>"], "530 5.7.0 "),
        (["EHLO x", "DATA"], "530 5.7.0 "),
        (["EHLO x", "VRFY a@b.test"], "530 5.7.0 "),
        # RFC 3207, 4
        (["EHLO x", "STARTTLS now"], "501 5.5.4 "),
        # 4.5.1: these need no EHLO.
        (["NOOP"], "250 2.0.0 "),
        (["NOOP whatever"], "250 2.0.0 "),
        (["RSET"], "250 2.0.0 "),
        (["RSET x"], "501 5.5.4 "),
        (["HELP"], "214 2.0.0 "),
        (["HELP mail"], "214 2.0.0 Syntax: MAIL FROM:<address>"),
        (["HELP gibberish"], "504 5.5.4 "),
        (["EXPN staff"], "502 5.5.1 "),
        (["QUIT now"], "501 5.5.4 "),
        (["QUIT"], "221 2.0.0 "),
        (["GIBBERISH"], "500 5.5.2 "),
        ([""], "500 5.5.2 "),
    ],
)
def test_before_signing_in(platform: Platform, commands: list[str], answer: str) -> None:
    with wire(platform) as client:
        assert [client.command(command) for command in commands][-1].startswith(answer)


@pytest.fixture(scope="module")
def member(platform: Platform) -> Wire:
    """A session past AUTH that many cases share; each begins with RSET."""
    client = Wire(platform.smtp_port)
    client.read()
    assert client.sign_in(platform).startswith("235")
    return client


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        # 3.3: the form of MAIL and RCPT.
        (["MAIL"], "501 5.5.4 "),
        (["MAIL TO:<admin@demo.test>"], "501 5.5.4 "),
        (["MAIL FROM:"], "501 5.5.4 "),
        (["MAIL FROM:<admin@demo.test"], "501 5.5.4 "),
        (["MAIL FROM:<admin@demo.test>x"], "501 5.5.4 "),
        (["mail from:<admin@demo.test>"], "250 2.1.0 "),
        (["MAIL FROM: <admin@demo.test>"], "250 2.1.0 "),
        (["MAIL FROM:<@a.test,@b.test:admin@demo.test>"], "250 2.1.0 "),  # appendix C
        (["MAIL FROM:<>"], "250 2.1.0 "),  # 4.5.5
        (['MAIL FROM:<"a > b"@demo.test>'], "250 2.1.0 "),  # 4.1.2
        ([MAIL, MAIL], "503 5.5.1 "),
        ([MAIL, "EHLO again.test", MAIL], "250 2.1.0 "),  # 4.1.4: EHLO starts over
        # RFC 1870, 6
        ([MAIL + " SIZE=1000"], "250 2.1.0 "),
        ([MAIL + " SIZE=0"], "250 2.1.0 "),
        ([MAIL + " SIZE=99999999"], "552 5.3.4 message_too_large"),
        ([MAIL + " SIZE=x"], "501 5.5.4 "),
        ([MAIL + " SIZE"], "501 5.5.4 "),
        ([MAIL + " SIZE=1 SIZE=2"], "501 5.5.4 "),
        # RFC 6152, 3; RFC 3030, 3
        ([MAIL + " BODY=7BIT"], "250 2.1.0 "),
        ([MAIL + " body=8bitmime"], "250 2.1.0 "),
        ([MAIL + " BODY=BINARYMIME"], "501 5.5.4 "),
        # RFC 6531, 3.4
        ([MAIL + " SMTPUTF8"], "250 2.1.0 "),
        ([MAIL + " SMTPUTF8=yes"], "501 5.5.4 "),
        (["MAIL FROM:<jürgen@demo.test>"], "553 5.6.7 smtputf8_required"),
        (["MAIL FROM:<jürgen@demo.test> SMTPUTF8"], "250 2.1.0 "),
        ([MAIL, "RCPT TO:<jürgen@b.test>"], "553 5.6.7 "),
        ([MAIL + " SMTPUTF8", "RCPT TO:<jürgen@b.test>"], "250 2.1.5 "),
        # RFC 4954, 5
        ([MAIL + " AUTH=<>"], "250 2.1.0 "),
        ([MAIL + " AUTH=e+3Dmc2@example.com"], "250 2.1.0 "),
        ([MAIL + " AUTH=a+zz"], "501 5.5.4 "),
        # 4.1.1.11
        ([MAIL + " RET=FULL"], "555 5.5.4 "),
        ([MAIL + " =x"], "501 5.5.4 "),
        ([MAIL, "RCPT TO:<a@b.test> NOTIFY=NEVER"], "555 5.5.4 "),
        # 4.1.4: the order
        (["RCPT TO:<a@b.test>"], "503 5.5.1 "),
        (["DATA"], "503 5.5.1 "),
        ([MAIL, "DATA"], "503 5.5.1 "),
        ([MAIL, "RCPT TO:<a@b.test>", "DATA now"], "501 5.5.4 "),
        ([MAIL, "RCPT TO:<a@b.test>", "RSET", "DATA"], "503 5.5.1 "),
        ([MAIL, "RCPT TO:<no address>", "DATA"], "554 5.5.1 no_recipients"),  # 3.3
        ([MAIL, "RCPT"], "501 5.5.4 "),
        ([MAIL, "RCPT TO:<>"], "553 5.1.3 "),
        ([MAIL, "RCPT TO:<a@b.test>"], "250 2.1.5 "),
        ([MAIL, "RCPT TO:<Postmaster>"], "250 2.1.5 "),  # 4.5.1
        # 3.5
        (["VRFY ada@example.test"], "252 2.5.2 "),
        (["VRFY"], "501 5.5.4 "),
        # RFC 3207, 4.2; RFC 4954, 4
        (["STARTTLS"], "503 5.5.1 "),
        (["AUTH PLAIN AAAA"], "503 5.5.1 "),
    ],
)
def test_after_signing_in(member: Wire, platform: Platform, commands: list[str], answer: str) -> None:
    said = member.commands("RSET", *commands)
    if said[-1].startswith("421 4.7.0 too_many_bad_commands") or not said[-1]:
        with signed_in(platform) as fresh:
            said = fresh.commands(*commands)
    assert said[-1].startswith(answer), said


def test_every_reply_says_more_than_its_code(platform: Platform) -> None:
    """RFC 2034, 3: an enhanced code of the same class, but for the greeting, EHLO, and what asks for more."""
    with signed_in(platform) as client:
        said = client.commands(
            "NOOP", "RSET", "HELP", MAIL, "RCPT TO:<a b>", "RCPT TO:<a@b.test>", "VRFY x", "FOO", "QUIT"
        )
    for reply in said:
        code, enhanced = reply.split(" ")[:2]
        assert re.fullmatch(rf"{code[0]}\.\d\.\d+", enhanced), reply


def test_what_is_offered(platform: Platform) -> None:
    with wire(platform) as client:
        clear = client.command("EHLO x").replace("250-", "").replace("250 ", "").split("\n")[1:]
        client.start_tls()
        encrypted = client.command("EHLO x").replace("250-", "").replace("250 ", "").split("\n")[1:]
    common = ["PIPELINING", "SIZE 26214400", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"]
    assert clear == [*common, "STARTTLS", "HELP"]
    assert encrypted == [*common, "AUTH LOGIN PLAIN", "HELP"]


def test_commands_in_one_packet_are_answered_in_order_and_together(platform: Platform) -> None:
    """RFC 2920, 3.2."""
    with signed_in(platform) as client:
        said = client.commands(MAIL, "RCPT TO:<a b>", "RCPT TO:<a@b.test>", "DATA")
        assert [reply[:3] for reply in said] == ["250", "553", "250", "354"]
        client.send(GOOD + b".\r\n" + MAIL.encode() + b"\r\nRSET\r\nQUIT\r\n")
        assert [client.read()[:3] for _ in range(4)] == ["250", "250", "250", "221"]
        assert client.is_closed()


def test_a_command_that_comes_in_pieces_is_one_command(platform: Platform) -> None:
    with wire(platform) as client:
        for piece in (b"EH", b"LO cli", b"ent.test\r"):
            client.send(piece)
        assert client.say(b"\n").startswith("250-")


def test_the_second_hello_forgets_the_extensions(platform: Platform) -> None:
    """RFC 3848: with HELO it is SMTP; after EHLO, TLS and AUTH it is ESMTPSA."""
    for hello, protocol in (("HELO x", b"with SMTP id"), ("EHLO x", b"with ESMTPSA id")):
        with signed_in(platform) as client:
            client.command(hello)
            message_id = client.deliver(GOOD).rsplit(" ", 1)[-1]
        with platform.database() as connection:
            row = connection.execute("SELECT raw FROM relay_content WHERE id = %s", [message_id]).fetchone()
        assert row
        assert protocol in bytes(row[0])


def test_a_client_that_leaves_in_the_middle_leaves_nothing(platform: Platform) -> None:
    before = count_messages(platform)
    with signed_in(platform) as client:
        client.envelope()
        client.command("DATA")
        client.send(GOOD)
    with signed_in(platform) as client:
        client.command("NOOP")
    assert count_messages(platform) == before
