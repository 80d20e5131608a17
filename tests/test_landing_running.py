"""What the landing page says to paste, pasted: its REST examples, run by the programs that they are for. Those for SMTP are the
same as on an SMTP user's page (tests/test_snippets.py)."""

from __future__ import annotations

import html
import re
import shutil
import sys
import urllib.request
from pathlib import Path
from uuid import uuid4

import pytest

from tests.platform import Platform, wait_for
from tests.test_snippets import need, run

pytestmark = pytest.mark.xdist_group("platform")

PROGRAMS = {
    "curl": ("sh", "send.sh"), "Python": (sys.executable, "send.py"), "Node": ("node", "send.mjs"),
    "PHP": ("php", "send.php"), "Ruby": ("ruby", "send.rb"), "Go": ("go", "send.go"),
}  # fmt: skip
DJANGO = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
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


@pytest.mark.parametrize("tab", [*PROGRAMS, "Django"])
def test_rest_example(tab: str, examples: dict[str, str], platform: Platform, tmp_path: Path) -> None:
    recipient = f"{uuid4().hex}@example.test"
    ours = {
        "ps_live_…": platform.demo["API_KEY"], "admin@yourdomain.com": platform.demo["SMTP_USER"],
        "hello@example.test": recipient, "receipt-4711": recipient,
    }  # fmt: skip
    text, django = examples[tab], DJANGO
    for example, own in ours.items():
        text, django = text.replace(example, own), django.replace(example, own)
    if tab == "Django":
        (tmp_path / "settings.py").write_text(text)
        run(sys.executable, "-c", django, folder=tmp_path, PYTHONPATH=str(tmp_path))
    else:
        program, name = PROGRAMS[tab]
        need(shutil.which(program), what=program)
        (tmp_path / name).write_text(text)
        said = run(program, *(["run"] if tab == "Go" else []), name, folder=tmp_path)
        assert re.search(r"\bid\b", said)
    [(raw, dkim, *_)] = wait_for(lambda: platform.inbox(recipient), "the mail arrives")
    assert dkim == "pass"
    assert b"Sent through PlugSend." in raw
