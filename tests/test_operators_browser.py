"""An operator in a real browser suspends an organization of a running platform, looks as it, and resumes it."""

from __future__ import annotations

import re
import smtplib
import uuid

import pytest
import requests
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from playwright.sync_api import Page, expect

from accounts.ids import uuid7
from tests.browsing import page  # noqa: F401 - a fixture
from tests.platform import Platform, wait_for

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]

PASSWORD = "correct horse battery"
REASON = "Your list of November was bought."


def make_operator(platform: Platform) -> str:
    email = f"operator-{uuid.uuid4().hex[:8]}@people.test"
    person = uuid7()
    with platform.database() as connection:
        connection.execute(
            "INSERT INTO accounts_user (id, email, name, password, is_superuser, is_staff, is_active, date_joined)"
            " VALUES (%s, %s, '', %s, true, true, true, now())",
            [person, email, make_password(PASSWORD, hasher="argon2")],
        )
        connection.execute(
            f'INSERT INTO {EmailAddress._meta.db_table} (user_id, email, verified, "primary") VALUES (%s, %s, true, true)',
            [person, email],
        )
    return email


def rest_answer(platform: Platform) -> requests.Response:
    return requests.post(
        f"{platform.demo['API_URL']}/emails",
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}"},
        json={"from": platform.demo["SMTP_USER"], "to": "rest@inbox.test", "subject": "Hello", "text": "Hello"},
        timeout=20,
    )


def test_suspended_looked_at_and_resumed(platform: Platform, page: Page) -> None:  # noqa: F811
    waiting = platform.send(f"defer+{uuid.uuid4().hex[:8]}@inbox.test")
    platform.wait_event(waiting, "deferred")
    mistakes: list[str] = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{platform.web_url}/admin/accounts/organization/?q=Demo")
    page.get_by_label("Email").fill(make_operator(platform))
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("link", name="Demo", exact=True).click()

    with platform.smtp() as open_session:
        page.get_by_role("link", name="Suspend…").click()
        page.get_by_label("Reason").fill(REASON)
        page.get_by_role("button", name="Suspend").click()
        expect(page.get_by_text(REASON)).to_be_visible()

        def is_refused() -> bool:
            open_session.rset()
            code, reply = open_session.mail(platform.demo["SMTP_USER"])
            return code == 550 and b"organization_suspended" in reply

        wait_for(is_refused, "an open session is refused", 5)
    wait_for(lambda: rest_answer(platform).status_code == 403, "REST refuses", 5)
    assert rest_answer(platform).json()["code"] == "organization_suspended"
    with pytest.raises(smtplib.SMTPException):
        platform.send("new@inbox.test")
    platform.wait_event(waiting, "held")

    page.get_by_role("link", name="Look as it…").click()
    if page.get_by_label("Password").count():  # shown a while ago
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Continue").click()
    page.get_by_label("Reason").fill("They wrote that mail waits.")
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_text("You look as Demo")).to_be_visible()
    expect(page.get_by_text(REASON)).to_be_visible()
    page.goto(f"{platform.web_url}/messages/{waiting}/")
    expect(page.get_by_text("You look as Demo")).to_be_visible()
    expect(page.get_by_text("Held: the organization is suspended")).to_be_visible()
    page.get_by_role("button", name="End the look").click()

    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile("Demo sends again"))).to_be_visible()
    wait_for(lambda: rest_answer(platform).ok, "REST takes mail again", 5)
    after = platform.wait_event(waiting, "released")
    assert after.index("held") < after.index("released")
    platform.wait_event(platform.send("after@inbox.test"), "delivered")
    assert mistakes == []
