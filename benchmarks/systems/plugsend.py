"""PlugSend as `script/server` runs it: the supervisor with all its processes and engines, in sandbox mode.

A smart host takes the sandbox's place as the receiver; the demo organization's SMTP user sends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dns.resolver

from accounts.files import read_settings
from benchmarks.measure import Processes
from benchmarks.systems import STOP_WITHIN_S, Keys, program_name, wait_until

REPO = Path(__file__).resolve().parent.parent.parent


class PlugSend:
    name = "plugsend"

    def __init__(self, directory: Path, keys: Keys, sink_port: int, settings: dict[str, str] | None = None) -> None:
        self._var = directory
        self._log = directory.with_suffix(".log")
        self._settings = {"RELAY_SMARTHOST": f"127.0.0.1:{sink_port}", **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.processes = Processes(self.name, self._name_process)

    def start(self) -> None:
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"PLUGSEND_VAR": str(self._var), "WEB_PORT": "0", "SMTP_PORT": "0", **self._settings}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "plugsend.up", "--no-demo"],
                cwd=REPO,
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=self.processes.join,
                start_new_session=True,
            )
        self.processes.add(self._process.pid)
        # The demo organization is made last, and said last.
        wait_until(lambda: "\nSign in at" in self._log.read_text(errors="replace"), self._process, self._log)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_WITHIN_S)
        self.processes.close()

    @property
    def port(self) -> int:
        return int(self._state["smtp_port"])

    @property
    def password(self) -> str:
        return read_settings(self._var / "demo.env")["SMTP_PASSWORD"]

    @property
    def web_port(self) -> int:
        return int(self._state["web_url"].rpartition(":")[2])

    @property
    def authorization(self) -> str:
        """For REST."""
        return f"Bearer {read_settings(self._var / 'demo.env')['API_KEY']}"

    @property
    def children(self) -> dict[str, int]:
        """pid of each process that the supervisor runs."""
        return dict(self._state["children"])

    def version(self) -> str:
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks")
        return f"PlugSend {_git('rev-parse', '--short', 'HEAD')}{' with changes' if changed else ''}"

    def dkim_record(self, name: str) -> bytes:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], int(self._state["sandbox_dns_port"])
        return b"".join(next(iter(resolver.resolve(name, "TXT"))).strings)

    @property
    def _state(self) -> dict[str, Any]:
        return dict(json.loads((self._var / "up.json").read_text()))

    def _name_process(self, pid: int) -> str:
        """As the supervisor names its children; PostgreSQL's own go under their parent's."""
        if self._process and pid == self._process.pid:
            return "supervisor"
        names = {child: name for name, child in self.children.items()}
        for candidate in (pid, parent_of(pid)):
            if candidate in names:
                return names[candidate]
        return program_name(pid)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=REPO, capture_output=True, text=True, check=False).stdout.strip()


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
