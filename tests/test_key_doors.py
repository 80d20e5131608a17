"""What both doors make of API keys that were revoked, have expired, are rotated, or are for one domain or network."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

WITHIN_S = 5.0
LETTER = {"from": "admin@demo.test", "to": "bob@doors.test", "subject": "Hi", "text": "Hello"}
REVOKED = "UPDATE accounts_apikey SET revoked_at = now() WHERE id = %s"
EXPIRED = "UPDATE accounts_apikey SET expires_at = now() WHERE id = %s"


def call(platform: Platform, method: str, path: str, key: str = "", **body: Any) -> requests.Response:
    demo = platform.demo
    headers = {"Authorization": f"Bearer {key or demo['API_KEY']}"}
    return requests.request(method, demo["API_URL"] + path, headers=headers, json=body, timeout=20)


def make_key(platform: Platform, **asked: Any) -> dict[str, Any]:
    answer = call(platform, "POST", "/api-keys", **({"name": "Shop"} | asked))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def said(answer: requests.Response) -> str:
    return "" if answer.status_code < 300 else f"{answer.status_code} {answer.json()['code']}"


def send(platform: Platform, key: str, **more: Any) -> str:
    """What the REST door's fast way answers; empty where it takes the email."""
    return said(call(platform, "POST", "/emails", key, **(LETTER | more)))


def look(platform: Platform, key: str) -> str:
    """What the REST door answers to what goes to Django."""
    return said(call(platform, "GET", "/emails", key))


class Password:
    """An SMTP user's: its key, and what the SMTP door says to it."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.address = platform, f"{uuid4().hex}@demo.test"
        made = call(platform, "POST", "/smtp-users", address=self.address).json()
        self.secret = made["password"]
        self.key_id = call(platform, "GET", f"/smtp-users/{made['id']}/keys").json()["data"][0]["id"]

    def sign_in(self, secret: str) -> str:
        with smtplib.SMTP("127.0.0.1", self.platform.smtp_port, timeout=20) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo()
            try:
                client.login(self.address, secret)
            except smtplib.SMTPAuthenticationError as error:
                return f"{error.smtp_code} {error.smtp_error.decode()}".partition(":")[0]  # type: ignore[union-attr]
        return ""


@pytest.mark.parametrize(
    ("statement", "code"), [(REVOKED, "api_key_revoked"), (EXPIRED, "api_key_expired")], ids=["revoked", "expired"]
)
def test_a_key_that_ended_is_told_so_only_to_who_shows_all_of_it(platform: Platform, statement: str, code: str) -> None:
    key, password = make_key(platform), Password(platform)
    doors: list[tuple[Callable[[str], str], str, str]] = [
        (lambda secret: send(platform, secret), key["token"], f"401 {code}"),
        (lambda secret: look(platform, secret), key["token"], f"401 {code}"),
        (lambda secret: send(platform, secret), password.secret, f"401 {code}"),
        (password.sign_in, password.secret, f"535 5.7.8 {code}"),
    ]
    for door, secret, _ in doors[:1] + doors[3:]:
        assert door(secret) == ""
    with platform.database() as connection:
        for key_id in (key["id"], password.key_id):
            connection.execute(statement, [key_id])
    for door, secret, answer in doors:
        assert wait_for(lambda door=door, secret=secret: door(secret), "it is refused", WITHIN_S) == answer  # type: ignore[misc]
        other = secret[:10] + ("b" if secret[10] == "a" else "a") + secret[11:]
        assert door(other) == answer.replace(code, "invalid_credentials")


def test_a_rotated_key_goes_on_beside_the_new_one_until_its_moment(platform: Platform) -> None:
    old = make_key(platform, scopes=["send"])
    new = call(platform, "POST", f"/api-keys/{old['id']}/rotate", keep_old_hours=24).json()
    assert (send(platform, old["token"]), send(platform, new["token"])) == ("", "")
    with platform.database() as connection:
        over = "UPDATE accounts_apikey SET expires_at = now() + interval '4 seconds' WHERE id = %s RETURNING expires_at"
        [[ends_at]] = connection.execute(over, [old["id"]]).fetchall()
    asked: list[tuple[datetime, str, datetime]] = []

    def refusal() -> str:
        began = datetime.now(UTC)
        answer = send(platform, old["token"])
        asked.append((began, answer, datetime.now(UTC)))
        return answer

    assert wait_for(refusal, "the old key has ended", 15) == "401 api_key_expired"
    # Kept for seconds in the directory, it counts to the moment all the same.
    assert all(began < ends_at for began, answer, _ in asked if not answer)
    assert asked[-1][2] >= ends_at
    assert any(ends_at - timedelta(seconds=2) < began for began, answer, _ in asked if not answer)
    assert send(platform, new["token"]) == ""
    wait_for(lambda: call(platform, "GET", f"/api-keys/{new['id']}").json()["last_used_at"], "its use is noted")


def test_a_key_works_from_its_networks_and_for_its_domain_only(platform: Platform) -> None:
    domain = next(one for one in call(platform, "GET", "/domains").json()["data"] if one["name"] == "demo.test")
    key = make_key(platform, domain="demo.test", allowed_networks=["192.0.2.0/24"])
    for door in (send, look):
        assert door(platform, key["token"]) == "403 network_not_allowed"
    assert call(platform, "GET", f"/api-keys/{key['id']}").json()["last_used_at"] is None
    call(platform, "PATCH", f"/api-keys/{key['id']}", allowed_networks=["127.0.0.0/8", "::1"])
    for door in (send, look):
        wait_for(lambda door=door: door(platform, key["token"]) == "", "it is let in", WITHIN_S)  # type: ignore[misc]
    assert send(platform, key["token"], **{"from": "admin@elsewhere.test"}) == "403 sender_not_allowed"
    below = {"from": "admin@shop.demo.test"}
    assert send(platform, key["token"], **below) == "403 sender_subdomain_not_allowed"
    with platform.database() as connection:
        allow = "UPDATE domains_sendingdomain SET allow_subdomains = %s WHERE id = %s"
        connection.execute(allow, [True, domain["id"]])
        try:
            wait_for(lambda: send(platform, key["token"], **below) == "", "subdomains are covered", WITHIN_S)
        finally:
            connection.execute(allow, [False, domain["id"]])
