"""django-post_office's `mail.send` behind a plain DRF view (`project/mailing.py`), in a virtual environment of its own.

Emails are queued and stay there: only accepting is compared. Django, DRF, granian and psycopg have PlugSend's versions.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Processes
from benchmarks.systems import STOP_WITHIN_S, free_port, program_name, wait_until
from benchmarks.systems.plugsend import REPO, parent_of

ENVIRONMENT = REPO / "var" / "benchmarks" / "post_office"
VERSION = "3.12.0"
SAME_AS_OURS = {"django": "", "djangorestframework": "", "granian": "", "psycopg": "[binary]"}


class PostOffice:
    name = "post_office"

    def __init__(self, directory: Path) -> None:
        self._home = directory
        self._log = directory.with_suffix(".log")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.processes = Processes(self.name, self._name_process)

    def start(self) -> None:
        python = _prepared()
        command = [sys.executable, "-m", "benchmarks.systems.post_office.serve", str(self._home), str(python)]
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self._port)],
                cwd=REPO,
                env={name: os.environ[name] for name in kept if name in os.environ},
                stdout=log,
                stderr=log,
                preexec_fn=self.processes.join,
                start_new_session=True,
            )
        self.processes.add(self._process.pid)
        wait_until(self._answers, self._process, self._log)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_WITHIN_S)
        self.processes.close()

    @property
    def web_port(self) -> int:
        return self._port

    @property
    def authorization(self) -> str:
        return f"Token {self._state['token']}"

    def version(self) -> str:
        return f"django-post_office {VERSION}"

    @property
    def _state(self) -> dict[str, Any]:
        return dict(json.loads((self._home / "state.json").read_text()))

    def _answers(self) -> bool:
        if not (self._home / "state.json").exists():
            return False
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2):
                return True
        except OSError:
            return False

    def _name_process(self, pid: int) -> str:
        if self._process and pid == self._process.pid:
            return "supervisor"
        names = {child: name for name, child in self._state["children"].items()}
        for candidate in (pid, parent_of(pid)):
            if candidate in names:
                return names[candidate]
        return program_name(pid)


def _prepared() -> Path:
    """The interpreter of the environment, which is made the first time."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / f"has-{VERSION}"
    if not done.exists():
        print("installing django-post_office …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        packages = [f"django-post_office=={VERSION}", *(_pinned(name) for name in SAME_AS_OURS)]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python


def _pinned(name: str) -> str:
    found = re.search(rf"^{name}(?:\[.*?\])?==(\S+)", (REPO / "requirements.txt").read_text(), re.MULTILINE)
    assert found, name
    return f"{name}{SAME_AS_OURS[name]}=={found[1]}"
