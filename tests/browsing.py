"""A real browser (Debian's chromium) for tests."""

import os
import shutil
import warnings
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip


def chromium() -> str:
    """Its path; skips or fails the test where there is none."""
    if CHROMIUM:
        return CHROMIUM
    if os.environ.get("CI"):
        pytest.fail("CI needs chromium for the browser tests")
    warnings.warn(
        "THE BROWSER TESTS DID NOT RUN: no chromium is installed (Debian: apt install chromium)", stacklevel=1
    )
    pytest.skip("no chromium")


@pytest.fixture
def page() -> Iterator[Page]:
    executable = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        opened = browser.new_page()
        opened.set_default_timeout(15_000)
        yield opened
        browser.close()
