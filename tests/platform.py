"""A whole PlugSend of the tests' own: the same supervisor, engines and processes as `script/server` starts."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from accounts.files import read_settings
from relay.audit import disagreements
from tests.made_once import made_once

REPO = Path(__file__).resolve().parent.parent
START_WITHIN_S = STOP_WITHIN_S = 180  # how quick it is, is not what the tests ask
T = TypeVar("T")


def wait_for(find: Callable[[], T | None], what: str, within_s: float = 20) -> T:
    """The first answer of `find` that is not empty, asked until the deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {within_s} s")


class Platform:
    """A running installation."""

    def __init__(self, var: Path, settings: dict[str, str]) -> None:
        self.var = var
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        # Not the test run's own engines, nor anything else that a developer may have set.
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"PLUGSEND_VAR": str(self.var), "WEB_PORT": "0", **self._settings}
        for name in ("SMTP_PORT", "SMTPS_PORT", "SMTP_ALT_PORT", "RETURNS_PORT"):
            environment.setdefault(name, "0")
        log = (self.var.parent / f"{self.var.name}.log").open("ab")
        self._log_start = log.tell()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "plugsend.up", "--no-demo"], cwd=REPO, env=environment, stdout=log, stderr=log
        )
        wait_for(self._is_ready, f"the platform is ready\n{self.log}", START_WITHIN_S)

    def _is_ready(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise AssertionError(f"the platform stopped:\n{self.log}")
        return "\nSign in at" in self.log and bool(self.state.get("ready"))  # the demo organization is made last

    def stop(self) -> int:
        """As Ctrl-C would; returns the exit code."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(STOP_WITHIN_S)

    def kill_everything(self) -> None:
        """kill -9, the supervisor last."""
        assert self._process
        for pid in self.children.values():
            os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def kill(self, name: str) -> int:
        """kill -9 of one child; the supervisor starts it again. Returns the pid that was."""
        pid = self.children[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, name: str, old_pid: int) -> None:
        wait_for(lambda: self.children.get(name, old_pid) != old_pid, f"{name} is restarted")

    @property
    def log(self) -> str:
        """What it printed since it was started last."""
        whole = (self.var.parent / f"{self.var.name}.log").read_bytes()
        return whole[self._log_start :].decode(errors="replace")

    @property
    def state(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.var / "up.json").read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    @property
    def children(self) -> dict[str, int]:
        return dict(self.state.get("children", {}))

    @property
    def web_url(self) -> str:
        return str(self.state["web_url"])

    @property
    def smtp_port(self) -> int:
        return int(self.state["smtp_port"])

    @property
    def smtps_port(self) -> int:
        return int(self.state["smtps_port"])

    @property
    def smtp_alt_port(self) -> int:
        return int(self.state["smtp_alt_port"])

    @property
    def returns_port(self) -> int:
        return int(self.state["returns_port"])

    @property
    def demo(self) -> dict[str, str]:
        return read_settings(self.var / "demo.env")

    @property
    def database_url(self) -> str:
        return read_settings(self.var / "up.env")["DATABASE_URL"]

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            yield connection

    @property
    def redis_url(self) -> str:
        return read_settings(self.var / "up.env")["REDIS_URL"]

    # ---- what a customer does -----------------------------------------------------------------------------------

    def smtp(self, user: str = "", password: str = "") -> smtplib.SMTP:
        """A client past STARTTLS and AUTH."""
        client = smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=30)
        client.starttls(context=ssl._create_unverified_context())
        client.login(user or self.demo["SMTP_USER"], password or self.demo["SMTP_PASSWORD"])
        return client

    def send(self, *recipients: str, subject: str = "Hello") -> UUID:
        """Sends from the demo's SMTP user; returns the id in the final 250."""
        with self.smtp() as connection:
            return submit(connection, self.demo["SMTP_USER"], recipients, subject)

    # ---- what came of it ----------------------------------------------------------------------------------------

    def events(self, message_id: UUID) -> list[tuple[str, str, str]]:
        """(address, type, reason) of each event, in order."""
        with self.database() as connection:
            rows = connection.execute(
                "SELECT address, type, reason FROM events_event WHERE message_id = %s ORDER BY id", [message_id]
            )
            return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]

    def types(self, message_id: UUID) -> list[str]:
        return [event[1] for event in self.events(message_id)]

    def wait_event(self, message_id: UUID, type_: str, within_s: float = 20) -> list[str]:
        """Waits for an event; returns the types of all events so far."""
        wait_for(lambda: type_ in self.types(message_id), f"{type_} of {message_id}", within_s)
        return self.types(message_id)

    def inbox(self, recipient: str) -> list[tuple[bytes, str, str, str]]:
        """(raw, DKIM verdict, signing domain, TLS) of each mail that arrived for a recipient, oldest first."""
        with self.database() as connection:
            rows = connection.execute(
                "SELECT raw, dkim, dkim_domain, tls FROM sandbox_receivedmail WHERE %s = ANY(recipients) ORDER BY id",
                [recipient],
            )
            return [(bytes(row[0]), str(row[1]), str(row[2]), str(row[3])) for row in rows]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def audit(self) -> None:
        """States and events agree, whatever was done to it."""

        def found() -> list[list[str]] | None:
            with suppress(psycopg.OperationalError), self.database() as connection:  # starting again
                return [disagreements(connection)]
            return None

        [told] = wait_for(found, "the database answers", 60)
        assert told == []


