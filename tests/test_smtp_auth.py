"""Signing in over SMTP, being kept from guessing, and being put out when the key is revoked (RFC 4954, 4616)."""

import base64
import time
from collections.abc import Iterator

import pytest

from tests.platform import Platform, wait_for
from tests.wire import GOOD, Wire, encoded, plain, signed_in, wire

pytestmark = pytest.mark.xdist_group("platform")


@pytest.fixture
def client(platform: Platform) -> Iterator[Wire]:
    with wire(platform, source="127.0.1.1") as opened:
        opened.command("EHLO x")
        opened.start_tls()
        opened.command("EHLO x")
        yield opened


def test_plain_in_one_line_and_in_two(platform: Platform, client: Wire) -> None:
    assert client.command("AUTH PLAIN") == "334 "
    assert client.command(plain(platform)).startswith("235 2.7.0 ")


def test_plain_with_its_own_name_as_identity(platform: Platform, client: Wire) -> None:
    user, password = platform.demo["SMTP_USER"], platform.demo["SMTP_PASSWORD"]
    assert client.command(f"AUTH PLAIN {encoded(f'{user}{chr(0)}{user}{chr(0)}{password}')}").startswith("235 ")


def test_login_with_the_name_in_the_first_line(platform: Platform, client: Wire) -> None:
    assert base64.b64decode(client.command(f"AUTH LOGIN {encoded(platform.demo['SMTP_USER'])}")[4:]) == b"Password:"
    assert client.command(encoded(platform.demo["SMTP_PASSWORD"])).startswith("235 2.7.0 ")


def test_a_name_is_known_in_any_case(platform: Platform, client: Wire) -> None:
    user, password = platform.demo["SMTP_USER"].upper(), platform.demo["SMTP_PASSWORD"]
    assert client.command(f"AUTH PLAIN {encoded(f'{chr(0)}{user}{chr(0)}{password}')}").startswith("235 ")


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["AUTH"], "501 5.5.4 "),
        (["AUTH PLAIN a b"], "501 5.5.4 "),
        (["AUTH CRAM-MD5"], "504 5.5.4 "),
        (["AUTH XOAUTH2 AAAA"], "504 5.5.4 "),
        (["AUTH PLAIN !!!"], "501 5.5.2 "),
        (["AUTH PLAIN ="], "501 5.5.2 "),  # RFC 4954, 4: an empty initial response
        (["AUTH PLAIN AAAA" + "A" * 12_300], "500 5.5.2 "),
        (["AUTH PLAIN", "*"], "501 5.7.0 "),  # RFC 4954, 4: cancelled
        (["AUTH PLAIN", "A" * 12_400], "500 5.5.6 "),  # RFC 4954, 6
        (["AUTH LOGIN", "not base64 at all"], "501 5.5.2 "),
        (["AUTH LOGIN", "YQBi", "YQ=="], "535 5.7.8 "),  # a NUL in the name
        (["AUTH PLAIN " + encoded("boss\0admin@demo.test\0x")], "535 5.7.8 "),  # nobody acts for somebody else
    ],
)
def test_what_is_no_sign_in(client: Wire, lines: list[str], answer: str) -> None:
    assert [client.command(line) for line in lines][-1].startswith(answer)
    assert client.command("NOOP").startswith("250 ")


def test_an_unknown_name_and_a_wrong_key_get_the_same_words_after_the_same_time(platform: Platform) -> None:
    said, took = [], []
    for number, name in enumerate(["admin@demo.test", "nobody@demo.test"]):
        with wire(platform, source=f"127.0.2.{number + 1}") as client:
            client.command("EHLO x")
            client.start_tls()
            client.command("EHLO x")
            credentials = encoded(f"\0{name}\0ps_live_wrong")
            started = time.monotonic()
            said.append(client.command(f"AUTH PLAIN {credentials}"))
            took.append(time.monotonic() - started)
    assert said[0] == said[1]
    assert said[0].startswith("535 5.7.8 invalid_credentials: ")
    assert min(took) >= 0.099  # a timer may be early by what the clock cannot tell


