"""In a real browser: no mail's HTML does anything but show. (That no page breaks its own policy: tests/test_accessible.py.)"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import BrowserContext, sync_playwright
from pytest_django.fixtures import Settings

from relay.reading.preview import safe_html
from tests.browsing import CHROMIUM
from tests.factories import Tenant, make_domain, make_message, make_tenant

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no chromium"),
]
TELL_OF_VIOLATIONS = """addEventListener("securitypolicyviolation", e =>
    console.error("VIOLATION", e.effectiveDirective, e.blockedURI, e.sourceFile, e.lineNumber))"""
VIOLATION = re.compile(r"VIOLATION|Content Security Policy|Permissions-Policy|Refused to|Cross-Origin-Opener")


@contextmanager
def browser(*clients: Client, url: str) -> Iterator[list[BrowserContext]]:
    """A context signed in as each of them. No row may be touched inside: playwright's loop runs in this thread."""
    name = django_settings.SESSION_COOKIE_NAME
    cookies = [client.cookies[name].value if name in client.cookies else "" for client in clients]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        contexts = []
        for cookie in cookies:
            context = chromium.new_context(service_workers="block")
            if cookie:
                context.add_cookies([{"name": name, "value": cookie, "url": url, "httpOnly": True}])
            contexts.append(context)
        yield contexts
        chromium.close()


# What a mail might try. All of it would show itself: by a dialog, a request to evil.test, or another page.
ATTACKS = {
    "script": "<script>alert(1)</script><script src=https://evil.test/x.js></script>",
    "handlers": "<img src=x onerror=alert(1)><body onload=alert(1)><details open ontoggle=alert(1)>x</details>",
    "svg": "<svg onload=alert(1)><script>alert(1)</script><image href=https://evil.test/x /><use href='data:x#x'/></svg>",
    "mathml": "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=alert(1)&gt;'>",
    "meta refresh": "<meta http-equiv=refresh content='0;url=https://evil.test/'>",
    "base": "<base href=https://evil.test/ target=_top><img src=x><a href=x>go</a>",
    "form": "<form action=https://evil.test/ target=_top><input name=a autofocus><button>go</button></form>",
    "css": "<style>@import '//evil.test/x';*{background:url(//evil.test/y)}</style><i style='background:url(//evil.test)'>",
    "link": "<link rel=stylesheet href=https://evil.test/x><link rel=prefetch href=https://evil.test/y>",
    "top": "<a href=https://evil.test/ target=_top>go</a><a href=/settings/ target=_parent>go</a>",
    "javascript": "<a href='java&#115;cript:alert(1)'>go</a><a href='\x01javascript:top.location=1'>go</a>",
    "data": "<a href='data:text/html,<script>alert(1)</script>'>go</a><a href='  DATA:text/html,x'>go</a>",
    "frames": "<iframe srcdoc='<script>alert(1)</script>'></iframe><iframe src=/settings/></iframe><object data=https://evil.test/>"
    "<embed src=https://evil.test/></object><frameset><frame src=https://evil.test/></frameset>",
    "media": "<img src=https://evil.test/p><img srcset='https://evil.test/q 2x'><video src=https://evil.test/v autoplay poster=https://evil.test/w>"
    "</video><audio src=https://evil.test/a autoplay></audio><input type=image src=https://evil.test/i>",
    "ours": "<script src=/static/app.js></script><img src=/settings/><link rel=stylesheet href=/static/css/app.css>",
    "deep": "<div>" * 20_000 + "deep",
}
SHOWN = "Read me"
MIXED = [  # (charset, transfer encoding, octets)
    ("utf-7", "7bit", b"+ADw-script+AD4-alert(1)+ADw-/script+AD4- Read me"),
    ("utf-16", "base64", b64encode("<script>alert(1)</script> Read me".encode("utf-16"))),
    ("iso-2022-jp", "8bit", b"<p>\x1b$B<script>alert(1)</script> \x1b(B Read me"),
    ("us-ascii", "8bit", b"\xed\xa0\x80\xff\xfe<script>alert(1)</script> Read me"),
    ("no-such-charset", "8bit", b"\xff<script>alert(1)</script> Read me"),
    ("utf-8", "quoted-printable", b"=3Cscript=3Ealert(1)=3C/script=3E=ZZ Read me\0"),
]


def mail_with(html: bytes, charset: str = "utf-8", encoding: str = "8bit") -> bytes:
    head = f"Subject: x\r\nContent-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + html


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("Reader")


