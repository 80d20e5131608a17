"""The code on docs/rest.md runs as it stands, with what var/demo.env holds, and its problem document is the one that comes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.foreign_clients import NODE_MODULES, need, need_npm
from tests.platform import REPO, Platform

pytestmark = pytest.mark.xdist_group("platform")

PAGE = (REPO / "docs" / "rest.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [code for name, code in BLOCKS if name == language]


def run(platform: Platform, *command: str) -> str:
    environment = {"PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES), **platform.demo}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("code", blocks("sh"))
def test_shell(platform: Platform, tmp_path: Path, code: str) -> None:
    need(shutil.which("curl"), "curl")
    (tmp_path / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    said = run(platform, "bash", "-euc", f"export CURL_HOME={tmp_path}\n{code}")
    assert '"id"' in said or '"object"' in said
    assert said.lower().count("idempotent-replayed: true") == code.count("for attempt in 1 2")


@pytest.mark.parametrize("code", blocks("python"))
def test_python(platform: Platform, code: str) -> None:
    assert re.fullmatch("[a-z]+\n", run(platform, sys.executable, "-c", code))  # the last event


@pytest.mark.parametrize("code", blocks("js"))
def test_node(platform: Platform, code: str) -> None:
    need_npm("resend")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", run(platform, "node", "-e", code))


def test_the_problem_document(platform: Platform) -> None:
    [shown] = [json.loads(code) for code in blocks("json")]
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


def test_every_kind_of_code_is_run() -> None:
    assert {name for name, _ in BLOCKS} == {"sh", "python", "js", "json"}
    assert len(blocks("sh")) >= 6
