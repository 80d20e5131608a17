"""The frame in a real browser: by keyboard alone, with a reader's choice of colours, and without scripts."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.fixtures import Settings

from plugsend import static_files
from relay.suppressing.suppressions import suppress
from tests.browsing import CHROMIUM
from tests.factories import PASSWORD, Tenant, make_domain, make_message, make_smtp_user, make_tenant
from tests.test_browser_policy import browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no chromium"),
]


@pytest.fixture
def tenant(live_server: Any, settings: Settings) -> Tenant:
    static_files.build_stylesheet()
    settings.STORAGES |= {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    tenant = make_tenant()
    make_smtp_user(make_domain(tenant.organization))
    suppress(tenant.organization, "gone@inbox.test")
    return tenant


def focused(page: Page) -> str:
    return str(
        page.evaluate("document.activeElement.innerText || document.activeElement.getAttribute('aria-label')")
    ).strip()


def test_the_frame_works_by_keyboard_alone(tenant: Tenant, live_server: Any) -> None:
    with browser(tenant.client, url=live_server.url) as [context]:
        page = context.new_page()
        mistakes: list[str] = []
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.goto(live_server.url + "/overview/")

        page.keyboard.press("Tab")
        assert focused(page) == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"

        page.keyboard.press("Control+k")
        expect(page.get_by_role("option").first).to_be_visible()
        page.keyboard.type("suppressions")
        page.keyboard.press("Enter")  # before the answer is there
        expect(page).to_have_url(live_server.url + reverse("suppressions"))

        remove = page.get_by_role("link", name="Remove").first
        remove.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("Send to gone@inbox.test again?")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(remove).to_be_focused()
        page.keyboard.press("Enter")
        dialog.get_by_label("Why").fill("It works again")
        page.keyboard.press("Enter")
        toast = page.locator("[data-toast]")
        expect(toast).to_contain_text("gone@inbox.test")
        page.get_by_role("button", name="Put away").press("Enter")
        expect(toast).to_have_count(0)

        menu = page.locator("#sidebar summary").last
        menu.press("Enter")
        page.keyboard.press("ArrowDown")
        assert focused(page) == "Account"
        page.keyboard.press("Escape")
        expect(menu).to_be_focused()
        expect(page.get_by_role("link", name="Account")).to_be_hidden()

        page.goto(live_server.url + "/overview/")
        chosen = page.get_by_role("tab", selected=True)
        before = chosen.inner_text()
        chosen.press("ArrowRight")
        assert chosen.inner_text() != before
        chosen.press("Home")
        assert chosen.inner_text() == before
        assert mistakes == []


def test_colours_are_chosen_at_once_and_remembered(tenant: Tenant, live_server: Any) -> None:
    with browser(tenant.client, url=live_server.url) as [context]:
        page = context.new_page()
        page.goto(live_server.url + "/overview/")
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = page.evaluate(ground)
        page.locator("#sidebar summary").last.click()
        with page.expect_response(live_server.url + reverse("appearance")):
            page.get_by_role("button", name="Dark").click()
        dark = page.evaluate(ground)
        assert dark != light
        page.goto(live_server.url + "/messages/", wait_until="commit")
        assert page.locator("html").get_attribute("data-theme") == "dark"  # before any script
        page.wait_for_load_state()
        assert page.evaluate(ground) == dark


def test_reading_and_forms_work_without_scripts(tenant: Tenant, live_server: Any) -> None:
    domain = make_domain(tenant.organization, "shop.test")
    make_message(domain, to="ada@inbox.test")
    make_message(domain, to="eve@inbox.test", state="bounced", reason="mailbox_full")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844}).new_page()
        page.goto(live_server.url + "/messages/")
        page.get_by_label("Email").fill(tenant.user.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in", exact=True).click()
        expect(page).to_have_url(live_server.url + "/messages/")
        expect(page.get_by_role("link", name="ada@inbox.test")).to_be_visible()

        page.get_by_label("Search", exact=True).fill("state:bounced")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("link", name="eve@inbox.test")).to_be_visible()
        expect(page.get_by_role("link", name="ada@inbox.test")).to_have_count(0)

        page.get_by_role("link", name="Find anything").click()
        page.get_by_label("Search", exact=True).fill("smtp users")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("main").get_by_role("link", name="SMTP users Sending").click()
        page.get_by_role("link", name="Create SMTP user").click()
        page.get_by_label("User name: what stands before the @").fill("letters")
        page.get_by_role("button", name="Create SMTP user").click()
        expect(page.get_by_text("ps_live_").first).to_be_visible()

        page.get_by_role("button", name="Menu").click()  # a popover
        page.get_by_role("link", name="Suppressions").click()
        page.get_by_role("link", name="Remove").click()  # a page of its own
        page.get_by_label("Why").fill("It works again")
        page.get_by_role("button", name="Remove suppression").click()
        expect(page.get_by_text("gone@inbox.test").first).to_be_visible()  # the message says so
        chromium.close()