@pytest.mark.parametrize("is_cleaned", [True, False], ids=["cleaned", "by the policy alone"])
def test_a_mail_in_a_preview_can_only_be_read(
    tenant: Tenant, live_server: Any, monkeypatch: pytest.MonkeyPatch, is_cleaned: bool
) -> None:
    if not is_cleaned:
        monkeypatch.setattr("relay.reading.preview.nh3.clean", lambda html, **_: html)
    domain = make_domain(tenant.organization)
    apart = [ATTACKS[name] for name in ("mathml", "frames", "deep")]  # what comes behind them would be inside
    together = "".join(html for html in ATTACKS.values() if html not in apart)
    mails = [mail_with(f"<p>{SHOWN}</p>{html}".encode()) for html in [together, *apart]]
    if is_cleaned:
        mails += [mail_with(octets, charset, encoding) for charset, encoding, octets in MIXED]
    messages = [make_message(domain, raw=raw) for raw in mails]
    client = tenant.client

    asked: list[str] = []
    with browser(client, url=live_server.url) as [context]:
        context.route(
            "**", lambda route: asked.append(route.request.url) or route.continue_()
        )  # what the policy lets out
        page = context.new_page()
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        context.on("page", lambda opened: pytest.fail(f"a window was opened: {opened.url}"))
        for message in messages:
            page.goto(f"{live_server.url}/messages/{message.pk}/")
            shown = page.frame(name="mail-html")
            assert shown
            assert SHOWN in shown.locator("body").inner_text()
            for link in shown.get_by_text("go", exact=True).all():
                link.dispatch_event("click")
            page.goto(f"{live_server.url}/messages/{message.pk}/html/")  # opened by itself
            assert SHOWN in page.locator("body").inner_text()
            assert page.evaluate("window.origin") == "null"
            with pytest.raises(Exception, match="sandboxed"):
                page.evaluate("document.cookie")
            assert page.url == f"{live_server.url}/messages/{message.pk}/html/"
    assert [url for url in asked if "evil.test" in url] == []
    assert len([url for url in asked if url.endswith("/html/")]) == 2 * len(messages)
    assert [url for url in asked if "/settings/" in url] == []


def test_remote_images_are_shown_when_they_are_asked_for_and_only_we_may_frame(
    tenant: Tenant, live_server: Any
) -> None:
    message = make_message(make_domain(tenant.organization), raw=mail_with(b"<img src=https://evil.test/pixel>"))
    asked: list[Any] = []
    with browser(tenant.client, url=live_server.url) as [context]:
        context.route("https://evil.test/**", lambda route: asked.append(route.request) or route.abort())
        page = context.new_page()
        page.goto(f"{live_server.url}/messages/{message.pk}/")
        assert asked == []
        with page.expect_request("https://evil.test/pixel") as told:
            page.get_by_role("link", name="Show remote images").click()
        assert told.value.headers.get("referer") is None

        ours, elsewhere = live_server.url, live_server.url.replace("localhost", "127.0.0.1")
        framed = [f"{ours}/anything", f"{ours}/sandbox/inbox/", f"{page.url}html/"]
        frames = {"content_type": "text/html", "body": "".join(f"<iframe src={url}></iframe>" for url in framed)}
        context.route(f"{elsewhere}/frames", lambda route: route.fulfill(**frames))
        context.route(framed[0], lambda route: route.fulfill(body="of a site without a policy"))
        page.goto(f"{elsewhere}/frames")
        assert [frame.url for frame in page.frames[1:]] == [framed[0], *["chrome-error://chromewebdata/"] * 2]


def test_a_preview_at_a_host_of_its_own_needs_no_session_and_has_nothing_else(
    tenant: Tenant, settings: Settings
) -> None:
    settings.CONTENT_HOST, settings.WEB_URL = "content.test", "https://mail.test"
    settings.SECURE = True
    settings.ALLOWED_HOSTS = ["*"]
    message = make_message(make_domain(tenant.organization))

    leads = tenant.client.get(f"/messages/{message.pk}/html/?images=remote")
    assert leads["Location"].startswith("https://content.test/")
    link = leads["Location"].removeprefix("https://content.test")
    there = Client(headers={"host": "content.test"})
    shown = there.get(link)

    assert "Thank you" in shown.content.decode()
    assert shown["Content-Security-Policy"].startswith("sandbox; default-src 'none'; img-src data: https:;")
    assert "frame-ancestors https://mail.test" in shown["Content-Security-Policy"]
    assert "X-Frame-Options" not in shown
    assert not shown.cookies
    page = tenant.client.get(f"/messages/{message.pk}/")
    assert "frame-src 'self' https://content.test;" in page["Content-Security-Policy"]
    tampered = link[:-3] + ("xx/" if not link.endswith("xx/") else "yy/")
    for nowhere in ("/", "/overview/", "/accounts/login/", "/admin/", tampered):
        assert there.get(nowhere).status_code == 404
    assert Client().get(link).status_code == 404  # not at our own host


@pytest.mark.parametrize("text", ["&", "<b><a href=x>", "<", "<table><tr><td>", "&<p title='", "<img "])
def test_huge_html_is_cut_before_it_is_cleaned(text: str) -> None:
    """Some of it takes time that grows with the square of its length."""
    html = safe_html(mail_with((text * (3_000_000 // len(text))).encode()))
    assert html is not None
    assert "Cut short here" in html
