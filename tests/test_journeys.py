"""What people come for, from end to end in a real browser, on a running PlugSend with its sandbox.

Each begins where its person does and ends where they are content. Invitations and roles: tests/test_members_browser.py;
passkeys and second factors: tests/test_sign_in_browser.py.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from email import message_from_bytes, policy
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.browsing import ARGUMENTS, chromium
from tests.platform import Platform, wait_for
from tests.test_journey import PASSWORD
from tests.webhook_receiver import Receiver, receiver

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]

PATIENCE_MS = 25_000  # on a machine that does other things, too


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Of a stranger; the test fails for what the page's scripts trip over."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    opened = context.new_page()
    mistakes: list[str] = []
    opened.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: mistakes.append(str(error)))
    yield opened
    context.close()
    assert mistakes == []


@pytest.fixture
def demo(page: Page, platform: Platform) -> Page:
    """Signed in as the owner of the demo organization."""
    page.goto(f"{platform.web_url}/accounts/login/")
    page.get_by_label("Email").fill(platform.demo["LOGIN_EMAIL"])
    page.get_by_label("Password").fill(platform.demo["LOGIN_PASSWORD"])
    page.get_by_label("Password").press("Enter")
    expect(page).to_have_url(f"{platform.web_url}/overview/")
    return page


@pytest.fixture
def name() -> str:
    return f"j{uuid.uuid4().hex[:8]}"


def open_by_menu(page: Page, title: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=title, exact=True).first.click()


def seen_after_reload(page: Page, locator: Locator, what: str) -> None:
    """On pages that do not follow by themselves; the page must be there, not on its way."""

    def look() -> bool:
        page.reload()
        return locator.count() > 0

    wait_for(look, what, PATIENCE_MS / 1000)


# ---- From nothing to the first message that is delivered


def code_in_inbox(page: Page, address: str) -> str:
    """Read where a newcomer reads it: on the page of the sandbox's inbox, in another tab."""
    tab = page.context.new_page()
    tab.goto(re.sub(r"(https?://[^/]+)/.*", r"\1/sandbox/inbox/?to=" + address, page.url))
    seen_after_reload(
        tab, tab.get_by_role("main").get_by_role("link").filter(has_text=re.compile("code", re.I)), "the code"
    )
    tab.get_by_role("main").get_by_role("link").filter(has_text=re.compile("code", re.I)).first.click()
    tab.get_by_role("tab", name="Text").click()
    found = re.search(
        r"^\s*([A-Z0-9]{3,}-?[A-Z0-9]{2,})\s*$", tab.get_by_role("tabpanel", name="Text").inner_text(), re.M
    )
    assert found
    tab.close()
    return found[1]


def test_a_newcomer_comes_to_the_first_delivered_message(platform: Platform, page: Page, name: str) -> None:
    page.goto(platform.web_url)
    page.get_by_role("link", name="Sign up").first.click()
    page.get_by_label("Email").fill(f"{name}@people.test")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_label("Organization").fill("Newcomers")
    page.get_by_role("button", name="Create account").click()
    page.get_by_label("Code").fill(code_in_inbox(page, f"{name}@people.test"))
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(f"{platform.web_url}/overview/")

    open_by_menu(page, "Domains")
    page.get_by_role("link", name=re.compile("^Add")).first.click()
    page.get_by_label("Domain").fill(f"{name}.test")
    page.get_by_role("button", name="Add domain").click()
    page.get_by_role("button", name="Publish these records").click()
    expect(page.get_by_text("Verified", exact=True)).to_be_visible()

    page.get_by_role("link", name="Create SMTP user").first.click()
    page.get_by_role("button", name="Create SMTP user").click()
    secret = page.get_by_text("ps_live_").first.inner_text().strip()
    with platform.smtp(f"admin@{name}.test", secret) as client:
        client.sendmail(f"admin@{name}.test", f"ada@{name}.inbox.test",
                        f"From: admin@{name}.test\nSubject: First\n\nHello\n")  # fmt: skip

    open_by_menu(page, "Messages")
    page.get_by_role("link", name=f"ada@{name}.inbox.test").first.click()
    # The page follows by itself: no reload here.
    expect(page.get_by_text("Delivered").first).to_be_visible()
    expect(page.get_by_text("250 2.0.0 Ok").first).to_be_visible()


