"""A message's page in a real browser while the message is put off and then delivered, and a stranger who watches by a link."""

import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import page  # noqa: F401 - a fixture
from tests.platform import Platform

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]


def test_the_page_follows_a_message_from_deferred_to_delivered(platform: Platform, page: Page) -> None:  # noqa: F811
    mistakes: list[str] = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    page.goto(f"{platform.web_url}/accounts/login/")
    page.get_by_label("Email").fill(platform.demo["LOGIN_EMAIL"])
    page.get_by_label("Password").fill(platform.demo["LOGIN_PASSWORD"])
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page).to_have_url(f"{platform.web_url}/overview/")

    address = f"greylist+{uuid.uuid4().hex[:8]}@example.test"
    message_id = platform.send(address)  # tried again some 6 s later
    platform.wait_event(message_id, "deferred")
    page.goto(f"{platform.web_url}/messages/{message_id}/")
    expect(page.get_by_text("because the receiver asked us to come back later")).to_be_visible()
    page.get_by_text("SMTP transcript").click()
    refusal = page.get_by_text("451 4.7.1 Greylisted, try again").last
    expect(refusal).to_be_visible()
    page.evaluate("() => { window.isTheSamePage = true }")
    before = refusal.bounding_box()

    browser = page.context.browser
    assert browser
    sharing = browser.new_context(storage_state=page.context.storage_state()).new_page()
    sharing.goto(f"{platform.web_url}/messages/{message_id}/share/")
    sharing.get_by_label("1 hour").check()
    sharing.get_by_role("button", name="Make a link").click()
    stranger = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    stranger.goto(sharing.locator("#link").inner_text())
    expect(stranger.get_by_text("Greylisted, try again").first).to_be_visible()

    expect(page.get_by_text("250 2.0.0 Ok: queued").first).to_be_visible(timeout=20_000)
    expect(refusal).to_be_visible()  # what was open is open
    after = refusal.bounding_box()
    assert before
    assert after
    # What is told above it is another thing now; what is being read is where it was on the screen.
    assert page.evaluate("() => window.isTheSamePage")
    expect(page.get_by_text("because the receiver asked us")).to_have_count(0)
    assert abs(after["y"] - before["y"]) < 2

    expect(stranger.get_by_text("250 2.0.0 Ok: queued").first).to_be_visible(timeout=20_000)
    sharing.get_by_role("button", name="Revoke").click()
    expect(sharing.get_by_text("does not work any more")).to_be_visible()
    stranger.reload()
    expect(stranger.get_by_role("heading", name="This link does not work")).to_be_visible()
    assert mistakes == []
