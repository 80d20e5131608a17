"""The journey in a real browser (Debian's chromium), as a newcomer clicks it."""

import os
import shutil
import uuid
import warnings
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.platform import Platform
from tests.test_journey import PASSWORD, code_in_mail

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]


@pytest.fixture
def page() -> Iterator[Page]:
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium for the browser test")
        warnings.warn(
            "THE BROWSER TEST DID NOT RUN: no chromium is installed (Debian: apt install chromium)", stacklevel=1
        )
        pytest.skip("no chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        opened = browser.new_page()
        opened.set_default_timeout(15_000)
        yield opened
        browser.close()


def test_a_newcomer_clicks_from_sign_up_to_delivered(platform: Platform, page: Page) -> None:
    name = f"clicker-{uuid.uuid4().hex[:8]}"
    mistakes: list[str] = []
    page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: mistakes.append(str(error)))

    page.goto(platform.web_url)
    page.get_by_role("link", name="Sign up").first.click()
    page.get_by_label("Email").fill(f"{name}@people.test")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_label("Organization").fill("Clickers")
    page.get_by_role("button", name="Create account").click()
    page.get_by_label("Code").fill(code_in_mail(platform, f"{name}@people.test"))
    page.get_by_role("button", name="Continue").click()

    expect(page).to_have_url(f"{platform.web_url}/overview/")
    page.get_by_label("Domain").fill(f"{name}.test")
    page.get_by_role("button", name="Add domain").click()

    # With the mistake that most people make; the page says so, and sees by itself that it is mended.
    page.get_by_label("How they are published").select_option("doubled_name")
    page.get_by_role("button", name="Publish these records").click()
    expect(page.get_by_text("adds the domain to the name by itself").first).to_be_visible()
    with platform.database() as database:
        database.execute(
            "UPDATE sandbox_zonerecord SET name = replace(name, %s, %s)", [f"{name}.test.{name}.test", f"{name}.test"]
        )
    expect(page.get_by_text("Verified", exact=True)).to_be_visible(timeout=20_000)

    page.get_by_role("button", name="Take them away again").click()
    page.get_by_role("link", name="Set up at Sandbox DNS in one click").click()
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("Sandbox DNS has added the records")).to_be_visible()
    expect(page.get_by_text("Verified", exact=True)).to_be_visible()

    page.get_by_role("link", name="Create SMTP user").first.click()
    page.get_by_role("button", name="Create SMTP user").click()
    secret = page.get_by_text("ps_live_").first.inner_text()

    with platform.smtp(f"admin@{name}.test", secret.strip()) as client:
        client.sendmail(f"admin@{name}.test", f"ada@{name}.inbox.test",
                        f"From: admin@{name}.test\nSubject: Clicked\n\nHello\n")  # fmt: skip

    page.get_by_role("link", name="Messages").first.click()
    page.get_by_role("link", name=f"ada@{name}.inbox.test").first.click()
    # The page follows by itself: no reload here.
    expect(page.get_by_text("Delivered").first).to_be_visible()
    expect(page.get_by_text("250 2.0.0 Ok").first).to_be_visible()
    assert mistakes == []
