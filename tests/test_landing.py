"""The landing page, and the visitor's own message in the sandbox."""

from __future__ import annotations

from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django.fixtures import Settings

from plugsend.landing import sending
from plugsend.landing.scripts import SCRIPTS
from relay.sandbox.script import ACCEPTS, script_for
from tests.factories import make_domain, make_message, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    cache.clear()


@pytest.fixture
def through_the_door(settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A demo organization; what would go through the SMTP door is stored as delivered, and its recipient listed."""
    domain = make_domain(make_tenant().organization)
    smtp_user = make_smtp_user(domain)
    settings.VAR = tmp_path
    (tmp_path / "demo.env").write_text(f"SMTP_USER={smtp_user.address}\nSMTP_PASSWORD=x\n")
    sent: list[str] = []

    def submit(user: str, password: str, message: Any) -> Any:
        sent.append(str(message["To"]))
        return make_message(domain, to=sent[-1]).pk

    monkeypatch.setattr(sending, "submit_by_smtp", submit)
    return sent


def test_the_example_ends_as_the_sandbox_would_make_a_real_message_end(client: Client) -> None:
    page = client.get("/").content.decode()
    for script in SCRIPTS.values():
        scripted = script_for(f"{script.local_part}+1@example.test")
        replies = [step.reply for step in script.steps if step.reply]
        assert all(reply in page for reply in replies)
        if scripted.refusal:
            assert replies[0][:9] == scripted.refusal[:9]
        else:
            assert scripted == ACCEPTS
        assert script.state == ("bounced" if scripted.refusal and not scripted.once else "delivered")


def test_a_visitor_sends_a_real_message_and_sees_its_timeline(client: Client, through_the_door: list[str]) -> None:
    shown = client.post("/try/", {"ending": "bounced"}, follow=True)
    assert shown.status_code == 200
    assert through_the_door[0] in shown.content.decode()
    assert shown.context["line"]["recipient"].address == through_the_door[0]
    [(address, _)] = shown.redirect_chain
    live = client.get(f"{address}?seen=x", headers={"HX-Request": "true"}).content.decode()
    assert live.lstrip().startswith("<div id=")
    assert client.get(address.replace("/try/", "/try/x")).status_code == 404


def test_a_visitor_who_sends_much_is_asked_to_wait(client: Client, through_the_door: list[str]) -> None:
    answers = [client.post("/try/", {"ending": "delivered"}) for _ in range(sending.PER_ADDRESS + 1)]
    assert [answer.status_code for answer in answers] == [302] * sending.PER_ADDRESS + [429]
    assert len(through_the_door) == sending.PER_ADDRESS
    assert client.post("/try/", {"ending": "delivered"}, REMOTE_ADDR="192.0.2.9").status_code == 302


def test_nothing_can_be_sent_outside_the_sandbox(
    client: Client, through_the_door: list[str], settings: Settings
) -> None:
    settings.SANDBOX = False
    assert client.post("/try/", {"ending": "delivered"}).status_code == 404
    assert "/try/" not in client.get("/").content.decode()
    assert not through_the_door
    token = sending.Sent(uuid4(), uuid4()).token
    assert client.get(f"/try/{token}/").status_code == 404


def test_search_engines_find_what_is_public(client: Client) -> None:
    robots = client.get("/robots.txt").content.decode()
    assert "Disallow: /admin/" in robots
    assert "/sitemap.xml" in robots
    locations = [
        one.text or "" for one in ElementTree.fromstring(client.get("/sitemap.xml").content).findall("{*}url/{*}loc")
    ]
    assert len(locations) > 50
    for place in locations[:6]:
        assert client.get("/" + place.split("/", 3)[3]).status_code == 200, place
    assert not [place for place in locations if any(path in place for path in ("/admin/", "/accounts/login"))]
