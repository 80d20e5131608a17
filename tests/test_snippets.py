"""The ready settings of an SMTP user's page, as they stand there, run with the real programs against a running PlugSend."""

import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from uuid import uuid4

import pytest
from django.template.loader import render_to_string

from plugsend.templatetags import ui
from tests import code_runners
from tests.code_runners import Bench, new_bench, side_by_side
from tests.platform import Platform, wait_for
from tests.test_journey import Visitor

pytestmark = pytest.mark.xdist_group("platform")

RECIPIENT = "hello@example.test"


@dataclass(frozen=True)
class Snippet:
    label: str
    text: str
    note: str  # what stands below it


@dataclass(frozen=True)
class Snippets:
    """By the title of the tab."""

    tabs: dict[str, list[Snippet]]
    to: str

    def of(self, tab: str, number: int = 0) -> str:
        return self.tabs[tab][number].text.replace(RECIPIENT, self.to)


def read_snippets(page: str, to: str) -> Snippets:
    """`page`: HTML, as the browser gets it."""
    tabs: dict[str, list[Snippet]] = {}
    for section in re.findall(r'<section[^>]*><h3 class="tab-title">.*?</section>', page, re.S):
        [title] = re.findall(r'class="tab-title">(.*?)</h3>', section)
        found = re.findall(r'code-label">(.*?)</span>.*?<pre[^>]*>(.*?)</pre>', section, re.S)
        note = html.unescape(re.sub(r"<[^>]+>", "", section.rpartition("</pre>")[2]))
        tabs[html.unescape(title)] = [Snippet(html.unescape(label), html.unescape(text), note) for label, text in found]
    return Snippets(tabs, to)


@pytest.fixture(scope="module")
def page(platform: Platform) -> str:
    """Of an SMTP user just made: with its password in all the places where it belongs."""
    demo = platform.demo
    visitor = Visitor(platform.web_url)
    visitor.submit("/accounts/login/", login=demo["LOGIN_EMAIL"], password=demo["LOGIN_PASSWORD"])
    visitor.open("/smtp-users/new/")
    domain = re.search(r'<option value="([0-9a-f-]{36})"[^>]*>@demo.test', visitor.page)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', visitor.page)
    assert domain
    assert token
    answer = visitor._session.post(
        f"{platform.web_url}/smtp-users/new/",
        data={"csrfmiddlewaretoken": token[1], "local_part": f"o'{uuid4().hex}", "domain": domain[1]},
        headers={"Referer": platform.web_url},
        timeout=20,
    )
    assert "shown only this once" in answer.text, answer.text
    return answer.text


Run = Callable[[Bench, Snippets], object]


def one(runner: code_runners.Runner, tab: str) -> Run:
    return lambda bench, snippets: runner(bench, snippets.of(tab))


def django(bench: Bench, snippets: Snippets) -> None:
    """With the certificate of which the note below tells."""
    certificate = re.search(r"SSL_CERT_FILE=(\S+)", snippets.tabs["Django"][0].note)
    assert certificate
    sending = (
        f"from django.core.mail import send_mail\nsend_mail('Hello', 'Sent through PlugSend.', None, ['{snippets.to}'])"
    )
    code_runners.django(bench, snippets.of("Django"), sending, certificate[1])


def php(bench: Bench, snippets: Snippets) -> None:
    """By PHPMailer and by Symfony's mailer."""
    code_runners.php(bench, snippets.of("PHP"))
    code_runners.php(bench, snippets.of("PHP", 1))


def wordpress(bench: Bench, snippets: Snippets) -> None:
    code_runners.wordpress(bench, snippets.of("WordPress"), snippets.of("WordPress", 1), snippets.to)


def ruby(bench: Bench, snippets: Snippets) -> None:
    """By the gem `mail` and by Rails."""
    code_runners.ruby(bench, snippets.of("Ruby"))
    code_runners.rails(bench, snippets.of("Ruby", 1), snippets.to)