def submit(client: smtplib.SMTP, sender: str, recipients: tuple[str, ...], subject: str = "Hello") -> UUID:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, ", ".join(recipients), subject
    message.set_content("Hello there.\n")
    client.mail(sender)
    for recipient in recipients:
        code, reply = client.rcpt(recipient)
        assert code == 250, reply
    code, reply = client.data(message.as_bytes())
    assert code == 250, reply
    return UUID(reply.decode().rsplit(" ", 1)[-1])


RUNNING: list[Platform] = []


@contextmanager
def running_platform(place: Path | None = None, /, **settings: str) -> Iterator[Platform]:
    """With its data below `place`, else in a place of its own. Audited when the block ends and, where it lasts longer, after
    tests that use `timelines_agree`."""
    with ExitStack() as stack:
        var = (place or stack.enter_context(open_place())) / "var"
        copy_started(var)
        platform = Platform(var, settings)
        stack.callback(_end, platform)
        platform.start()
        RUNNING.append(platform)
        yield platform
        if platform.is_running:
            platform.audit()


def _end(platform: Platform) -> None:
    if platform in RUNNING:
        RUNNING.remove(platform)
    if platform.is_running:
        platform.stop()


@contextmanager
def open_place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="plugsend-test-platform-") as place:
        Path(place).chmod(0o711)  # as root the engines' account must be able to pass
        yield Path(place)


# ---- The first start of a run ----------------------------------------------------------------------------------------

OF_ONE_RUN = ("up.lock", "status.json", "celerybeat-schedule*", "engines/lock")


def copy_started(var: Path) -> None:
    """What one first start has made in this run of the tests (a database, its tables, static files, the demo's rows), so that
    the others need not: two thirds of what a start costs."""
    if not (shared := os.environ.get("PLUGSEND_TEST_SHARED")):  # not within pytest
        return
    started = Path(shared) / "platform"
    with made_once(started.name) as missing:
        if missing:
            _start_first(started.with_name("first") / "var").rename(started)
    if not (started / "engines").is_symlink():  # else the engines' account cannot reach where tests put their files
        subprocess.run(["cp", "-a", f"{started}/.", var], check=True)


def _start_first(var: Path) -> Path:
    var.parent.mkdir(mode=0o711)
    platform = Platform(var, {})
    platform.start()
    assert platform.stop() == 0, platform.log
    for path in (path for pattern in OF_ONE_RUN for path in var.glob(pattern)):
        path.unlink()
    with (var / "engines" / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("fsync = off\n")  # tests kill processes, not the machine
    return var
