"""What the doors make of an SMTP user's keys, limits and networks, in a running PlugSend."""

import smtplib
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

WITHIN_S = 5.0


class User:
    """An SMTP user of the demo organization, changed over REST."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.address = f"{uuid4().hex}@demo.test"
        made = self.api("POST", "/smtp-users", address=self.address)
        self.path, self.password = f"/smtp-users/{made['id']}", made["password"]

    def api(self, method: str, path: str, **body: Any) -> Any:
        demo = self.platform.demo
        answer = requests.request(
            method,
            demo["API_URL"] + path,
            headers={"Authorization": f"Bearer {demo['API_KEY']}"},
            json=body,
            timeout=20,
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    @contextmanager
    def session(self, password: str = "", *, source: str = "127.0.0.1") -> Iterator[smtplib.SMTP]:
        with smtplib.SMTP("127.0.0.1", self.platform.smtp_port, timeout=20, source_address=(source, 0)) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login(self.address, password or self.password)
            yield client

    def sign_in(self, password: str = "", *, source: str = "127.0.0.1") -> str:
        """What the door answers to it."""
        try:
            with self.session(password, source=source):
                return "235"
        except smtplib.SMTPAuthenticationError as error:
            return f"{error.smtp_code} {error.smtp_error.decode()}"  # type: ignore[union-attr]

    def send(self, client: smtplib.SMTP) -> str:
        """What the door answers to a message, or to MAIL where that is refused."""
        code, reply = client.mail(self.address)
        if code == 250:
            client.rcpt("bob@doors.test")
            code, reply = client.data(f"From: {self.address}\r\nSubject: Hi\r\n\r\nHello\r\n")
        else:
            client.rset()
        return f"{code} {reply.decode()}"

    def rest(self, password: str = "") -> requests.Response:
        letter = {"from": self.address, "to": "bob@doors.test", "subject": "Hi", "text": "Hello"}
        url = f"{self.platform.demo['API_URL']}/emails"
        return requests.post(
            url, headers={"Authorization": f"Bearer {password or self.password}"}, json=letter, timeout=20
        )


@pytest.fixture
def user(platform: Platform) -> User:
    return User(platform)


def refusal(send: Callable[[], str]) -> Callable[[], str]:
    """Empty as long as it goes well."""

    def answer() -> str:
        said = send()
        return "" if said.startswith("2") else said

    return answer


def test_one_of_two_keys_is_revoked_and_the_other_goes_on(user: User) -> None:
    second = user.api("POST", f"{user.path}/keys", name="Shop")
    with user.session() as one, user.session(second["password"]) as two:
        assert user.send(one).startswith("250")
        assert user.send(two).startswith("250")
        user.api("DELETE", f"{user.path}/keys/{second['id']}")
        answer = wait_for(refusal(lambda: user.send(two)), "the revoked key is refused", WITHIN_S)
        assert answer.startswith("535 5.7.8 api_key_revoked: ")
        assert user.send(one).startswith("250")
    assert user.sign_in(second["password"]).startswith("535 5.7.8 ")
    assert user.rest(second["password"]).status_code == 401
    assert user.rest().status_code == 202


def test_a_replaced_key_works_until_it_ends(user: User, platform: Platform) -> None:
    new = user.api("POST", f"{user.path}/password", keep_old_hours=24)["password"]
    with user.session() as old:
        assert user.send(old).startswith("250")
        with platform.database() as connection:
            over = "UPDATE accounts_apikey SET expires_at = now() WHERE expires_at IS NOT NULL AND only_domain = 'demo.test'"
            connection.execute(over)
        assert wait_for(refusal(lambda: user.send(old)), "the old key has ended", WITHIN_S).startswith("535 ")
    wait_for(lambda: user.rest().status_code == 401, "REST refuses it", WITHIN_S)
    assert user.sign_in(new) == "235"


def test_a_disabled_user_is_told_so_once_the_right_key_is_shown_and_enabled_at_once(user: User) -> None:
    wrong = "ps_live_" + "x" * 38
    unknown = user.sign_in(wrong)
    with user.session() as client:
        user.api("POST", f"{user.path}/disable")
        answer = wait_for(refusal(lambda: user.send(client)), "the open session is refused", WITHIN_S)
        assert answer.startswith("525 5.7.13 smtp_user_disabled: ")
        assert client.mail(user.address)[0] == 530  # signed out
    wait_for(lambda: user.sign_in() != "235", "signing in is refused", WITHIN_S)
    assert user.sign_in().startswith("525 5.7.13 smtp_user_disabled: ")
    assert user.sign_in(wrong) == unknown
    wait_for(lambda: user.rest().status_code == 403, "REST refuses it", WITHIN_S)
    assert user.rest().json()["code"] == "smtp_user_disabled"
    user.api("POST", f"{user.path}/enable")
    assert user.sign_in() == "235"
    assert user.rest().status_code == 202


def test_only_from_its_networks(user: User) -> None:
    user.api("PATCH", user.path, allowed_networks=["127.0.7.0/24", "2001:db8::/32"])
    assert user.sign_in(source="127.0.7.9") == "235"
    answer = user.sign_in()
    assert answer.startswith("550 5.7.1 network_not_allowed: ")
    assert "127.0.0.1" in answer
    refused = user.rest()
    assert (refused.status_code, refused.json()["code"]) == (403, "network_not_allowed")
    listing = requests.get(
        f"{user.platform.demo['API_URL']}/emails", headers={"Authorization": f"Bearer {user.password}"}, timeout=20
    )
    assert (listing.status_code, listing.json()["code"]) == (403, "network_not_allowed")
    with user.session(source="127.0.7.9") as client:
        assert user.send(client).startswith("250")
        user.api("PATCH", user.path, allowed_networks=["192.0.2.0/24"])
        answer = wait_for(refusal(lambda: user.send(client)), "the open session is refused", WITHIN_S)
        assert answer.startswith("550 5.7.1 network_not_allowed: ")


def test_both_doors_together_let_in_as_many_as_the_limit_says(user: User, platform: Platform) -> None:
    user.api("PATCH", user.path, hourly_limit=25)

    def by_smtp(_: int) -> list[str]:
        with user.session() as client:
            return [user.send(client) for _ in range(6)]

    def by_rest(_: int) -> list[str]:
        answers = [user.rest() for _ in range(6)]
        assert all(0 < int(a.headers["Retry-After"]) <= 3600 for a in answers if a.status_code == 429)
        return [f"{a.status_code} {a.json().get('code', '')}" for a in answers]

    with ThreadPoolExecutor(8) as threads:
        smtp, rest = threads.map(by_smtp, range(4)), threads.map(by_rest, range(4))
        said = [one[:33] for answers in (*smtp, *rest) for one in answers]
    assert sum(one.startswith(("250 2.0.0", "202")) for one in said) == 25
    over = {one for one in said if not one.startswith(("250 2.0.0", "202"))}
    assert over <= {"451 4.7.1 smtp_user_limit_reached", "429 smtp_user_limit_reached"}
    with platform.database() as connection:
        counted = "SELECT count FROM relay_usagecounter WHERE subject_id = %s"
        [[count]] = connection.execute(counted, [user.path.rpartition("/")[2]]).fetchall()
    assert count == 25


def test_a_batch_that_does_not_fit_is_refused_whole(user: User) -> None:
    user.api("PATCH", user.path, daily_limit=5)
    letter = {"from": user.address, "to": "bob@doors.test", "subject": "Hi", "text": "Hello"}
    headers = {"Authorization": f"Bearer {user.password}", "Idempotency-Key": uuid4().hex}
    url = f"{user.platform.demo['API_URL']}/emails/batch"
    refused = requests.post(url, headers=headers, json=[letter] * 6, timeout=20)
    assert (refused.status_code, refused.json()["code"]) == (429, "smtp_user_limit_reached")
    for _ in range(2):  # the second one is a repeat
        assert requests.post(url, headers=headers, json=[letter] * 5, timeout=20).status_code == 200
    assert user.rest().status_code == 429


@pytest.mark.parametrize("door", ["signing in", "sending", "reading over REST"])
def test_when_and_from_where_a_key_was_used_last(user: User, door: str) -> None:
    assert user.api("GET", user.path)["last_used_at"] is None
    if door == "signing in":
        assert user.sign_in(source="127.0.9.9") == "235"
    elif door == "sending":
        assert user.rest().status_code == 202
    else:
        url = f"{user.platform.demo['API_URL']}/emails"
        requests.get(url, headers={"Authorization": f"Bearer {user.password}"}, timeout=20)
    told = wait_for(lambda: (u := user.api("GET", user.path))["last_used_at"] and u, "it is noted", WITHIN_S)
    assert told["last_used_from"] == ("127.0.9.9" if door == "signing in" else "127.0.0.1")
    assert datetime.now(UTC) - datetime.fromisoformat(told["last_used_at"]) < timedelta(minutes=1)


def test_what_is_refused_is_no_use(user: User) -> None:
    user.api("PATCH", user.path, allowed_networks=["192.0.2.0/24"])
    assert user.sign_in().startswith("550 ")
    user.api("POST", f"{user.path}/disable")
    wait_for(lambda: user.sign_in().startswith("525 "), "it is refused for that", WITHIN_S)
    assert user.api("GET", user.path)["last_used_at"] is None
