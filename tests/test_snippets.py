"""The ready settings of an SMTP user's page, as they stand there, run with the real programs against a running PlugSend."""

import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from uuid import uuid4

import pytest
from django.template.loader import render_to_string

from plugsend.documentation.code import Values
from plugsend.documentation.snippets import snippet
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
    "Postfix": postfix,
}
# What takes longer to run is the documentation's (run by test_docs_code.py), with the password where that asks the environment.
COMPARED = {
    "Ruby": (["ruby", "rails"], "ENV.fetch('PLUGSEND_API_KEY')", "'"),
    "Go": (["go"], 'os.Getenv("PLUGSEND_API_KEY")', '"'),
    "Java": (["java"], 'System.getenv("PLUGSEND_API_KEY")', '"'),
    "C#": (["csharp"], 'Environment.GetEnvironmentVariable("PLUGSEND_API_KEY")', '"'),
}


@pytest.fixture(scope="module")
def runs(platform: Platform, page: str, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    def run(tab: str) -> None:
        snippets = read_snippets(page, f"{uuid4().hex}@example.test")
        TABS[tab](new_bench(platform), snippets)
        sent = len(snippets.tabs[tab]) if tab == "PHP" else 1
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


@pytest.mark.parametrize("tab", COMPARED)
def test_tab_that_is_compared(platform: Platform, page: str, tab: str) -> None:
    names, asked, quote = COMPARED[tab]
    shown = read_snippets(page, RECIPIENT).tabs[tab]
    [secret] = set(re.findall(r"ps_live_\w{38}", page))
    [user] = set(re.findall(r"o'\w{32}@demo\.test", html.unescape(page)))
    demo = platform.demo
    values = Values(user, demo["SMTP_HOST"], int(demo["SMTP_PORT"]), demo["WEB_URL"], RECIPIENT, sandbox=True)
    for name, one in zip(names, shown, strict=True):
        documented = snippet(name, values)
        assert documented.count(asked) == 1
        assert one.text == documented.replace(asked, f"{quote}{secret}{quote}").replace('\n\t"os"', "")


def test_every_tab_is_there_and_none_is_empty(page: str) -> None:
    tabs = read_snippets(page, RECIPIENT).tabs
    assert set(tabs) == {*TABS, *COMPARED}
    for tab in tabs.values():
        assert tab
        assert all(len(shown.text.splitlines()) > 3 for shown in tab)
        assert not any("{" in shown.text and "{%" in shown.text for shown in tab)


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
