"""Processes die, the broker forgets: nothing that was answered with 250 is lost."""

import smtplib
from collections.abc import Iterator
from uuid import UUID

import pytest
import redis

from tests.platform import Platform, running_platform, submit, wait_for

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.usefixtures("timelines_agree")]


@pytest.fixture(scope="module")
def mortal() -> Iterator[Platform]:
    """A platform to be hurt. Short leases, so that a dead worker's recipients come due soon."""
    with running_platform(LEASE_SECONDS="3", RETRY_SCALE="0.02") as running:
        yield running


def test_mail_is_delivered_though_the_broker_forgot_everything(mortal: Platform) -> None:
    # While there is no worker, the wake-up waits in the broker; the flush takes it away.
    broker = redis.Redis.from_url(mortal.redis_url)
    killed = mortal.kill("worker")
    message_id = mortal.send("ada@flushed.test")
    broker.flushall()
    assert mortal.types(message_id) == ["submitted"]
    mortal.wait_restarted("worker", killed)
    assert mortal.wait_event(message_id, "delivered") == ["submitted", "delivered"]
    assert len(mortal.inbox("ada@flushed.test")) == 1


def test_a_worker_killed_in_the_middle_leaves_a_doubt_and_delivers(mortal: Platform) -> None:
    # slow@ answers the final dot after 5 s, so the worker dies between the dot and the answer.
    message_id = mortal.send("slow@killed.test")
    with mortal.database() as connection:
        wait_for(
            lambda: connection.execute(
                "SELECT 1 FROM relay_recipient WHERE message_id = %s AND leased_by IS NOT NULL", [message_id]
            ).fetchone(),
            "the recipient is claimed",
        )
    wait_for(lambda: mortal.inbox("slow@killed.test"), "the mail arrived", 10)
    mortal.kill("worker")
    types = mortal.wait_event(message_id, "delivered", 40)
    assert types[0] == "submitted"
    assert types[1] == "in_doubt"
    assert types[-1] == "delivered"


def test_mail_is_delivered_though_the_smtp_process_died_right_after_its_250(mortal: Platform) -> None:
    client = mortal.smtp()
    message_id = submit(client, mortal.demo["SMTP_USER"], ("ada@orphan.test",))
    killed = mortal.kill("smtp")
    client.close()
    assert mortal.wait_event(message_id, "delivered") == ["submitted", "delivered"]
    mortal.wait_restarted("smtp", killed)
    wait_for(lambda: _accepts(mortal), "the door is open again")


def test_a_dropped_connection_after_the_final_dot_is_in_doubt(mortal: Platform) -> None:
    message_id = mortal.send("drop@example.test")
    assert mortal.wait_event(message_id, "in_doubt")[:2] == ["submitted", "in_doubt"]


@pytest.mark.parametrize("name", ["postgres", "valkey", "sandbox", "web", "beat"])
def test_the_platform_recovers_from_the_death_of(mortal: Platform, name: str) -> None:
    killed = mortal.kill(name)
    mortal.wait_restarted(name, killed)
    message_id = wait_for(lambda: _send(mortal, f"ada@{name}.test"), "mail is taken again", 30)
    mortal.wait_event(message_id, "delivered", 30)


def test_everything_killed_at_once_starts_again_with_all_its_mail(mortal: Platform) -> None:
    sent = [mortal.send(f"n{number}@all.test") for number in range(20)]
    mortal.kill_everything()
    mortal.start()
    for message_id in sent:
        assert mortal.wait_event(message_id, "delivered", 40)[-1] == "delivered"


def _accepts(platform: Platform) -> bool:
    try:
        platform.smtp().quit()
    except (OSError, smtplib.SMTPException):
        return False
    return True


def _send(platform: Platform, recipient: str) -> UUID | None:
    try:
        return platform.send(recipient)
    except (OSError, AssertionError, smtplib.SMTPException):
        return None
