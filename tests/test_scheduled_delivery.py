"""Scheduled mail through the whole of a running platform, at both doors."""

import smtplib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import requests

from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

LETTER = {"from": "Ada <ada@demo.test>", "subject": "Later", "text": "Hello"}


def call(platform: Platform, method: str, path: str, body: Any = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {platform.demo['API_KEY']}"}
    return requests.request(method, f"{platform.demo['API_URL']}/emails{path}", headers=headers, json=body, timeout=20)


def send_by_rest(platform: Platform, to: str, scheduled_at: str) -> UUID:
    answer = call(platform, "POST", "", LETTER | {"to": to, "scheduled_at": scheduled_at})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


def send_by_smtp(platform: Platform, to: str, send_at: str) -> UUID:
    sender = platform.demo["SMTP_USER"]
    with platform.smtp() as client:
        client.mail(sender)
        client.rcpt(to)
        code, reply = client.data(
            f"From: {sender}\r\nSubject: Later\r\nX-PlugSend-Send-At: {send_at}\r\n\r\nHello\r\n".encode()
        )
    assert code == 250, reply
    return UUID(reply.decode().rsplit(" ", 1)[-1])


def moments(platform: Platform, message_id: UUID) -> dict[str, datetime]:
    """When each type of event happened."""
    with platform.database() as connection:
        rows = connection.execute("SELECT type, occurred_at FROM events_event WHERE message_id = %s", [message_id])
        return {str(row[0]): row[1] for row in rows}


def test_it_is_delivered_at_its_time_and_not_before(platform: Platform) -> None:
    at = datetime.now(UTC) + timedelta(seconds=2)
    sent = [
        send_by_rest(platform, "a@later-rest.test", at.isoformat()),
        send_by_smtp(platform, "a@later-smtp.test", at.isoformat()),
        send_by_rest(platform, "b@later-rest.test", "in 2 seconds"),
    ]
    for message_id in sent:
        assert platform.types(message_id)[:2] == ["submitted", "scheduled"]
        platform.wait_event(message_id, "delivered")
        assert moments(platform, message_id)["delivered"] >= at
    email = call(platform, "GET", f"/{sent[0]}").json()
    assert datetime.fromisoformat(email["scheduled_at"]) == at
    [(raw, dkim, _, _)] = platform.inbox("a@later-smtp.test")
    assert dkim == "pass"
    assert b"X-PlugSend" not in raw


def test_one_is_rescheduled_one_is_cancelled_one_is_sent_now(platform: Platform) -> None:
    sooner, never, now = (send_by_rest(platform, f"{who}@later-acts.test", "in 20 days") for who in "abc")
    assert call(platform, "GET", f"/{never}").json()["last_event"] == "scheduled"

    answer = call(platform, "PATCH", f"/{sooner}", {"scheduled_at": "in 1 second"})
    assert (answer.status_code, answer.json()) == (200, {"object": "email", "id": str(sooner)})
    cancelled = call(platform, "POST", f"/{never}/cancel").json()
    assert (cancelled["object"], cancelled["id"], cancelled["last_event"]) == ("email", str(never), "canceled")
    assert call(platform, "POST", f"/{now}/retry").status_code == 200

    for message_id in (sooner, now):
        platform.wait_event(message_id, "delivered")
    assert platform.types(sooner) == ["submitted", "scheduled", "scheduled", "delivered"]
    assert platform.types(now) == ["submitted", "scheduled", "retry_requested", "delivered"]
    assert platform.types(never) == ["submitted", "scheduled", "cancelled"]
    assert call(platform, "PATCH", f"/{sooner}", {"scheduled_at": "in 1 hour"}).json()["code"] == "nothing_to_act_on"
    with platform.database() as connection:
        in_register = "SELECT count(*) FROM relay_scheduledmessage WHERE message_id = %s"
        wait_for(lambda: connection.execute(in_register, [never]).fetchone() == (0,), "the cancelled one is forgotten")


@pytest.mark.parametrize(
    ("send_at", "code"),
    [("2020-01-01T00:00:00Z", "schedule_out_of_range"), ("tomorrow", "malformed_option_header")],
)
def test_a_bad_time_is_refused_over_smtp(platform: Platform, send_at: str, code: str) -> None:
    sender = platform.demo["SMTP_USER"]
    with platform.smtp() as client, pytest.raises(smtplib.SMTPDataError) as caught:
        client.sendmail(sender, "a@later.test", f"From: {sender}\nX-PlugSend-Send-At: {send_at}\n\nHello\n")
    assert caught.value.smtp_code == 550
    assert code in str(caught.value.smtp_error)
