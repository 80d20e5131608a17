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

from tests.platform import Platform, running_platform

pytestmark = pytest.mark.xdist_group("platform")

EXAMPLES = 12  # for each operation
SETTINGS = """
[checks]  # what is valid by its form may still be refused: a sender that is not verified, a range that is empty
positive_data_acceptance.enabled = false

[phases.stateful]
generation.max-examples = 5

[[operations]]  # answers 200, and names the emails that it refused
include-operation-id = "emails_batch"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture
def victim() -> Iterator[Platform]:
    """A platform of its own: among the requests are those that delete its domain and its keys."""
    unlimited = dict.fromkeys(["API_KEY_RATE", "API_ORGANIZATION_RATE", "API_ADDRESS_RATE"], "0")
    with running_platform(LOG_LEVEL="WARNING", **unlimited) as running:
        yield running


def test_every_answer_is_one_that_is_documented(victim: Platform, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{victim.demo['API_URL']}/openapi.json",
            "--header", f"Authorization: Bearer {victim.demo['API_KEY']}", "--seed", "1",
            "--max-examples", str(EXAMPLES), "--max-failures", "20",
            "--rate-limit", "auto", "--generation-database", "none", "--no-color", "--request-timeout", "20",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=380,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{victim.log[-5000:]}"
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
