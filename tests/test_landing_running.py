"""What the landing page says to paste, pasted: its REST examples, run by the programs that they are for. Those for SMTP are the
same as on an SMTP user's page (tests/test_snippets.py)."""

from __future__ import annotations

import html
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from uuid import uuid4

import pytest

from tests import code_runners
from tests.code_runners import new_bench, side_by_side
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

PROGRAMS: dict[str, code_runners.Runner] = {
    "curl": code_runners.shell,
    "Python": code_runners.python,
    "Node": code_runners.node,
    "PHP": code_runners.php,
    "Ruby": code_runners.ruby,
    "Go": code_runners.go,
}
DJANGO = """
from django.core.mail import send_mail
send_mail("Hello", "Sent through PlugSend.", None, ["hello@example.test"])
"""


@pytest.fixture(scope="module")
def examples(platform: Platform) -> dict[str, str]:
    """By the title of the tab: the one for REST."""
    with urllib.request.urlopen(platform.web_url, timeout=20) as answer:
        page = answer.read().decode()
    [tabs] = re.findall(r'id="home-code".*?<p class="help">The official', page, re.S)
    found = re.findall(
        r'<section><h3 class="tab-title">([^<]+)</h3><div class="landing-pair">(.*?)</div></div></section>', tabs, re.S
    )
    return {title: html.unescape(re.findall(r"<pre[^>]*>(.*?)</pre>", blocks, re.S)[-1]) for title, blocks in found}


@pytest.fixture(scope="module")
def runs(
    platform: Platform, examples: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[None]]]:
    def run(tab: str) -> None:
        recipient = f"{uuid4().hex}@example.test"
        ours = {
            "ps_live_…": platform.demo["API_KEY"], "admin@yourdomain.com": platform.demo["SMTP_USER"],
            "hello@example.test": recipient, "receipt-4711": recipient,
        }  # fmt: skip
        text, django = examples[tab], DJANGO
        for example, own in ours.items():
            text, django = text.replace(example, own), django.replace(example, own)
        if tab == "Django":
            code_runners.django(new_bench(platform), text, django)
        else:
            said = PROGRAMS[tab](new_bench(platform), text)
            assert re.search(r"\bid\b", said)
        [(raw, dkim, *_)] = wait_for(lambda: platform.inbox(recipient), "the mail arrives")
        assert dkim == "pass"
        assert b"Sent through PlugSend." in raw

    with side_by_side(request, "test_rest_example", "tab", run) as running:
        yield running


@pytest.mark.parametrize("tab", [*PROGRAMS, "Django"])
def test_rest_example(runs: dict[str, Future[None]], tab: str) -> None:
    runs[tab].result()
