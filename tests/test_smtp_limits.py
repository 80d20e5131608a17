"""How much is too much at the SMTP door, and what is answered then."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from relay.certificates import self_signed
from relay.submission.smtp_limits import Room, SessionLimits
from relay.submission.smtp_tls import Certificate
from tests.in_process import Door, running_door
from tests.platform import Platform, running_platform, wait_for
from tests.wire import GOOD, Wire, count_messages, signed_in, wire

pytestmark = pytest.mark.xdist_group("smtp-limits")

LIMITS = SessionLimits(connections_per_address=3, idle_s=1.5, login_s=2.5, transfer_s=3, bad_commands=3)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One with little patience. It needs no database: nobody signs in."""
    files = self_signed(tmp_path_factory.mktemp("tls"), "mail.here.test")
    with running_door(Certificate(*map(str, files)), limits=LIMITS) as running:
        yield running


@pytest.fixture
def client(door: Door) -> Iterator[Wire]:
    opened = Wire(door.port)
    opened.read()
    yield opened
    opened.close()
    wait_for(lambda: not door.reception._guests, "the session ends")


def test_a_command_line_may_be_as_long_as_the_extensions_make_it(client: Wire) -> None:
    """RFC 5321, 4.5.3.1.4; RFC 1870, 4954, 6152 and 6531 add to it."""
    assert client.say(b"NOOP " + b"x" * 1058 + b"\r\n").startswith("250 ")
    assert client.say(b"NOOP " + b"x" * 1059 + b"\r\n").startswith("500 5.5.2 ")
    assert client.say(b"x" * 200_000 + b"\r\n").startswith("500 5.5.2 ")
    assert client.command("NOOP").startswith("250 ")


def test_the_last_bad_command_closes(client: Wire) -> None:
    assert client.command("FOO").startswith("500 5.5.2 ")
    assert client.command("MAIL").startswith("503 5.5.1 ")
    assert client.command("FOO").startswith("421 4.7.0 too_many_bad_commands: ")
    assert client.is_closed()


def test_so_many_connections_from_one_address(door: Door) -> None:
    clients = [Wire(door.port, source="127.0.9.1") for _ in range(3)]
    assert all(client.read().startswith("220 ") for client in clients)
    extra = Wire(door.port, source="127.0.9.1")
    assert extra.read().startswith("421 4.7.0 too_many_connections: ")
    assert extra.is_closed()
    other = Wire(door.port, source="127.0.9.2")
    assert other.read().startswith("220 ")
    clients[0].command("QUIT")

    def gets_in() -> bool:
        again = Wire(door.port, source="127.0.9.1")
        answer = again.read()
        again.close()
        return answer.startswith("220 ")

    wait_for(gets_in, "the place is free again")
    for opened in (*clients, other):
        opened.close()
    wait_for(lambda: not door.reception._guests, "the sessions end")


def test_who_does_not_sign_in_is_sent_away_however_busy(client: Wire) -> None:
    deadline = time.monotonic() + 6
    answer = ""
    while not answer.startswith("421 4.4.2 timed_out: "):
        assert time.monotonic() < deadline
        answer = client.command("NOOP")
        time.sleep(0.1)
    assert client.is_closed()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Platform]:
    """A platform of small limits."""
    settings = {"SMTP_IDLE_SECONDS": "2", "SMTP_TRANSFER_SECONDS": "4", "SMTP_CONNECTIONS_PER_USER": "2"}
    settings |= {"SMTP_MESSAGES_PER_CONNECTION": "2", "MESSAGE_SIZE_LIMIT": "5000", "RECIPIENTS_LIMIT": "3"}
    settings |= {"MESSAGE_HEADERS_LIMIT": "10", "MIME_PARTS_LIMIT": "3", "MIME_DEPTH_LIMIT": "2"}
    with running_platform(**settings) as running:
        yield running


def test_so_many_messages_over_one_connection(hasty: Platform) -> None:
    with signed_in(hasty) as client:
        assert client.deliver(GOOD).startswith("250 ")
        assert client.deliver(GOOD).startswith("250 ")
        assert client.command("MAIL FROM:<admin@demo.test>").startswith("421 4.7.0 too_many_messages: ")
        assert client.is_closed()


