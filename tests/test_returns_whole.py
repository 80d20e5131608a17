"""Mail that comes back in a whole PlugSend: its sandbox's mailboxes send it by real SMTP to where DNS leads."""

from __future__ import annotations

import smtplib

import pytest

from tests.platform import Platform, submit, wait_for

pytestmark = pytest.mark.xdist_group("platform")


def test_what_the_sandboxs_mailboxes_mail_back_ends_as_events(platform: Platform, timelines_agree: None) -> None:
    late, odd, spam, away = (
        f"{local}@back.test" for local in ("latebounce+1", "odd-bounce+1", "complain+1", "vacation+1")
    )
    alone = platform.send(late)
    answered = platform.send(away)
    with platform.smtp() as client:  # who share a return path
        together = submit(client, platform.demo["SMTP_USER"], (odd, spam, "joe@back.test"))
    assert platform.wait_event(alone, "bounced") == ["submitted", "delivered", "bounced"]
    wait_for(lambda: {"bounced", "complained"} <= set(platform.types(together)), "both are told")
    told = {(address, type_, reason) for address, type_, reason in platform.events(together) if type_ != "submitted"}
    assert told == {
        (odd, "delivered", ""), (spam, "delivered", ""), ("joe@back.test", "delivered", ""),
        (odd, "bounced", "no_such_address"), (spam, "complained", ""),
    }  # fmt: skip
    with platform.database() as database:
        statement = "SELECT address, reason FROM relay_suppression WHERE address LIKE '%@back.test'"
        assert dict(database.execute(statement).fetchall()) == {
            late: "no_such_address", odd: "no_such_address", spam: "complaint",
        }  # fmt: skip
    assert platform.wait_event(answered, "auto_replied") == ["submitted", "delivered", "auto_replied"]


def test_nothing_is_ever_sent_by_it_and_a_killed_one_is_replaced(platform: Platform) -> None:
    def refused() -> bool:
        with smtplib.SMTP("127.0.0.1", platform.returns_port, timeout=10) as client:
            client.ehlo()
            client.mail("victim@innocent.test")
            return client.rcpt("nobody@psrp.demo.test")[0] == 550

    assert refused()
    platform.wait_restarted("returns", platform.kill("returns"))
    wait_for(lambda: _answers(platform), "it listens again")
    assert refused()
    assert platform.inbox("victim@innocent.test") == []


def _answers(platform: Platform) -> bool:
    try:
        smtplib.SMTP("127.0.0.1", platform.returns_port, timeout=10).quit()
    except OSError:
        return False
    return True
