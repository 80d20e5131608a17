"""The running server: what the OpenAPI document promises is what is answered, whatever comes and however it comes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.platform import Platform

pytestmark = pytest.mark.xdist_group("platform")

EXAMPLES = 12  # for each operation
SETTINGS = """
[phases.stateful]
generation.max-examples = 5
"""
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "allow_header_conformance", "ignored_auth", "use_after_free", "ensure_resource_availability",
]  # fmt: skip


def test_every_answer_is_one_that_is_documented(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{platform.demo['API_URL']}/openapi.json",
            "--header", f"Authorization: Bearer {platform.demo['API_KEY']}", "--seed", "1",
            "--max-examples", str(EXAMPLES), "--checks", ",".join(CHECKS), "--max-failures", "20",
            "--rate-limit", "auto", "--generation-database", "none", "--no-color", "--request-timeout", "20",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=170,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{platform.log[-5000:]}"
    tested = re.search(r"Tested: (\d+)", run.stdout)
    assert tested is not None
    assert int(tested[1]) >= 6, run.stdout


LETTER = json.dumps({"from": "ada@demo.test", "to": "bob@example.test", "subject": "Hi", "text": "Hello"}).encode()
TOO_MUCH = 40 * 1024 * 1024  # API_BODY_LIMIT is some 34 MiB


def in_pieces(octets: int) -> Iterator[bytes]:
    """A generator makes `requests` send chunks."""
    yield LETTER
    for _ in range(octets // 65_536):
        yield b" " * 65_536


def test_a_body_may_come_in_chunks_and_one_that_is_too_large_is_refused_either_way(platform: Platform) -> None:
    with requests.Session() as session:
        session.headers.update(
            {"Authorization": f"Bearer {platform.demo['API_KEY']}", "Content-Type": "application/json"}
        )
        url = platform.demo["API_URL"] + "/emails"
        assert session.post(url, data=in_pieces(200_000), timeout=20).status_code == 202
        # The client may send all of it, and then is told.
        for body in (in_pieces(TOO_MUCH), LETTER + b" " * TOO_MUCH):
            answer = session.post(url, data=body, timeout=20)
            assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
        assert session.post(url, data=LETTER, timeout=20).status_code == 202
