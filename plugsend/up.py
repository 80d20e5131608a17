"""`python -m plugsend.up [--no-demo]`: the whole platform on this machine, engines included, until Ctrl-C.

What runs and in which order stands here; how children are kept running stands in `plugsend.supervisor`.
"""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from accounts.files import write_whole
from plugsend import secrets
from plugsend.children import MARK, Program, end_strays
from plugsend.engines import READY_WITHIN_S, Engine, EngineError, Postgres, Valkey, occupied
from plugsend.forker import Forker
from plugsend.ports import (
    RETURNS,
    RETURNS_UNPRIVILEGED,
    SUBMISSION,
    SUBMISSION_ALTERNATIVE,
    SUBMISSION_UNPRIVILEGED,
    SUBMISSIONS,
    SUBMISSIONS_UNPRIVILEGED,
    Ports,
    following,
)
from plugsend.supervisor import StartFailed, StopRequested, Supervisor

REPO = Path(__file__).resolve().parent.parent
# First the door is closed, then work in hand is finished; what everything stands on goes last. 9 s in all.
SMTP, WORKERS, WEB, SANDBOX, VALKEY, POSTGRES = range(6)
BUDGETS_S = {SMTP: 1.5, WORKERS: 3.0, WEB: 1.5, SANDBOX: 0.5, VALKEY: 0.75, POSTGRES: 1.75}


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/server", description="Runs PlugSend until Ctrl-C.")
    parser.add_argument("--no-demo", action="store_true", help="do not send the demonstration message")
    demo = not parser.parse_args().no_demo
    load_env_file(REPO / ".env")
    var = Path(os.environ.get("PLUGSEND_VAR") or REPO / "var").resolve()
    try:
        var.mkdir(parents=True, exist_ok=True)
        with only_one(var / "up.lock") as alone:
            if not alone:
                return _report_running(var)
            end_strays(str(var))  # before ports are chosen: they would still hold ours
            return Platform(var).run(demo=demo)
    except (StopRequested, KeyboardInterrupt):
        print("PlugSend has stopped.")
        return 0
    except (EngineError, StartFailed) as error:
        print(f"PlugSend could not start: {error}", file=sys.stderr)
    except PermissionError as error:
        print(
            f"PlugSend could not start: {error}. Was it started by another account before? "
            f"Start it as that one, or set PLUGSEND_VAR to a directory of your own.",
            file=sys.stderr,
        )
    except OSError as error:
        print(f"PlugSend could not start: {error}", file=sys.stderr)
    return 1


def load_env_file(path: Path) -> None:
    """Takes `KEY=value` lines into the environment, where what is set already wins."""
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        key, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and not key.startswith("#"):
            os.environ.setdefault(key.strip(), value.strip().strip("\"'"))