def postfix(bench: Bench, snippets: Snippets) -> None:
    sender = re.search(r"o'\w+@demo\.test", snippets.of("Python"))
    assert sender
    code_runners.postfix(bench, snippets.of("Postfix"), "", sender[0], snippets.to)


TABS: dict[str, Run] = {
    "swaks": one(code_runners.shell, "swaks"),
    "curl": one(code_runners.shell, "curl"),
    "REST": one(code_runners.shell, "REST"),
    "Python": one(code_runners.python, "Python"),
    "Django": django,
    "Node": one(code_runners.node, "Node"),
    "PHP": php,
    "WordPress": wordpress,
    "Ruby": ruby,
    "Go": one(code_runners.go, "Go"),
    "Java": one(code_runners.java_mail, "Java"),
    "C#": one(code_runners.c_sharp, "C#"),
    "Postfix": postfix,
}
SENT = {"PHP": 2, "Ruby": 2, "C#": 0}  # MailKit's code is compiled no further than code_runners.py says


@pytest.fixture(scope="module")
def runs(platform: Platform, page: str, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    def run(tab: str) -> None:
        snippets = read_snippets(page, f"{uuid4().hex}@example.test")
        TABS[tab](new_bench(platform), snippets)
        sent = SENT.get(tab, 1)
        wait_for(lambda: len(platform.inbox(snippets.to)) >= sent, "the mail arrives")
        for raw, dkim, domain, _ in platform.inbox(snippets.to):
            assert (dkim, domain) == ("pass", "demo.test")
            assert b"Subject: Hello\r\n" in raw
            assert b"Sent through PlugSend." in raw

    with side_by_side(request, "test_tab", "tab", run) as running:
        yield running


@pytest.mark.parametrize("tab", TABS)
def test_tab(runs: dict[str, Future[None]], tab: str) -> None:
    runs[tab].result()


def test_every_tab_is_there_and_none_is_empty(page: str) -> None:
    tabs = read_snippets(page, RECIPIENT).tabs
    assert list(tabs) == list(TABS)
    for tab in tabs.values():
        assert tab
        assert all(len(snippet.text.splitlines()) > 3 for snippet in tab)
        assert not any("{" in snippet.text and "{%" in snippet.text for snippet in tab)


# ---- Where nothing is self-signed ------------------------------------------------------------------------------------


def test_outside_the_sandbox_every_client_checks_the_certificate() -> None:
    context = {
        "user": "admin@acme.example",
        "password": "ps_live_x",
        "smtp_host": "mail.plugsend.example",
        "smtp_port": 587,
        "web_url": "https://plugsend.example",
        "example_recipient": "you@example.com",
        "sandbox": False,
    }
    page = render_to_string("components/snippets.html", context)
    assert len(read_snippets(page, RECIPIENT).tabs) == 13
    lowered = page.lower()
    for word in (
        "insecure",
        "verify_peer",
        "self-signed",
        "'none'",
        "rejectunauthorized",
        "ssl.trust",
        ".test",
        "callback",
    ):
        assert word not in lowered


@pytest.mark.parametrize(
    ("text", "in_shell", "in_code", "in_single"),
    [
        ("admin@acme.test", "admin@acme.test", '"admin@acme.test"', "'admin@acme.test'"),
        ("o'neil@acme.test", "'o'\"'\"'neil@acme.test'", '"o\'neil@acme.test"', r"'o\'neil@acme.test'"),
        ("a$b#{c}@acme.test", "'a$b#{c}@acme.test'", '"a$b#{c}@acme.test"', "'a$b#{c}@acme.test'"),
    ],
)
def test_a_name_stands_in_code_as_a_string(text: str, in_shell: str, in_code: str, in_single: str) -> None:
    assert (ui.sh(text), ui.quoted(text), ui.single_quoted(text)) == (in_shell, in_code, in_single)