def test_a_key_that_is_revoked_stops_in_open_sessions_within_five_seconds(platform: Platform) -> None:
    name = platform.demo["SMTP_USER"]
    revoke = (
        "UPDATE accounts_apikey SET revoked_at = {} "
        "WHERE id = (SELECT api_key_id FROM domains_smtpuserkey k JOIN domains_smtpuser u ON u.id = k.smtp_user_id "
        "WHERE address = %s)"
    )
    with signed_in(platform) as client, platform.database() as connection:
        assert client.deliver(GOOD).startswith("250 ")
        connection.execute(revoke.format("now()"), [name])
        try:

            def refusal() -> str:
                answer = client.commands("RSET", "MAIL FROM:<admin@demo.test>")[-1]
                return "" if answer.startswith("250") else answer

            assert wait_for(refusal, "MAIL is refused", 5).startswith("535 5.7.8 api_key_revoked: ")
            assert client.command("MAIL FROM:<admin@demo.test>").startswith("530 5.7.0 ")
        finally:
            connection.execute(revoke.format("NULL"), [name])
        assert client.command(f"AUTH PLAIN {plain(platform)}").startswith("235 ")
        assert client.deliver(GOOD).startswith("250 ")


@pytest.mark.parametrize(
    ("table", "column", "bad", "answer"),
    [
        ("accounts_organization", "suspended_at", "now()", "550 5.7.1 organization_suspended"),
        ("domains_sendingdomain", "status", "'pending'", "550 5.7.1 sender_domain_not_verified"),
        ("domains_sendingdomain", "status", "'stopped'", "550 5.7.1 sender_domain_stopped"),
        ("domains_sendingdomain", "status", "'taken_over'", "550 5.7.1 sender_domain_taken_over"),
    ],
)
def test_suspension_and_a_lost_domain_stop_open_sessions_too(
    platform: Platform, table: str, column: str, bad: str, answer: str
) -> None:
    which = "name = 'demo.test'" if table == "domains_sendingdomain" else "NOT is_system"
    with signed_in(platform) as client, platform.database() as connection:
        row = connection.execute(f"SELECT {column} FROM {table} WHERE {which}").fetchone()  # type: ignore[arg-type]
        assert row
        connection.execute(f"UPDATE {table} SET {column} = {bad} WHERE {which}")  # type: ignore[arg-type]
        try:
            wait_for(
                lambda: client.commands("RSET", "MAIL FROM:<admin@demo.test>")[-1].startswith(answer),
                "MAIL is refused",
                5,
            )
        finally:
            connection.execute(f"UPDATE {table} SET {column} = %s WHERE {which}", row)  # type: ignore[arg-type]
        wait_for(
            lambda: client.commands("RSET", "MAIL FROM:<admin@demo.test>")[-1].startswith("250"),
            "MAIL is taken again",
            5,
        )


def test_a_message_begun_before_the_revocation_is_refused_after_it(platform: Platform) -> None:
    with signed_in(platform) as client, platform.database() as connection:
        client.envelope()
        client.command("DATA")
        connection.execute("UPDATE accounts_organization SET suspended_at = now() WHERE NOT is_system")
        try:
            wait_for(lambda: _is_shut(platform), "the directory knows", 6)
            assert client.say(GOOD + b".\r\n").startswith("550 5.7.1 organization_suspended")
        finally:
            connection.execute("UPDATE accounts_organization SET suspended_at = NULL")
        wait_for(
            lambda: client.commands("RSET", "MAIL FROM:<admin@demo.test>")[-1].startswith("250"),
            "MAIL is taken again",
            5,
        )


def _is_shut(platform: Platform) -> bool:
    with wire(platform) as client:
        client.command("EHLO x")
        client.start_tls()
        client.command("EHLO x")
        return client.command(f"AUTH PLAIN {plain(platform)}").startswith("550 ")
