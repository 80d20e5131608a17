"""Every page in a real browser: axe-core finds nothing serious in either colour scheme nor on a phone, nothing jumps while it
is painted, nothing comes from elsewhere, and it weighs little."""

from __future__ import annotations

import gzip
import os
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.test import Client
from playwright.sync_api import Page, Request, Response
from pytest_django.fixtures import Settings

from accounts.models import User
from plugsend import api_docs, static_files
from tests.browsing import CHROMIUM
from tests.every_page import operators_pages, pages_of, paths_of
from tests.full_tenant import make_full_tenant
from tests.test_browser_policy import browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no chromium"),
    pytest.mark.timeout(600),
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HEAVIEST = 150_000  # octets of a page with its stylesheet and scripts, compressed
MOST_SHIFT = 0.05  # Cumulative Layout Shift, of which browsers' makers call 0.1 good
WATCH_SHIFTS = """globalThis.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(one => {
    if (!one.hadRecentInput) globalThis.shift += one.value; })).observe({type: "layout-shift", buffered: true})"""
# On a phone: what depends on the width.
EVERYTHING, CONTRAST, OF_A_PHONE = (
    None,
    ["color-contrast"],
    ["scrollable-region-focusable", "button-name", "link-name", "label"],
)
RUN_AXE = """async ([frame, rules]) => (await axe.run(frame ? document : {exclude: ["#sidebar", "#palette", "#nav-sidebar"]}, {
    resultTypes: ["violations"], ...(rules && {runOnly: rules})}))
    .violations.filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => `${one.id}: ` + one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | "))"""


def test_every_page_can_be_used_by_everybody(live_server: Any, settings: Settings) -> None:
    static_files.build_stylesheet()
    # As found, not as collected by a test before.
    settings.STORAGES |= {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    api_docs._reference.cache_clear()  # it names them
    tenant = make_full_tenant("crawled")
    owner, stranger, newcomer, operator = tenant.client("owner"), Client(), Client(), _operator()
    newcomer.force_login(User.objects.create_user("newcomer@people.test"))
    paths = paths_of(tenant)
    signed_in = pages_of(owner, paths)
    visits = [
        signed_in,
        pages_of(stranger, [path for path in paths if path not in signed_in] + ["/", "/accounts/login/", "/errors/"]),
        ["/organizations/new/"],
        ["/components/"],
    ]
    assert len(signed_in) > 60
    assert len(visits[1]) > 5

    faults = _walk(live_server.url, dict(zip((owner, stranger, newcomer, operator), visits, strict=True)))
    assert not faults, "\n".join(faults)


def test_every_page_of_the_admin_can_be_used_by_every_operator(live_server: Any, settings: Settings) -> None:
    static_files.build_stylesheet()
    settings.STORAGES |= {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    make_full_tenant("crawled")
    operator = _operator()
    pages = operators_pages(operator)
    assert len(pages) > 80
    histories = [path for path in pages if path.endswith("/history/")][1:]  # one is like the other

    faults = _walk(live_server.url, {operator: [path for path in pages if path not in histories]})
    assert not faults, "\n".join(faults)


def _operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", "x"))
    return client


def _walk(url: str, visits: dict[Client, list[str]]) -> list[str]:
    faults: list[str] = []
    with browser(*visits, url=url) as contexts:
        for context, pages in zip(contexts, visits.values(), strict=True):
            context.add_init_script(WATCH_SHIFTS)
            context.add_init_script(AXE_SCRIPT)
            page = context.new_page()
            asked: list[Request] = []
            page.on("request", lambda request, asked=asked: asked.append(request))
            for path in pages:
                asked.clear()
                page.set_viewport_size(DESKTOP)
                page.emulate_media(color_scheme="light", reduced_motion="reduce")  # or colours would be on their way
                answer = page.goto(url + path)
                assert answer is not None
                faults += [f"{path}: {fault}" for fault in _faults(page, answer, asked, url, is_first=path == pages[0])]
    return faults


def _faults(page: Page, answer: Response, asked: list[Request], ours: str, *, is_first: bool) -> list[str]:
    """`is_first`: the frame, too, which is the same around all that follow."""
    faults = [f"asks elsewhere: {one.url}" for one in asked if not one.url.startswith((ours, "data:", "blob:"))]
    if "sandbox" in answer.headers.get("content-security-policy", ""):
        return faults  # a preview of a mail, which is its sender's, and in which no script runs
    if page.evaluate("document.documentElement.tagName") != "HTML" or not page.evaluate("document.title"):
        return faults  # the mail itself
    assert page.evaluate("getComputedStyle(document.body).fontSize") in {"15px", "14px"}  # there is a stylesheet
    faults += [f"light: {fault}" for fault in page.evaluate(RUN_AXE, [is_first, EVERYTHING])]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        faults.append("is wider than the screen")
    shift = page.evaluate("shift")
    if shift > MOST_SHIFT:
        faults.append(f"jumps by {shift:.3f}")
    weight = answer.request.sizes()["responseBodySize"] + _weight_of_files(page)
    if weight > HEAVIEST:
        faults.append(f"weighs {weight:,}")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it is painted so
    faults += [f"dark: {fault}" for fault in page.evaluate(RUN_AXE, [is_first, CONTRAST])]
    page.set_viewport_size(PHONE)
    faults += [f"phone: {fault}" for fault in page.evaluate(RUN_AXE, [is_first, OF_A_PHONE])]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        faults.append("phone: is wider than the screen")
    return faults


_WEIGHTS: dict[str, int] = {}


def _weight_of_files(page: Page) -> int:
    """Of the stylesheet and the scripts, as they are sent where they have been collected."""
    urls = page.evaluate(
        "[...document.querySelectorAll('link[rel=stylesheet], script[src]')].map(e => e.href || e.src)"
    )
    for url in set(urls) - _WEIGHTS.keys():
        _WEIGHTS[url] = len(gzip.compress(page.request.get(url).body()))
    return sum(_WEIGHTS[url] for url in urls)