# ---- Mistakes with DNS

MISTAKES = {  # the last one is mended
    "key_cut_off": "Only the first string of the record arrived",
    "proxied": "switch off its proxy",
    "doubled_name": "adds the domain to the name by itself",
}


def test_mistakes_with_dns_are_told_and_mended(platform: Platform, demo: Page, name: str) -> None:
    demo.goto(f"{platform.web_url}/domains/add/")
    demo.get_by_label("Domain").fill(f"{name}.test")
    demo.get_by_role("button", name="Add domain").click()
    expect(demo.get_by_role("heading", name=f"{name}.test")).to_be_visible()

    for mistake, words in MISTAKES.items():
        demo.get_by_label("How they are published").select_option(mistake)
        demo.get_by_role("button", name="Publish these records").click()
        expect(demo.get_by_role("paragraph").filter(has_text=words).first).to_be_visible()

    # Mended at the DNS host, without a visit to our page: it sees that by itself.
    with platform.database() as database:
        database.execute(
            "UPDATE sandbox_zonerecord SET name = replace(name, %s, %s)", [f"{name}.test.{name}.test", f"{name}.test"]
        )
    expect(demo.get_by_text("Verified", exact=True)).to_be_visible()

    demo.get_by_role("button", name="Take them away again").click()
    demo.get_by_role("link", name="Set up at Sandbox DNS in one click").click()
    demo.get_by_role("button", name="Connect").click()
    expect(demo.get_by_text("Sandbox DNS has added the records")).to_be_visible()
    expect(demo.get_by_text("Verified", exact=True)).to_be_visible()


# ---- A template


def test_a_template_is_written_seen_published_and_arrives(platform: Platform, demo: Page, name: str) -> None:
    open_by_menu(demo, "Templates")
    demo.get_by_role("link", name="New template").first.click()
    demo.get_by_role("radio", name=re.compile("^Receipt")).check()
    demo.get_by_label("Name").fill(name)
    demo.get_by_role("button", name="Create template").click()
    preview = demo.frame_locator(".preview-frame:not(.is-coming)")
    expect(preview.get_by_role("heading", name="Thank you, Ada")).to_be_visible()

    # What is written is seen, mistakes with their line; nothing is saved by that.
    source = demo.get_by_role("textbox", name="HTML", exact=True)
    written = source.input_value()
    source.fill(written.replace("Thank you, {{ name }}", "{{#if vip}}Thank you"))
    expect(demo.get_by_text("conditions are written {% if name %}")).to_be_visible()
    demo.get_by_role("button", name=re.compile(r"^HTML, line \d+$")).click()
    assert "{{#if vip}}" in source.evaluate("one => one.value.slice(one.selectionStart, one.selectionEnd)")
    source.fill(written.replace("Thank you, {{ name }}", "{{ greeting }}, {{ name }}"))
    expect(preview.get_by_role("heading", name="[greeting], Ada")).to_be_visible()
    demo.get_by_label("Type of greeting").select_option("string")
    demo.get_by_label("Test value of greeting").fill("Good day")
    expect(preview.get_by_role("heading", name="Good day, Ada")).to_be_visible()
    demo.get_by_role("button", name="Dark").click()
    expect(preview.locator("body")).to_have_css("background-color", "rgb(14, 14, 14)")
    demo.get_by_role("button", name="Text", exact=True).click()
    expect(demo.locator(".preview-text")).to_contain_text("We have received your payment for order A-1042.")
    demo.get_by_label("Alias").fill(name)
    demo.get_by_role("button", name="Save and publish").click()
    expect(demo.get_by_text("Version 1 is published")).to_be_visible()

    demo.get_by_role("link", name="Send a test").first.click()
    demo.get_by_role("button", name="Send the test").click()
    expect(demo.get_by_text("is on its way to")).to_be_visible()
    expect(demo.get_by_text("Delivered").first).to_be_visible()
    message_id = demo.url.rstrip("/").rsplit("/", 1)[-1]
    mails = [message_from_bytes(raw, policy=policy.default) for raw, *_ in platform.inbox(platform.demo["LOGIN_EMAIL"])]
    [mail] = [mail for mail in mails if message_id in str(mail["Message-ID"])]
    body = mail.get_body(("html",))
    assert body is not None
    assert "Good day, Ada" in body.get_content()
    assert mail["Subject"] == "Your receipt from Acme, order A-1042"

    with platform.database() as database:
        acts = database.execute("SELECT action FROM accounts_auditentry WHERE object_name = %s ORDER BY id", [name])
        noted = [row[0] for row in acts]
    assert noted == ["template.created", "template.changed", "template.published", "template.tested"]


