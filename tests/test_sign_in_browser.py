"""Passkeys, authenticator apps and recovery codes in a real browser with a virtual authenticator (WebAuthn, 11)."""

import re
import uuid

import pytest
from allauth.mfa.totp.internal import auth as totp
from playwright.sync_api import Page, expect

from tests.browsing import page  # noqa: F401 - the fixture
from tests.platform import Platform
from tests.test_journey import PASSWORD, code_in_mail

pytestmark = [pytest.mark.xdist_group("platform"), pytest.mark.browser]

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def visitor(page: Page) -> Page:  # noqa: F811
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return page


def log_out(page: Page, platform: Platform) -> None:  # noqa: F811
    page.goto(f"{platform.web_url}/overview/")
    page.locator("#sidebar summary").last.click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Sign up").first).to_be_visible()
    page.goto(f"{platform.web_url}/accounts/login/")


def test_signing_in_by_passkey_then_by_app_then_by_recovery_code(platform: Platform, visitor: Page) -> None:
    address = f"signer-{uuid.uuid4().hex[:8]}@people.test"
    overview = f"{platform.web_url}/overview/"
    mistakes: list[str] = []
    visitor.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    visitor.on("pageerror", lambda error: mistakes.append(str(error)))

    visitor.goto(f"{platform.web_url}/accounts/signup/")
    visitor.get_by_label("Email").fill(address)
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_label("Organization").fill("Signers")
    visitor.get_by_role("button", name="Create account").click()
    visitor.get_by_label("Code").fill(code_in_mail(platform, address))
    visitor.get_by_role("button", name="Continue").click()
    expect(visitor).to_have_url(overview)

    visitor.goto(f"{platform.web_url}/accounts/2fa/")
    visitor.get_by_role("link", name="Add a passkey").click()
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.get_by_role("button", name="Continue").click()
    visitor.get_by_role("button", name="Add it").click()
    recovery_codes = re.findall(r"\d{8}", visitor.locator("pre").inner_text())
    assert len(recovery_codes) == 10

    log_out(visitor, platform)
    visitor.get_by_role("button", name="Log in with a passkey").click()
    expect(visitor).to_have_url(overview)

    visitor.goto(f"{platform.web_url}/accounts/2fa/totp/activate/")
    secret = visitor.locator("code").inner_text()
    counter = next(iter(totp.yield_hotp_counters_from_time()))
    first, second = (totp.format_hotp_value(totp.hotp_value(secret, counter + late)) for late in (0, 1))
    visitor.get_by_label("Authenticator code").fill(first)
    visitor.get_by_role("button", name="Switch it on").click()
    expect(visitor.get_by_text("Your authenticator app is set up.")).to_be_visible()

    for code in (second, recovery_codes[4]):
        log_out(visitor, platform)
        visitor.get_by_label("Email").fill(address)
        visitor.get_by_label("Password").fill(PASSWORD)
        visitor.get_by_role("button", name="Log in", exact=True).click()
        visitor.get_by_label("Code").fill(code)
        visitor.get_by_role("button", name="Log in").click()
        expect(visitor).to_have_url(overview)
    assert mistakes == []


def test_signing_up_by_passkey_alone(platform: Platform, visitor: Page) -> None:
    address = f"keys-{uuid.uuid4().hex[:8]}@people.test"

    visitor.goto(f"{platform.web_url}/accounts/signup/")
    visitor.get_by_role("link", name="Sign up with a passkey").click()
    visitor.get_by_label("Email").fill(address)
    visitor.get_by_label("Organization").fill("Keys")
    visitor.get_by_role("button", name="Continue").click()
    visitor.get_by_label("Code").fill(code_in_mail(platform, address))
    visitor.get_by_role("button", name="Continue").click()
    visitor.get_by_role("button", name="Make a passkey").click()
    expect(visitor.get_by_text("You have no recovery codes.")).to_be_visible()

    log_out(visitor, platform)
    visitor.get_by_role("button", name="Log in with a passkey").click()
    expect(visitor).to_have_url(f"{platform.web_url}/overview/")
