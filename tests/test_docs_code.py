"""The code on the pages of the documentation is run as it stands there, and its mail arrives.

Run are: `sh` (bash with curl and swaks), `python`, `js` (node), and of PHP, Ruby, Go and Java what sends over REST. All other
PHP, Ruby and Go is read by the language's own program; what sends over SMTP in them is run by `test_snippets.py`. Not run are
C#, Spring, Flask and FastAPI, for want of their programs and libraries, and what a page marks with `norun`: it needs a value
that only a reader has, changes the machine, or serves (`test_webhooks_running.py` runs the receivers of webhooks).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from plugsend.documentation.code import PASSWORD, Values
from plugsend.documentation.pages import Block, pages
from tests.foreign_clients import NODE_MODULES, need, need_npm
from tests.platform import Platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

PROSE = {"", "text", "json", "http", "ini", "properties", "csharp", "liquid"}  # nothing to be run here
# Their libraries are not among what tests need, and Spring is none of its own.
SNIPPETS_NOT_RUN = {"spring", "flask", "fastapi"}


@dataclass(frozen=True, slots=True)
class Code:
    slug: str
    number: int
    block: Block

    @property
    def language(self) -> str:
        return self.block.language

    def __str__(self) -> str:
        return f"{self.slug}-{self.number}"


ALL = [Code(slug, number, block) for slug, page in pages().items() for number, block in enumerate(page.blocks)]
RUN = [code for code in ALL if "norun" not in code.block.words and code.block.snippet not in SNIPPETS_NOT_RUN]


def of(*languages: str) -> list[Code]:
    return [code for code in RUN if code.language in languages]


@dataclass
class Desk:
    """Fills code with what the demo organization has, and waits for what it sends, to addresses of each block's own."""

    platform: Platform
    folder: Path
    environment: dict[str, str]

    def text(self, code: Code) -> str:
        demo = self.platform.demo
        values = Values(
            user=demo["SMTP_USER"],
            host=demo["SMTP_HOST"],
            port=int(demo["SMTP_PORT"]),
            url=demo["WEB_URL"],
            recipient="hello@example.test",
            sandbox=True,
        )
        text = code.block.code(values).replace(PASSWORD, demo["SMTP_PASSWORD"])
        mark = uuid4().hex[:12]
        text = re.sub(r"\b(\w+)@example\.(?:com|test)", rf"\1.{mark}@example.test", text)
        return re.sub(r"(order-42|newsletter-7)/", rf"{mark}/", text)

    def run(self, *command: str, stdin: str = "", **more: str) -> str:
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def arrives(self, text: str) -> None:
        """To the first that is written to, if anybody is; what waits for its time does not arrive."""
        address = re.search(r"[\w.]+@example\.test", text)
        if address and "scheduled_at" not in text:
            wait_for(lambda: self.platform.inbox(address[0]), f"mail to {address[0]} arrives")