# ---- A webhook


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as here:
        yield here


def test_a_webhook_fails_and_what_it_missed_is_sent_again(
    platform: Platform, demo: Page, name: str, hooks: Receiver
) -> None:
    open_by_menu(demo, "Webhooks")
    demo.get_by_role("link", name="Add endpoint").first.click()
    demo.get_by_label("Address", exact=True).fill(hooks.url("/ok"))
    demo.get_by_role("button", name="Add endpoint").click()
    demo.get_by_role("button", name="Send a test").click()
    expect(demo.get_by_text("A test is on its way")).to_be_visible()
    expect(demo.get_by_text(re.compile("^200 ·")).first).to_be_visible()
    assert any(one.path == "/ok" for one in hooks.received)

    hooks.answers["/ok"] = hooks.answers["/error"]
    demo.get_by_role("link", name=hooks.url("/ok")).click()
    expect(demo.get_by_role("heading", name="Deliveries")).to_be_visible()
    message_id = platform.send(f"{name}@example.test")
    platform.wait_event(message_id, "delivered")
    expect(demo.get_by_text("Failing since")).to_be_visible()
    demo.get_by_role("link", name="email.sent").first.click()  # the first event of a message, for which the others wait
    expect(demo.get_by_role("heading", name="email.sent")).to_be_visible()
    expect(demo.get_by_text(re.compile("^500 ·")).first).to_be_visible()

    hooks.answers["/ok"] = hooks.answers["/no-content"]
    before = len(hooks.received)
    demo.get_by_role("button", name="Send again").click()
    expect(demo.get_by_text("It is sent again")).to_be_visible()
    expect(demo.get_by_text(re.compile("^204 ·")).first).to_be_visible()
    assert any(
        message_id.hex in one.body.decode() or str(message_id) in one.body.decode() for one in hooks.received[before:]
    )
    demo.get_by_role("link", name=hooks.url("/ok")).click()
    demo.get_by_role("link", name="Remove").click()
    demo.get_by_role("button", name="Remove").click()
    expect(demo.get_by_text("is removed")).to_be_visible()


# ---- A suppression


def sent_to(platform: Platform, address: str) -> UUID:
    """The id in the final 250, which also tells that mail to the address is suppressed."""
    with platform.smtp() as client:
        client.mail(platform.demo["SMTP_USER"])
        client.rcpt(address)
        code, reply = client.data(f"From: {platform.demo['SMTP_USER']}\r\nSubject: Hello\r\n\r\nHello\r\n".encode())
    found = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", reply.decode())
    assert code == 250
    assert found, reply
    return UUID(found[0])


def test_an_address_that_bounced_is_suppressed_and_let_in_again(platform: Platform, demo: Page, name: str) -> None:
    address = f"bounce+{name}@example.test"
    platform.wait_event(sent_to(platform, address), "bounced")
    refused = sent_to(platform, address)
    assert platform.types(refused) == ["submitted", "suppressed"]
    demo.goto(f"{platform.web_url}/messages/{refused}/")
    expect(demo.get_by_text("Suppressed").first).to_be_visible()

    open_by_menu(demo, "Suppressions")
    demo.get_by_label("Address").fill(name)
    demo.get_by_role("button", name="Search").click()
    demo.get_by_role("link", name=f"Remove {address}").click()
    demo.get_by_label("Why").fill("The mailbox is there again")
    demo.get_by_role("button", name=re.compile("again|Remove")).click()
    expect(demo.get_by_text(f"{address} is not suppressed any more")).to_be_visible()

    tried = sent_to(platform, address)
    demo.goto(f"{platform.web_url}/messages/{tried}/")
    expect(demo.get_by_text("550 5.1.1 No such mailbox here").first).to_be_visible()  # asked, not left out
    assert "suppressed" not in platform.types(tried)
