"""Verifiers of DKIM signatures that are none of ours: opendkim, and dkimpy as the sandbox's exchanger uses it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.sandbox.dkim_verdict import SignatureVerdict, check_dkim

OPENDKIM = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def by_dkimpy(message: bytes, records: Mapping[str, str]) -> tuple[SignatureVerdict, ...]:
    """The verdict on each signature. `records`: the TXT records by name, without the final dot."""

    async def fetch(name: str) -> bytes | None:
        record = records.get(name.rstrip("."))
        return record.encode() if record else None

    return asyncio.run(check_dkim(message, fetch)).signatures


def by_opendkim(message: bytes, records: Mapping[str, str], directory: Path) -> list[tuple[str, str, str]]:
    """(result, algorithm, selector) of each signature. Skips the test where opendkim is not installed; CI has it."""
    if OPENDKIM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs opendkim")
        pytest.skip("opendkim is not installed (Debian: opendkim)")
    mail, keys, settings = directory / "mail", directory / "keys", directory / "opendkim.conf"
    mail.write_bytes(message)
    keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    settings.write_text(f"Mode v\nTestPublicKeys {keys}\n")
    command = [OPENDKIM, "-x", str(settings), "-vv", "-t", str(mail)]
    said = subprocess.run(command, capture_output=True, timeout=30).stdout.decode()
    return re.findall(r"\bdkim=(\w+).*? header\.a=(\S+) header\.s=(\S+)", said)