@pytest.fixture
def desk(platform: Platform, tmp_path: Path) -> Desk:
    (tmp_path / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    own = {"HOME": str(tmp_path), "CURL_HOME": str(tmp_path), "NODE_PATH": str(NODE_MODULES)}
    key = {"PLUGSEND_API_KEY": platform.demo["API_KEY"]}
    return Desk(platform, tmp_path, kept | own | platform.demo | key)


@pytest.mark.parametrize("code", of("sh"), ids=str)
def test_shell(desk: Desk, code: Code) -> None:
    need(shutil.which("curl"), "curl")
    text = desk.text(code)
    if "swaks" in text:
        need(shutil.which("swaks"), "swaks")
    said = desk.run("bash", "-euc", text)
    if "$API_URL" in text:
        assert '"id"' in said or '"object"' in said
    assert said.lower().count("idempotent-replayed: true") == text.count("for attempt in 1 2")
    desk.arrives(text)


PYTHON = [code for code in of("python") if code.slug not in ("webhooks", "quickstarts/django")]


@pytest.mark.parametrize("code", PYTHON, ids=str)
def test_python(desk: Desk, code: Code) -> None:
    text = desk.text(code)
    desk.run(sys.executable, "-c", text)
    if ".send" in text or ".post(" in text:
        desk.arrives(text)


def test_python_that_is_not_run_is_python(desk: Desk) -> None:
    for code in ALL:
        if code.language == "python" and code not in RUN:
            compile(desk.text(code), str(code), "exec")


def test_django(desk: Desk) -> None:
    settings, *others = [code for code in of("python") if code.slug == "quickstarts/django"]
    (desk.folder / "settings.py").write_text(desk.text(settings))
    texts = [desk.text(code) for code in others]
    program = "\n".join(
        ["import django, os", "os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'", "django.setup()", *texts]
    )
    certificate = next((desk.platform.var / "tls").glob("*.crt"))
    desk.run(sys.executable, "-c", program, SSL_CERT_FILE=str(certificate), PYTHONPATH=str(desk.folder))
    for text in texts:
        desk.arrives(text)


@pytest.mark.parametrize("code", [code for code in of("js") if code.slug != "webhooks"], ids=str)
def test_node(desk: Desk, code: Code) -> None:
    text = desk.text(code)
    for package in re.findall(r"""(?:from |require\()"(\w+)""", text):
        need_npm(package)
    need(shutil.which("node"), "node")
    if "export async function POST" in text:  # as Next.js does
        text += "\nconst answer = await POST(); if (answer.status !== 202) throw new Error(await answer.text());\n"
    kind = "commonjs" if "require(" in text else "module"
    desk.run("node", f"--input-type={kind}", stdin=text)
    desk.arrives(text)


READ_BY = {"php": ["php", "-l"], "ruby": ["ruby", "-c"], "go": ["gofmt", "-e"], "java": []}
RUN_BY = {
    "php-rest": ["php", "send.php"],
    "ruby-rest": ["ruby", "send.rb"],
    "go-rest": ["go", "run", "send.go"],
    "java-rest": ["java", "Send.java"],
}


@pytest.mark.parametrize("code", of(*READ_BY), ids=str)
def test_other_languages(desk: Desk, code: Code) -> None:
    command = RUN_BY.get(code.block.snippet) or READ_BY[code.language]
    if not command or not shutil.which(command[0]):
        pytest.skip(f"nothing is installed that reads {code.language}")
    text = desk.text(code)
    if code.language == "php" and not text.startswith("<?php"):
        text = "<?php\n" + text
    if "class" not in text and "public function" in text:  # a part of a class
        text = text.replace("// In a Mailable:\n", "class Mail {\n") + "\n}\n"
    if code.block.snippet in RUN_BY:
        (desk.folder / command[-1]).write_text(text)
        desk.run(*command, GOFLAGS="-mod=mod", GOCACHE=str(Path.home() / ".cache" / "go-build"))
        desk.arrives(text)
    else:
        desk.run(*command, stdin=text)


def test_every_language_is_known_here() -> None:
    assert {code.language for code in ALL} <= PROSE | {"sh", "python", "js", *READ_BY}
    assert {code.block.snippet for code in ALL if code.block.snippet} >= {*RUN_BY, *SNIPPETS_NOT_RUN}
    assert len(of("sh")) > 8
    assert len(of("python")) > 5
    assert len(of("js")) > 4


def test_the_problem_document(platform: Platform) -> None:
    [shown] = [json.loads(block.text) for block in pages()["rest"].blocks if block.language == "json"]
    answer = requests.post(
        f"{platform.demo['API_URL']}/emails",
        json={"from": "admin@demo.test", "to": "ada@example.test", "subject": "Hi", "text": "Hi", "subjekt": "Hi"},
        headers={"Authorization": f"Bearer {platform.demo['API_KEY']}"},
        timeout=30,
    )
    told = answer.json()
    assert set(told) == set(shown)
    same = set(shown) - {"type", "instance"}
    assert {name: told[name] for name in same} == {name: shown[name] for name in same}
