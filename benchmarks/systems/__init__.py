"""The systems that are compared: each with a private configuration and data directory, on loopback, until stopped."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.measure import Processes
from relay.certificates import self_signed

USER, DOMAIN, PASSWORD = "admin@demo.test", "demo.test", "bench-password"
SELECTOR = "bench"
START_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0


class CannotRun(Exception):
    """The system is not installed, or did not start."""


class System(Protocol):
    """Made with a directory of its own and the port of the sink that takes all its mail."""

    name: str
    processes: Processes

    @property
    def port(self) -> int:
        """Of submission, on 127.0.0.1."""
        ...

    @property
    def password(self) -> str:
        """Of USER."""
        ...

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def version(self) -> str: ...
    def dkim_record(self, name: str) -> bytes:
        """The TXT record under which its signatures are checked."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """P-256 for TLS, RSA-2048 for DKIM, as every system gets them."""

    certificate: Path
    tls_key: Path
    dkim_key: Path
    dkim_record: bytes


def make_keys(directory: Path) -> Keys:
    certificate, tls_key = self_signed(directory, "localhost")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "dkim.pem").write_bytes(private)
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])
    return Keys(certificate, tls_key, directory / "dkim.pem", record)


def free_port() -> int:
    """A high port that nobody on loopback listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_greeting(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until an SMTP server says 220. Raises CannotRun."""

    def greets() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                return connection.recv(512).startswith(b"220")
        except OSError:
            return False

    wait_until(greets, process, log)


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            end = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise CannotRun(f"{process.args!r} did not start:\n{end}")
        time.sleep(0.05)


def program_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
