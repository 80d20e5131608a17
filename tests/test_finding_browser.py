"""The message list in a real browser: search, filters, and an export that shows how far it is."""

from __future__ import annotations

import csv
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import page
from tests.platform import Platform

__all__ = ["page"]
pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]


def test_mail_is_found_narrowed_saved_and_exported(platform: Platform, page: Page) -> None:
    mark = uuid4().hex[:8]
    for name in ("ada", "eve"):
        platform.wait_event(platform.send(f"{name}@{mark}.test"), "delivered")
    platform.wait_event(platform.send(f"bounce@{mark}.test"), "bounced")
    mistakes: list[str] = []
    page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: mistakes.append(str(error)))

    page.goto(f"{platform.web_url}/accounts/login/")
    page.get_by_label("Email").fill(platform.demo["LOGIN_EMAIL"])
    page.get_by_label("Password").fill(platform.demo["LOGIN_PASSWORD"])
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("link", name="Messages").first.click()

    page.get_by_label("Search", exact=True).fill(f"@{mark}.test last:1h")
    page.get_by_role("button", name="Search").click()
    rows = page.locator("#rows tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_text("All filters").click()
    page.get_by_label("State").select_option("bounced")
    page.get_by_role("button", name="Apply").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(f"bounce@{mark}.test")

    page.get_by_text("Save this filter").click()
    page.get_by_label("Name of the filter").fill(f"Lost {mark}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name=f"Lost {mark}")).to_have_attribute("aria-current", "page")
    page.get_by_label("Remove the filter State: bounced").click()
    expect(rows).to_have_count(3)

    page.get_by_text("Export", exact=True).click()
    page.get_by_role("button", name="CSV").click()
    # The page follows by itself: no reload here.
    button = page.get_by_role("button", name="Download").first
    expect(button).to_be_visible()
    expect(page.get_by_text("3 messages, 3 recipients").first).to_be_visible()
    with page.expect_download() as downloading:
        button.click()
    with open(downloading.value.path(), newline="") as file:
        found = {row["recipient"]: row["state"] for row in csv.DictReader(file)}
    assert found == {f"ada@{mark}.test": "delivered", f"eve@{mark}.test": "delivered", f"bounce@{mark}.test": "bounced"}
    assert mistakes == []
