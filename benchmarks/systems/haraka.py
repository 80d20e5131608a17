"""Haraka from npm: two workers, its own outbound queue on disk, DKIM, passwords from a file, notices in the log."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

from benchmarks.measure import Processes
from benchmarks.systems import (
    DOMAIN,
    PASSWORD,
    SELECTOR,
    STOP_WITHIN_S,
    USER,
    CannotRun,
    Keys,
    free_port,
    program_name,
    wait_greeting,
)

INSTALLED = Path(__file__).resolve().parent.parent.parent / "var" / "benchmarks" / "haraka" / "node_modules"
# RFC 7919, A.1. Without a DH file at hand its first minute goes to finding one.
_DH = ("openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out")
_TO_SINK = """\
exports.hook_get_mx = (next) => next(OK, { priority: 0, exchange: '127.0.0.1', port: %d })
"""


class Haraka:
    name = "haraka"
    password = PASSWORD

    def __init__(self, directory: Path, keys: Keys, sink_port: int) -> None:
        if not (INSTALLED / "Haraka").exists() or not shutil.which("node"):
            raise CannotRun("Haraka is not installed: run benchmarks/setup.sh.")
        self._root, self._keys = directory, keys
        self.port = free_port()
        self._log = directory / "haraka.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.processes = Processes(self.name, program_name)
        self._configure(sink_port)

    def start(self) -> None:
        command = ("node", str(INSTALLED / "Haraka" / "bin" / "haraka"), "-c", str(self._root))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=self.processes.join, start_new_session=True
            )
        self.processes.add(self._process.pid)
        wait_greeting(self.port, self._process, self._log)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.processes.close()

    def version(self) -> str:
        package = json.loads((INSTALLED / "Haraka" / "package.json").read_text())
        node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
        return f"Haraka {package['version']}, node {node.removeprefix('v')}"

    def dkim_record(self, name: str) -> bytes:
        return self._keys.dkim_record

    def _configure(self, sink_port: int) -> None:
        config = self._root / "config"
        shutil.copytree(INSTALLED / "Haraka" / "config", config)
        for plugin in ("haraka-plugin-dkim", "haraka-plugin-headers"):
            # Without its own defaults beside ours a plugin may end the process at the first connection.
            shutil.copytree(INSTALLED / plugin / "config", config, dirs_exist_ok=True)
        (self._root / "plugins").mkdir()
        (self._root / "plugins" / "to_sink.js").write_text(_TO_SINK % sink_port)
        for source, name in ((self._keys.certificate, "tls_cert.pem"), (self._keys.tls_key, "tls_key.pem")):
            shutil.copy(source, config / name)
        subprocess.run([*_DH, str(config / "dhparams.pem")], check=True)
        key = config / "dkim" / DOMAIN
        key.mkdir(parents=True)
        shutil.copy(self._keys.dkim_key, key / "private")
        (key / "selector").write_text(SELECTOR)
        files = {
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=2\n",
            "plugins": "tls\nauth/flat_file\ndkim\nto_sink\n",
            "auth_flat_file.ini": f"[core]\nmethods=PLAIN\nconstrain_sender=false\n[users]\n{USER}={PASSWORD}\n",
            "log.ini": "[main]\nlevel=notice\ntimestamps=true\n",
            "outbound.ini": "local_mx_ok=true\nalways_split=true\n",
            "tls.ini": "key=tls_key.pem\ncert=tls_cert.pem\ndhparam=dhparams.pem\n[outbound]\nrejectUnauthorized=false\n",
            "dkim.ini": f"[sign]\nenabled=true\nselector={SELECTOR}\ndomain={DOMAIN}\n"
            "headers=From, Sender, Reply-To, Subject, Date, Message-ID, To, Cc, MIME-Version\n"
            "[canon]\nbody=relaxed\n[verify]\nenabled=false\n",
            "me": "mail.bench.test\n",
        }
        for name, text in files.items():
            (config / name).write_text(text)
