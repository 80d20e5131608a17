"""The embedded Valkey: Celery's broker, counters and caches. A Unix socket, a password, an append-only file."""

import os
import signal
import socket
from pathlib import Path

from plugsend.children import MARK, Program, end_strays
from plugsend.engines.account import make_directory
from plugsend.engines.binaries import find_valkey, made_usable
from plugsend.engines.places import Site


class Valkey:
    """One server at `site`. Raises EngineError."""

    def __init__(self, site: Site, password: str, *, durable: bool = True) -> None:
        self._site = site
        self._password = password
        self._durable = durable
        self._data = site.root / "valkey"
        self._mark = str(self._data)
        self._binaries = made_usable(find_valkey(), site.account, site.root / "programs")
        make_directory(self._data, site.account, 0o700)
        # Two servers on one append-only file would ruin it, and nothing in Valkey keeps the second one out.
        end_strays(self._mark)

    @property
    def socket(self) -> Path:
        return self._site.runtime / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://:{self._password}@{self.socket}?db=0"

    @property
    def program(self) -> Program:
        return Program(
            name="valkey",
            command=[str(self._binaries.program), "-"],  # the configuration comes on stdin: no password in `ps`
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", MARK: self._mark},
            cwd=self._data,
            owner=self._site.account.ids if self._site.account else None,
            stdin=self._configuration().encode(),
            orphan_signal=signal.SIGTERM,
            hidden=("Reading config from stdin", "Memory overcommit must be enabled"),  # we never fork to save
        )

    def is_ready(self) -> bool:
        """Whether the server takes our password and has its data in memory."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2.0)
                connection.connect(str(self.socket))
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (data := connection.recv(512)):
                    answer += data
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def settle(self) -> None:
        """Nothing is left to do once it answers."""

    def _configuration(self) -> str:
        settings = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "requirepass": self._password,
            "dir": f'"{self._data}"',
            "save": '""',
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
            "set-proc-title": "no",  # it would overwrite the environment, by which we find strays
        }
        return "".join(f"{key} {value}\n" for key, value in settings.items())