@contextmanager
def only_one(lock: Path) -> Iterator[bool]:
    """Whether we are the only supervisor of this place; holds it while the block runs."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _report_running(var: Path) -> int:
    try:
        state = json.loads((var / "up.json").read_text())
    except (OSError, ValueError):
        print("PlugSend is being started by another process.")
        return 0
    print(f"PlugSend is already running: {state['web_url']} (process {state['pid']})")
    return 0


class Platform:
    """One running installation: its ports, its environment and the programs it is made of."""

    def __init__(self, var: Path) -> None:
        self._started_at = time.monotonic()
        self._var = var
        self._mode = os.environ.get("PLUGSEND_MODE", "").strip() or "sandbox"
        self._secrets = secrets.load_or_create(var)
        self._ports = Ports()
        self._notes: list[str] = []
        self._ready = False
        self._children: dict[str, int] = {}
        self._env = self._base_environment()
        self._forker = Forker()

    def run(self, *, demo: bool) -> int:
        """Starts everything, serves until a signal, stops everything. Raises EngineError, StartFailed, OSError."""
        with ExitStack() as stack:
            site = None
            if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
                site = stack.enter_context(occupied(self._var, self._secrets["INSTANCE_ID"]))
            stack.callback(self._forget)
            supervisor = stack.enter_context(Supervisor(on_change=self._children_changed))
            for note in self._notes:
                supervisor.say(note)
            engines: list[Engine] = []
            if site and not os.environ.get("DATABASE_URL"):
                engines.append(self._start_engine(supervisor, Postgres(site, self._secrets["POSTGRES_PASSWORD"])))
            if site and not os.environ.get("REDIS_URL"):
                engines.append(self._start_engine(supervisor, Valkey(site, self._secrets["VALKEY_PASSWORD"])))
            self._start_forker(supervisor)  # imports while the engines start
            for engine in engines:
                supervisor.wait_until(engine.is_ready, engine.program.name, READY_WITHIN_S)
                engine.settle()
            self._write_environment()
            self._wait_forker(supervisor)
            self._prepare(supervisor)
            for program in self._programs():
                supervisor.start(program)
            self._wait_ready(supervisor)
            self._ready = True
            self._write_state()
            supervisor.screen.plain(self._summary())
            if self._mode == "sandbox":
                self._show_demo(supervisor, send=demo)
            supervisor.serve()
            supervisor.say("stopping")
        print("PlugSend has stopped.")
        return 0

    # ---- starting -------------------------------------------------------------------------------------------------

    def _base_environment(self) -> dict[str, str]:
        """What every child is told. The environment that we were given wins over anything that we would choose."""
        given = os.environ
        ours = {**self._secrets, "PLUGSEND_VAR": str(self._var), "PYTHONUNBUFFERED": "1", MARK: str(self._var)}
        ours["CELERY_SKIP_CHECKS"] = "1"  # Django's checks of the code: for tests, not for each start of a worker
        # Less than a worker's budget: an attempt that is cut off by kill -9 is in doubt.
        ours["WORKER_DRAIN_SECONDS"] = str(round(BUDGETS_S[WORKERS] - 1))
        ours["WEB_HOST"] = given.get("WEB_HOST") or "127.0.0.1"
        ours["SMTP_HOST"] = given.get("SMTP_HOST") or "127.0.0.1"
        ours["RETURNS_HOST"] = given.get("RETURNS_HOST") or ours["SMTP_HOST"]
        ours["WEB_PORT"] = self._port("WEB_PORT", ours["WEB_HOST"], following(8000))
        ours["WEB_URL"] = given.get("WEB_URL") or f"http://localhost:{ours['WEB_PORT']}"
        submission = [SUBMISSION, *following(SUBMISSION_UNPRIVILEGED)]
        ours["SMTP_PORT"] = self._port("SMTP_PORT", ours["SMTP_HOST"], submission)
        submissions = [SUBMISSIONS, *following(SUBMISSIONS_UNPRIVILEGED)]
        ours["SMTPS_PORT"] = self._port("SMTPS_PORT", ours["SMTP_HOST"], submissions)
        ours["SMTP_ALT_PORT"] = self._port("SMTP_ALT_PORT", ours["SMTP_HOST"], following(SUBMISSION_ALTERNATIVE))
        returns = [RETURNS, *following(RETURNS_UNPRIVILEGED)]
        ours["RETURNS_PORT"] = self._port("RETURNS_PORT", ours["RETURNS_HOST"], returns)
        if self._mode == "sandbox":
            for name in ("SANDBOX_DNS_PORT", "SANDBOX_MX_PORT"):
                ours[name] = self._sandbox_port(name)
        ports = {
            "WEB_PORT",
            "SMTP_PORT",
            "SMTPS_PORT",
            "SMTP_ALT_PORT",
            "RETURNS_PORT",
            "SANDBOX_DNS_PORT",
            "SANDBOX_MX_PORT",
        }
        always = {"PLUGSEND_VAR", MARK, *ports}
        return dict(given) | {key: value for key, value in ours.items() if key in always or not given.get(key)}

    def _port(self, setting: str, host: str, defaults: list[int]) -> str:
        given = os.environ.get(setting, "").strip()
        wanted = following(_number(setting, given)) if given else defaults
        port = self._ports.choose(host, wanted)
        if port != wanted[0] and wanted[0] != 0 and not _needs_privilege(host, wanted[0]):
            self._notes.append(f"port {wanted[0]} ({setting}) is taken: using {port}")
        return str(port)

    def _sandbox_port(self, setting: str) -> str:
        if given := os.environ.get(setting, "").strip():
            return str(self._ports.choose("127.0.0.1", following(_number(setting, given)), udp=True))
        return str(self._ports.choose_quiet("127.0.0.1", f"{setting} {self._var}", udp=True))

    def _start_engine(self, supervisor: Supervisor, engine: Engine) -> Engine:
        name = engine.program.name
        setting, rank = {"postgres": ("DATABASE_URL", POSTGRES), "valkey": ("REDIS_URL", VALKEY)}[name]
        supervisor.start(_ranked(engine.program, rank))
        self._env[setting] = engine.url
        return engine

    def _start_forker(self, supervisor: Supervisor) -> None:
        if Forker.is_possible:
            command = [sys.executable, "-m", "plugsend.forker", "plugsend.preload"]
            program = Program("forker", command, self._env, REPO, stdin=self._forker.open)
            supervisor.start(_ranked(program, SMTP))

    def _wait_forker(self, supervisor: Supervisor) -> None:
        if Forker.is_possible:
            supervisor.wait_until(self._forker.is_ready, "the forker")

    def _prepare(self, supervisor: Supervisor) -> None:
        supervisor.say("preparing the database and static files")
        code, output = supervisor.run(self._manage("prepare", SMTP, "prepare"))
        if code != 0:
            raise StartFailed(f"`manage.py prepare` ended with exit code {code}:\n{output}")

    def _wait_ready(self, supervisor: Supervisor) -> None:
        env = self._env
        if self._mode == "sandbox":
            supervisor.wait_until(lambda: greets("127.0.0.1", int(env["SANDBOX_MX_PORT"])), "the sandbox")
        smtp, web = (env["SMTP_HOST"], int(env["SMTP_PORT"])), (env["WEB_HOST"], int(env["WEB_PORT"]))
        supervisor.wait_until(lambda: greets(*smtp), "the SMTP door")
        returns = (env["RETURNS_HOST"], int(env["RETURNS_PORT"]))
        supervisor.wait_until(lambda: greets(*returns), "the return-path server")
        supervisor.wait_until(lambda: is_healthy(*web, env["WEB_URL"]), "the web server")

    def _show_demo(self, supervisor: Supervisor, *, send: bool) -> None:
        command = ("send_demo",) if send else ("send_demo", "--no-send")
        code, _ = supervisor.run(self._manage("demo", SMTP, *command), attached=True)
        if code != 0:
            supervisor.say(f"the demonstration failed (exit code {code}); the platform runs on")

    # ---- what runs ------------------------------------------------------------------------------------------------

    def _programs(self) -> Iterator[Program]:
        if self._mode == "sandbox":
            yield self._manage("sandbox", SANDBOX, "sandbox")
        for name in _numbered("smtp", "SMTP_PROCESSES"):
            yield self._manage(name, SMTP, "smtp")
        yield self._manage("returns", SMTP, "returns")
        yield self._web()
        for name in _numbered("worker", "WORKER_PROCESSES"):
            yield self._worker(name)
        yield self._celery("beat", "beat", "-s", str(self._var / "celerybeat-schedule"), "--loglevel", "WARNING")

    def _web(self) -> Program:
        return self._manage("web", WEB, "web", "--host", self._env["WEB_HOST"], "--port", self._env["WEB_PORT"])

    def _worker(self, name: str) -> Program:
        # Gossip, mingle and heartbeats are talk between workers that nobody here listens to.
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        pool = ("--pool", "threads", "--concurrency", "4", "--loglevel", self._env.get("LOG_LEVEL") or "INFO")
        return self._celery(name, "worker", *pool, *quiet, "-n", f"{name}@%h")

    def _celery(self, name: str, *command: str) -> Program:
        return self._python(name, WORKERS, "-m", "celery", "-A", "plugsend", "--quiet", *command)

    def _manage(self, name: str, rank: int, *command: str) -> Program:
        return self._python(name, rank, str(REPO / "manage.py"), *command)

    def _python(self, name: str, rank: int, *arguments: str) -> Program:
        program = Program(name, [sys.executable, *arguments], self._env, REPO, forker=self._forker)
        return _ranked(program, rank)

    # ---- what we tell the world -----------------------------------------------------------------------------------

    def _children_changed(self, pids: Mapping[str, int]) -> None:
        self._children = dict(pids)
        with contextlib.suppress(OSError):  # a full disk must not end those who wait for room on it
            self._write_state()

    def _write_state(self) -> None:
        """`var/up.json`: who we are and where our children are, for tests and for a second start."""
        env = self._env
        state: dict[str, Any] = {
            "pid": os.getpid(),
            "ready": self._ready,
            "web_url": env["WEB_URL"],
            "smtp_host": env["SMTP_HOST"],
            "smtp_port": int(env["SMTP_PORT"]),
            "smtps_port": int(env["SMTPS_PORT"]),
            "smtp_alt_port": int(env["SMTP_ALT_PORT"]),
            "returns_port": int(env["RETURNS_PORT"]),
            "sandbox_dns_port": int(env.get("SANDBOX_DNS_PORT") or 0),
            "sandbox_mx_port": int(env.get("SANDBOX_MX_PORT") or 0),
            "children": self._children,
        }
        write_whole(self._var / "up.json", json.dumps(state, indent=2) + "\n", mode=0o644)

    def _write_environment(self) -> None:
        """`var/up.env` (0600): where the engines answer, so that `manage.py` by hand finds the running platform."""
        names = (
            "DATABASE_URL",
            "REDIS_URL",
            "WEB_URL",
            "SMTP_HOST",
            "SMTP_PORT",
            "SMTPS_PORT",
            "SMTP_ALT_PORT",
            "RETURNS_PORT",
            "SANDBOX_DNS_PORT",
            "SANDBOX_MX_PORT",
        )
        lines = (f"{name}={self._env[name]}\n" for name in names if self._env.get(name))
        write_whole(self._var / "up.env", "".join(lines))

    def _forget(self) -> None:
        for name in ("up.json", "up.env"):
            (self._var / name).unlink(missing_ok=True)

    def _summary(self) -> str:
        env = self._env
        mode = "sandbox: no mail leaves this machine" if self._mode == "sandbox" else f"{self._mode}: mail is delivered"
        seconds = time.monotonic() - self._started_at
        return (
            f"\n  PlugSend is ready after {seconds:.1f} s. Ctrl-C stops it.\n\n"
            f"    Web     {env['WEB_URL']}\n"
            f"    SMTP    {env['SMTP_HOST']}:{env['SMTP_PORT']} (STARTTLS; also {env['SMTP_ALT_PORT']}; "
            f"{env['SMTPS_PORT']}: TLS from the start)\n"
            f"    Returns {env['RETURNS_HOST']}:{env['RETURNS_PORT']} (bounces and complaints)\n"
            f"    Mode    {mode}\n"
            f"    Data    {self._var}\n"
        )


def greets(host: str, port: int) -> bool:
    """Whether an SMTP server says 220 (RFC 5321 4.2)."""
    try:
        with socket.create_connection((_reachable(host), port), timeout=2) as connection:
            return connection.recv(512).startswith(b"220")
    except OSError:
        return False


def is_healthy(host: str, port: int, web_url: str) -> bool:
    """Whether the web server answers `/healthz` with 200, asked as a visitor of `web_url` would."""
    url = urlsplit(web_url)
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": url.netloc, "X-Forwarded-Proto": url.scheme})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _ranked(program: Program, rank: int) -> Program:
    return replace(program, stop_rank=rank, stop_budget_s=BUDGETS_S[rank])


def _numbered(name: str, setting: str) -> list[str]:
    count = _number(setting, os.environ.get(setting, "").strip() or "1")
    return [name if number == 1 else f"{name}-{number}" for number in range(1, count + 1)]


def _number(setting: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise StartFailed(f"{setting} must be a whole number, not {text!r}.") from None


def _needs_privilege(host: str, port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        try:
            probe.bind((_reachable(host), port))
        except PermissionError:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