def test_so_many_connections_for_one_user(hasty: Platform) -> None:
    with signed_in(hasty), signed_in(hasty), wire(hasty) as third:
        assert third.sign_in(hasty).startswith("421 4.7.0 too_many_connections: ")
        assert third.is_closed()
    wait_for(lambda: gets_in(hasty), "the places are free again")


def gets_in(platform: Platform) -> bool:
    with wire(platform) as client:
        return client.sign_in(platform).startswith("235 ")


def test_so_many_recipients(hasty: Platform) -> None:
    with signed_in(hasty) as client:
        client.command("MAIL FROM:<admin@demo.test>")
        answers = client.commands(*(f"RCPT TO:<r{number}@example.test>" for number in range(4)))
        assert [answer[:9] for answer in answers] == ["250 2.1.5"] * 3 + ["452 4.5.3"]
        client.command("DATA")
        assert client.say(GOOD + b".\r\n").startswith("250 ")


@pytest.fixture(scope="module")
def own_limit(hasty: Platform) -> Iterator[Callable[[int | None], None]]:
    """Gives the demo's organization a limit of its own; both doors know it then."""

    def set_to(octets: int | None) -> None:
        with hasty.database() as connection:
            connection.execute("UPDATE accounts_organization SET message_size_limit = %s WHERE NOT is_system", [octets])
        limit = min(octets or 5000, 5000)
        wait_for(lambda: declared(limit).startswith("250") and declared(limit + 1).startswith("552"), "SMTP knows", 30)
        wait_for(lambda: post(hasty, limit // 2)[0] == 202 and post(hasty, limit + 500)[0] == 413, "REST knows", 30)

    def declared(size: int) -> str:
        with signed_in(hasty) as client:
            return client.command(f"MAIL FROM:<admin@demo.test> SIZE={size}")

    yield set_to
    set_to(None)


def post(platform: Platform, size: int) -> tuple[int, str]:
    answer = requests.post(
        f"{platform.demo['API_URL']}/emails",
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}"},
        json={"from": "a@demo.test", "to": "ada@example.test", "subject": "Size", "text": "x " * (size // 2)},
        timeout=20,
    )
    return answer.status_code, answer.json().get("detail", "")


def padded(size: int, start: bytes = GOOD) -> bytes:
    """A message of that many octets."""
    lines, rest = divmod(size - len(start) - 2, 62)
    return start + (b"x" * 60 + b"\r\n") * lines + b"y" * rest + b"\r\n"


def test_an_organizations_own_size_limit_rules_where_it_is_lower_and_does_not_raise_the_platforms(
    hasty: Platform, own_limit: Callable[[int | None], None]
) -> None:
    own_limit(2000)
    refusal = "552 5.3.4 message_too_large: The message has 2001 octets; your organization's limit is 2000. "
    with signed_in(hasty) as client:
        before = count_messages(hasty)
        assert "250-SIZE 5000\n" in client.command("EHLO x")  # the platform's own
        assert client.command("MAIL FROM:<admin@demo.test> SIZE=2001").startswith(refusal)
        assert client.deliver(padded(2001)).startswith(refusal)
        client.envelope()
        assert client.say(b"BDAT 2001 LAST\r\n" + padded(2001)).startswith(refusal)
        client.envelope()
        assert client.say(b"BDAT 2001\r\n" + padded(2001)).startswith(refusal)
        assert client.command("RSET").startswith("250")
        assert count_messages(hasty) == before
        assert client.deliver(padded(2000)).startswith("250 ")
    with signed_in(hasty) as client:
        client.envelope(parameters=" SIZE=2000")
        assert client.say(b"BDAT 2000 LAST\r\n" + padded(2000)).startswith("250 ")
    assert post(hasty, 2500)[1].endswith(" octets; your organization's limit is 2000.")

    own_limit(9000)
    refusal = "552 5.3.4 message_too_large: The message has 5001 octets; this server's limit is 5000. "
    with signed_in(hasty) as client:
        assert client.command("MAIL FROM:<admin@demo.test> SIZE=5001").startswith(refusal)
        assert client.deliver(padded(5001)).startswith(refusal)
    assert post(hasty, 6000)[1].endswith(" octets; this server's limit is 5000.")


def test_transparency_dots_do_not_count_towards_the_size(hasty: Platform) -> None:
    """RFC 1870, 3."""
    dots = GOOD + b".\r\n" * ((5000 - len(GOOD)) // 3)
    content = padded(5000, dots[: len(dots) - 3])
    with signed_in(hasty) as client:
        assert client.deliver(content.replace(b"\r\n.", b"\r\n..")).startswith("250 ")
        assert client.deliver((content + b"z\r\n").replace(b"\r\n.", b"\r\n..")).startswith(
            "552 5.3.4 message_too_large: The message has 5003 octets; this server's limit is 5000. "
        )


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (GOOD + b"x" * 5000 + b"\r\n", "552 5.3.4 message_too_large"),
        (b"X: y\r\n" * 8 + GOOD, "552 5.3.4 header_too_large"),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n" + GOOD + b"--b\r\n\r\nx\r\n" * 4,
            "550 5.6.0 mime_too_complex",
        ),
        (b"Content-Type: message/rfc822\r\n" + GOOD + b"x", "550 5.6.0 mime_too_complex"),
        (b"X-Long: " + b"y" * 1000 + b"\r\n" + GOOD, "550 5.6.0 line_too_long"),
    ],
    ids=["size", "header fields", "parts", "depth", "line"],
)
def test_a_message_that_is_too_much_is_refused_and_not_stored(hasty: Platform, content: bytes, answer: str) -> None:
    if answer.endswith("complex") and b"rfc822" in content:
        content = b"Content-Type: message/rfc822\r\n" + GOOD.replace(
            b"Hello", b"Content-Type: message/rfc822\r\n\r\n" * 3
        )
    before = count_messages(hasty)
    with signed_in(hasty) as client:
        assert client.deliver(content).startswith(answer)
        assert client.command("NOOP").startswith("250 ")
    assert count_messages(hasty) == before


def test_a_long_line_of_text_arrives_legal_and_signed(hasty: Platform) -> None:
    with signed_in(hasty) as client:
        assert client.deliver(GOOD + b"long " * 400 + b"\r\n", "long@example.test").startswith("250 ")
    raw, dkim, _, _ = wait_for(lambda: hasty.inbox("long@example.test"), "the mail arrives")[0]
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in raw
    assert raw.replace(b"=\r\n", b"").rstrip().endswith(b"Hello\r\n" + b"long " * 399 + b"long=20")
    assert dkim == "pass"


def test_an_idle_session_is_closed(hasty: Platform) -> None:
    with signed_in(hasty) as client:
        assert client.read().startswith("421 4.4.2 timed_out: ")
        assert client.is_closed()


def test_a_client_that_drips_is_closed_and_its_message_forgotten(hasty: Platform) -> None:
    before = count_messages(hasty)
    with signed_in(hasty) as client:
        client.envelope()
        client.command("DATA")
        client._socket.settimeout(0.3)
        deadline = time.monotonic() + 10
        answer = ""
        while not answer and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError, OSError):
                client.send(b"x")
                answer = client._socket.recv(200).decode()
        assert answer.startswith("421 4.4.2 timed_out: ")
    assert count_messages(hasty) == before


# ---- Memory ----------------------------------------------------------------------------------------------------------


def test_room_is_given_in_order_and_given_back() -> None:
    async def main() -> list[str]:
        room, order, full = Room(100), [], asyncio.Event()

        async def take(name: str, octets: int) -> None:
            async with room.of(octets):
                order.append(name)
                if name == "first":
                    await full.wait()

        async with asyncio.TaskGroup() as group:
            group.create_task(take("first", 80))
            await asyncio.sleep(0)
            group.create_task(take("large", 1000))  # more than there is: alone
            group.create_task(take("small", 10))  # would fit, and waits its turn
            gone = group.create_task(take("gone", 10))
            await asyncio.sleep(0)
            gone.cancel()
            full.set()
        async with room.of(100):
            order.append("all")
        return order

    assert asyncio.run(main()) == ["first", "large", "small", "all"]
