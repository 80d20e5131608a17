"""Every page in a real browser, opened once, while many look on: axe-core finds nothing serious in either colour scheme nor on
a phone, nothing jumps while it is painted or comes from elsewhere, it weighs little, and it keeps to its own policy.

Each that looks on is an observer below: a function that yields the faults of a page. Each has a test, which lists them.
"""

from __future__ import annotations

import gzip
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings
from django.test import Client, override_settings
from playwright.sync_api import ConsoleMessage, Page, Response, ViewportSize
from pytest_django.live_server_helper import LiveServer
from pytest_django.plugin import DjangoDbBlocker

from accounts.models import User
from plugsend import api_docs, static_files
from tests.browsing import CHROMIUM
from tests.conftest import empty_what_has_rows
from tests.every_page import operators_pages, pages_of, paths_of
from tests.full_tenant import make_full_tenant
from tests.test_browser_policy import TELL_OF_VIOLATIONS, VIOLATION, browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db,
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no chromium"),
    pytest.mark.timeout(600),
]
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
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


@dataclass
class Opened:
    """A page, as it was opened. `is_first`: its frame is looked at too, which is the same around all that follow."""

    page: Page
    answer: Response
    url: str  # that was asked for
    ours: str  # where the server is
    is_first: bool
    asked: list[str]  # URLs of requests
    told: list[str]  # on the console, and errors of scripts

    def serious(self, rules: list[str] | None) -> list[str]:
        return list(self.page.evaluate(RUN_AXE, [self.is_first, rules]))

    @property
    def is_page(self) -> bool:
        """Not the mail itself, nor its preview, which is its sender's and in which no script runs."""
        if "sandbox" in self.answer.headers.get("content-security-policy", ""):
            return False
        return bool(self.page.evaluate("document.documentElement.tagName == 'HTML' && document.title"))


@dataclass
class Visit:
    """Pages opened by somebody."""

    client: Client
    paths: list[str]


# ---- Observers -------------------------------------------------------------------------------------------------------

Observer = Callable[[Opened], Iterator[str]]


def asks_elsewhere(opened: Opened) -> Iterator[str]:
    yield from (url for url in opened.asked if not url.startswith((opened.ours, "data:", "blob:")))


def breaks_its_policy(opened: Opened) -> Iterator[str]:
    """Or a script of it fails."""
    yield from opened.told


def signs_its_reader_out(opened: Opened) -> Iterator[str]:
    if "/login/" in opened.page.url and "/login/" not in opened.url:
        yield f"leads to {opened.page.url}"


def cannot_be_used_by_everybody(opened: Opened) -> Iterator[str]:
    assert opened.page.evaluate("getComputedStyle(document.body).fontSize") in {"15px", "14px"}  # there is a stylesheet
    yield from opened.serious(EVERYTHING)
    if opened.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        yield "is wider than the screen"


def jumps(opened: Opened) -> Iterator[str]:
    shift = opened.page.evaluate("shift")
    if shift > MOST_SHIFT:
        yield f"by {shift:.3f}"


def is_heavy(opened: Opened) -> Iterator[str]:
    weight = opened.answer.request.sizes()["responseBodySize"] + _weight_of_files(opened.page)
    if weight > HEAVIEST:
        yield f"{weight:,} octets"


def cannot_be_read_in_the_dark(opened: Opened) -> Iterator[str]:
    opened.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    opened.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # painted so
    yield from opened.serious(CONTRAST)


def cannot_be_used_on_a_phone(opened: Opened) -> Iterator[str]:
    opened.page.set_viewport_size(PHONE)
    yield from opened.serious(OF_A_PHONE)
    if opened.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        yield "is wider than the screen"


OF_ALL: list[Observer] = [asks_elsewhere, breaks_its_policy, signs_its_reader_out]
# They change how the page looks, each more than the one before.
OF_PAGES: list[Observer] = [
    cannot_be_used_by_everybody, jumps, is_heavy, cannot_be_read_in_the_dark, cannot_be_used_on_a_phone,
]  # fmt: skip

_WEIGHTS: dict[str, int] = {}


def _weight_of_files(page: Page) -> int:
    """Of the stylesheet and the scripts, as they are sent where they have been collected."""
    urls = page.evaluate(
        "[...document.querySelectorAll('link[rel=stylesheet], script[src]')].map(e => e.href || e.src)"
    )
    for url in set(urls) - _WEIGHTS.keys():
        _WEIGHTS[url] = len(gzip.compress(page.request.get(url).body()))
    return sum(_WEIGHTS[url] for url in urls)


# ---- The walk --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faults(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[Observer, list[str]]:
    """What each observer found."""
    static_files.build_stylesheet()
    # As found, not as collected by a test before.
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with django_db_blocker.unblock(), override_settings(STORAGES=settings.STORAGES | plain):
        api_docs._reference.cache_clear()  # it names them
        server = LiveServer("localhost")
        try:
            return walk(visits(), server.url)
        finally:
            server.stop()
            empty_what_has_rows()


def visits() -> list[Visit]:
    tenant = make_full_tenant("crawled")
    owner, stranger, newcomer, operator = tenant.client("owner"), Client(), Client(), Client()
    newcomer.force_login(User.objects.create_user("newcomer@people.test"))
    operator.force_login(User.objects.create_superuser("operator@people.test", "x"))
    paths = paths_of(tenant)
    signed_in = pages_of(owner, paths)
    strangers = pages_of(
        stranger, [path for path in paths if path not in signed_in] + ["/", "/accounts/login/", "/errors/"]
    )
    operators = operators_pages(operator)
    assert len(signed_in) > 60
    assert len(strangers) > 5
    assert len(operators) > 80
    histories = [path for path in operators if path.endswith("/history/")][1:]  # one is like the other
    return [
        Visit(owner, signed_in),
        Visit(stranger, strangers),
        Visit(newcomer, ["/organizations/new/"]),
        Visit(operator, ["/components/"]),
        Visit(operator, [path for path in operators if path not in histories]),
        Visit(stranger, ["/admin/login/"]),
    ]


def walk(made: list[Visit], ours: str) -> dict[Observer, list[str]]:
    found = defaultdict[Observer, list[str]](list)
    with browser(*(visit.client for visit in made), url=ours) as contexts:
        for context, visit in zip(contexts, made, strict=True):
            for script in (TELL_OF_VIOLATIONS, WATCH_SHIFTS, AXE_SCRIPT):
                context.add_init_script(script)
            for path, opened in opened_pages(context.new_page(), visit.paths, ours):
                # First those that change how it looks: what is asked and told meanwhile counts, too.
                for observer in [*(OF_PAGES if opened.is_page else []), *OF_ALL]:
                    found[observer] += [f"{path}: {fault}" for fault in observer(opened)]
    return found


def opened_pages(page: Page, paths: list[str], ours: str) -> Iterator[tuple[str, Opened]]:
    asked: list[str] = []
    told: list[str] = []

    def listen(line: ConsoleMessage) -> None:
        if VIOLATION.search(line.text):
            told.append(line.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    for path in paths:
        asked.clear()
        told.clear()
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")  # or colours would be on their way
        answer = page.goto(ours + path)
        assert answer is not None
        yield path, Opened(page, answer, ours + path, ours, path == paths[0], asked, told)


@pytest.mark.parametrize("observer", [*OF_ALL, *OF_PAGES], ids=lambda observer: observer.__name__)
def test_no_page(observer: Observer, faults: dict[Observer, list[str]]) -> None:
    assert not faults[observer], "\n".join(faults[observer])
