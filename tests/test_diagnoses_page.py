"""docs/domain-diagnoses.md says what the code does."""

import re
from pathlib import Path

import pytest

from domains.diagnosis.hosts import HOSTS
from domains.diagnosis.table import TABLE, Diagnosis
from domains.models import RecordStatus

PAGE = (Path(__file__).parent.parent / "docs" / "domain-diagnoses.md").read_text()
LINES = PAGE.splitlines()


@pytest.mark.parametrize("diagnosis", Diagnosis)
def test_every_diagnosis_is_explained(diagnosis: Diagnosis) -> None:
    entry = TABLE[diagnosis]
    assert f"| `{diagnosis}` | {entry.title} | {entry.meaning} | {entry.remedy} |" in LINES
    assert len(diagnosis) <= 40
    assert not entry.title.endswith(".")
    assert entry.meaning.endswith(".")
    assert entry.remedy.endswith(".")


def test_nothing_else_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| .* \| .* \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(Diagnosis)
    assert list(TABLE) == list(Diagnosis)


@pytest.mark.parametrize("status", [status for status in RecordStatus if status != RecordStatus.UNCHECKED])
def test_every_status_is_explained(status: RecordStatus) -> None:
    assert any(line.startswith(f"| {status.value} | ") for line in LINES)


def test_every_dns_host_is_named() -> None:
    section = PAGE.partition("## DNS hosts")[2]
    assert [host.name for host in HOSTS if host.name not in section.replace("\n", " ") and host.has_form] == []
