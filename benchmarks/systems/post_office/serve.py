"""Runs the project until it is told to stop: `python -m benchmarks.systems.post_office.serve <home> <python> <port>`.

PostgreSQL is PlugSend's, with the same settings and as durable. `<home>/state.json` tells the processes and the token.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from plugsend.engines import running

PROJECT = Path(__file__).parent / "project"
# As plugsend/up.py starts the platform's own.
GRANIAN = ("--interface", "wsgi", "--workers", "1", "--blocking-threads", "8", "--http", "1", "--no-ws")


def main(home: Path, python: str, port: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with running(home) as engines:
        environment = os.environ | {"MAILING_DATABASE": engines.database_url, "PYTHONPATH": str(PROJECT)}
        token = subprocess.run([python, "-m", "prepare"], env=environment, capture_output=True, text=True, check=True)
        listen = ("--host", "127.0.0.1", "--port", port, "--log-level", "warning")
        with subprocess.Popen(
            [python, "-m", "granian", *GRANIAN, *listen, "mailing:application"], env=environment
        ) as web:
            state = {"token": token.stdout.strip(), "children": {"web": web.pid, **engines.pids}}
            (home / "state.json").write_text(json.dumps(state))
            try:
                web.wait()
            finally:
                web.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
