"""Two people in two real browsers: an invitation from the mail to the overview, then the organization handed over."""

import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import page  # noqa: F401 - a fixture
from tests.platform import Platform, wait_for
from tests.test_journey import PASSWORD, code_in_mail

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]


def link_in_mail(platform: Platform, address: str) -> str:
    raw = wait_for(lambda: platform.inbox(address), f"the invitation of {address} arrives")[-1][0]
    found = re.search(r"https?://\S+/invitations/[\w-]{43}/", bytes(raw).decode())
    assert found, raw
    return found[0]


def test_invited_joined_and_made_the_owner(platform: Platform, page: Page) -> None:  # noqa: F811
    name = uuid.uuid4().hex[:8]
    owner, guest = f"owner-{name}@people.test", f"guest-{name}@people.test"
    mistakes: list[str] = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.goto(f"{platform.web_url}/accounts/signup/")
    page.get_by_label("Email").fill(owner)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_label("Organization").fill("Givers")
    page.get_by_role("button", name="Create account").click()
    page.get_by_label("Code").fill(code_in_mail(platform, owner))
    page.get_by_role("button", name="Continue").click()

    page.get_by_role("link", name="Members").first.click()
    page.get_by_role("link", name="Invite").click()
    page.get_by_label("E-mail addresses").fill(guest)
    page.get_by_role("radio", name=re.compile("^Developer")).check()
    page.get_by_role("button", name="Send invitations").click()
    expect(page.get_by_text(f"Invited: {guest}")).to_be_visible()

    browser = page.context.browser
    assert browser
    theirs = browser.new_context(viewport={"width": 390, "height": 844}).new_page()  # on the phone
    theirs.set_default_timeout(15_000)
    theirs.goto(link_in_mail(platform, guest))
    theirs.get_by_role("link", name="Create an account").click()
    expect(theirs.get_by_label("Email")).to_have_value(guest)
    expect(theirs.get_by_label("Email")).to_be_disabled()
    theirs.get_by_label("Password").first.fill(PASSWORD)
    theirs.get_by_role("button", name="Create account and join").click()
    expect(theirs).to_have_url(f"{platform.web_url}/overview/")
    theirs.goto(f"{platform.web_url}/settings/audit-log/")
    expect(theirs.get_by_text("Your role does not permit this")).to_be_visible()

    page.reload()
    row = page.get_by_role("listitem").filter(has_text=guest)
    row.get_by_role("link", name="Change role").click()
    page.get_by_role("link", name=f"hand it over to {guest}").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Hand over").click()
    expect(page.get_by_text(f"{guest} is the owner now")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text=guest).get_by_role("link", name="Change role")).to_have_count(0)

    theirs.reload()
    expect(theirs.get_by_role("heading", name="Audit log")).to_be_visible()
    expect(theirs.get_by_text("changed the role of the member").first).to_be_visible()
    assert mistakes == []
