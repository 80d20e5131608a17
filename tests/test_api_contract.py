"""schemathesis against the running server: what the OpenAPI document promises of every operation is what is answered."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform import Platform

pytestmark = pytest.mark.xdist_group("platform")

EXAMPLES = 20  # for each operation and phase
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "allow_header_conformance", "ignored_auth", "use_after_free", "ensure_resource_availability",
]  # fmt: skip


def test_every_answer_is_one_that_is_documented(platform: Platform, tmp_path: Path) -> None:
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
