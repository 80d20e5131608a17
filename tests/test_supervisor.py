"""The supervisor and the whole of `plugsend.up`, with stand-ins for the applications and real processes."""

import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from plugsend.children import MARK, Program, end_strays, is_alive
from plugsend.ports import Ports, following
from plugsend.supervisor import StartFailed, Supervisor
from plugsend.up import load_env_file

REPO = Path(__file__).resolve().parent.parent


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


# ---- one supervisor in this process ----------------------------------------------------------------------------------


def program(name: str, code: str, **options: Any) -> Program:
    return Program(name, [sys.executable, "-uISc", code], {}, **options)


def pid_of(pids: Mapping[str, int], name: str) -> int:
    return pids.get(name, 0)


SLEEP = "import time; time.sleep(60)"


def test_lines_are_prefixed_whole_and_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    code = r"import sys; sys.stdout.write('one\ntwo \x1b[2Jcleared\nunfinished'); import time; time.sleep(60)"
    with Supervisor(out=out) as supervisor:
        supervisor.start(program("web", code))
        supervisor.wait_until(lambda: "cleared" in out.getvalue(), "output", 10)
    assert out.getvalue().splitlines() == ["web      | one", "web      | two [2Jcleared", "web      | unfinished"]


def test_a_child_that_dies_comes_back_later_and_later() -> None:
    out = io.StringIO()
    starts: list[float] = []
    with Supervisor(out=out) as supervisor:
        supervisor.start(program("smtp", "raise SystemExit(3)", before_start=lambda: starts.append(time.monotonic())))
        with pytest.raises(StartFailed, match="smtp keeps stopping"):
            supervisor.wait_until(lambda: False, "smtp", 10)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert len(pauses) == 2
    assert 0.2 <= pauses[0] < pauses[1]
    assert "smtp stopped with exit code 3; starting it again in 0.4 s" in out.getvalue()


def test_what_a_killed_child_had_started_is_gone_before_it_comes_back() -> None:
    pids: dict[str, int] = {}
    out = io.StringIO()
    code = f"import subprocess, sys; print('worker', subprocess.Popen([sys.executable, '-c', '{SLEEP}']).pid); {SLEEP}"

    def changed(now: Mapping[str, int]) -> None:
        pids.clear()
        pids.update(now)

    with Supervisor(out=out, on_change=changed) as supervisor:
        supervisor.start(program("web", code))
        supervisor.wait_until(lambda: "worker" in out.getvalue(), "output", 10)
        first, grandchild = pid_of(pids, "web"), int(out.getvalue().split()[-1])
        os.kill(first, signal.SIGKILL)
        supervisor.wait_until(lambda: pid_of(pids, "web") not in {0, first}, "restart", 10)
        assert not is_alive(grandchild)


def test_children_stop_in_order_and_a_straggler_is_killed() -> None:
    out = io.StringIO()
    polite = "import signal, sys, time; signal.signal(15, lambda *_: (print('bye'), sys.exit())); print('up'); "
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('up'); "
    with Supervisor(out=out) as supervisor:
        supervisor.start(program("last", polite + SLEEP, stop_rank=2))
        supervisor.start(program("stubborn", stubborn + SLEEP, stop_rank=1, stop_budget_s=0.3))
        supervisor.start(program("first", polite + SLEEP, stop_rank=0))
        supervisor.wait_until(lambda: out.getvalue().count("up\n") == 3, "all", 10)
        started = time.monotonic()
    # What the first left of its two seconds was the stubborn one's to use.
    assert time.monotonic() - started < 4
    last_lines = [line for line in out.getvalue().splitlines() if not line.endswith("up")]
    assert last_lines == ["first    | bye", "plugsend | stubborn did not stop in time: killed", "last     | bye"]


def test_a_command_run_to_its_end_gives_its_output_and_code() -> None:
    with Supervisor(out=io.StringIO()) as supervisor:
        code, output = supervisor.run(program("prepare", "print('one'); print('two'); raise SystemExit(4)"))
    assert (code, output) == (4, "one\ntwo")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_strays_are_known_by_their_mark_and_others_are_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-ISc", SLEEP]
    with (
        subprocess.Popen(command, env={MARK: str(tmp_path)}) as ours,
        subprocess.Popen(command, env={MARK: f"{tmp_path}-other"}) as other,
    ):
        wait_for(lambda: end_strays(str(tmp_path)) == [ours.pid], "stray found")
        assert ours.wait(5) == -signal.SIGTERM
        assert other.poll() is None
        other.kill()


# ---- ports -----------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        assert Ports().choose("127.0.0.1", following(taken)) > taken


def test_a_port_that_could_be_shared_with_its_holder_is_passed_over() -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        assert Ports().choose("127.0.0.1", following(taken)) > taken


def test_any_port_is_another_one_where_the_first_is_not_free_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be free at 127.0.0.1 and another's at ::1."""
    probe, tried = Ports._probe, []

    def taken_at_first(ports: Ports, host: str, port: int, udp: bool) -> int:
        tried.append(port)
        if len(tried) < 3:
            raise OSError(errno.EADDRINUSE, "taken")
        return probe(ports, host, port, udp)

    monkeypatch.setattr(Ports, "_probe", taken_at_first)
    assert Ports().choose("127.0.0.1", following(0)) > 0
    assert len(set(tried)) == 3
    assert max(tried) < 32768  # outgoing connections may be given one of those from there on


@pytest.mark.skipif(sys.platform != "linux", reason="reservations are abstract sockets")
def test_two_supervisors_that_start_together_get_different_ports() -> None:
    first, second = Ports(), Ports()
    port = first.choose("127.0.0.1", following(0))
    assert second.choose("127.0.0.1", following(port)) > port


def test_sandbox_ports_stay_the_same_from_start_to_start() -> None:
    name = f"{os.getpid()} {time.monotonic()}"
    ports = Ports()
    first = ports.choose_quiet("127.0.0.1", name, udp=True)
    del ports
    assert Ports().choose_quiet("127.0.0.1", name, udp=True) == first


def test_env_file_fills_in_what_the_environment_leaves_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text('# comment\nexport A_SET=file\nB_FREE="quoted value"\n\nnonsense\n')
    monkeypatch.setenv("A_SET", "environment")
    monkeypatch.setenv("B_FREE", "")
    monkeypatch.delenv("B_FREE")
    load_env_file(tmp_path / ".env")
    assert (os.environ["A_SET"], os.environ["B_FREE"]) == ("environment", "quoted value")


# ---- the whole platform, with stand-ins for the applications ---------------------------------------------------------

MANAGE = """
import os, socket, sys
command = sys.argv[1]
if command == "prepare":
    import psycopg
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS starts (n int)")
        connection.execute("INSERT INTO starts VALUES (1)")
    print("prepared by a stand-in")
    sys.exit(int(os.environ.get("PREPARE_EXIT", "0")))
if command == "send_demo":
    print("how to sign in" if "--no-send" in sys.argv else "demonstration sent")
    sys.exit(int(os.environ.get("DEMO_EXIT", "0")))
if command == "web":
    from plugsend.web_server import server
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
    server(application, "127.0.0.1", int(os.environ["WEB_PORT"])).run()
    sys.exit()
port = {"smtp": "SMTP_PORT", "returns": "RETURNS_PORT"}.get(command, "SANDBOX_MX_PORT")
door = socket.create_server(("127.0.0.1", int(os.environ[port])))
while True:
    connection, _ = door.accept()
    connection.sendall(b"220 ready\\r\\n")
    connection.close()
"""
CELERY = """
import os
from celery import Celery
broker = os.environ["REDIS_URL"].replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
app = Celery("plugsend", broker=broker)
app.conf.broker_connection_retry_on_startup = True
"""


@dataclass
class Tree:
    """A checkout with our part of plugsend/ and stand-ins for the rest."""

    root: Path
    runtime: Path | None = None

    def up(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        clean = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
        for name in ("PLUGSEND_VAR", "WEB_URL", "WEB_PORT", "SMTP_PORT", "PLUGSEND_MODE", "DJANGO_SETTINGS_MODULE"):
            clean.pop(name, None)
        ports = {"WEB_PORT": "0", "SMTP_PORT": "0", "SMTPS_PORT": "0", "SMTP_ALT_PORT": "0", "RETURNS_PORT": "0"}
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "plugsend.up", *arguments]
            return subprocess.Popen(command, cwd=self.root, env=clean | ports | env, stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        return self.root / "up.log"

    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.root / "var/up.json").read_text())
        except FileNotFoundError:
            return {"ready": False, "pid": 0, "children": {}}
        return found

    def wait_ready(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        def ready() -> bool:
            assert process.poll() is None, self.log.read_text()
            return bool(self.state()["ready"] and self.state()["pid"] == process.pid)

        wait_for(ready, "platform ready", 60)
        database = (self.root / "var/up.env").read_text().split("\n", 1)[0]
        self.runtime = Path(database.partition("?host=")[2])
        return self.state()


@pytest.fixture
def tree() -> Iterator[Tree]:
    root = Path(tempfile.mkdtemp(prefix="plugsend-up-", dir="/tmp"))
    root.chmod(0o755)
    package = root / "plugsend"
    shutil.copytree(REPO / "plugsend/engines", package / "engines")
    (root / "accounts").mkdir()
    for name in ("__init__", "files"):
        shutil.copy(REPO / f"accounts/{name}.py", root / "accounts")
    for name in ("__init__", "children", "forker", "ports", "secrets", "supervisor", "up", "web_server"):
        shutil.copy(REPO / f"plugsend/{name}.py", package)
    (package / "preload.py").write_text("import json\n")
    (package / "celery.py").write_text(CELERY)
    (root / "manage.py").write_text(MANAGE)
    tree = Tree(root)
    yield tree
    supervisor = tree.state()["pid"]
    if supervisor and is_alive(supervisor):
        os.kill(supervisor, signal.SIGTERM)
        wait_for(lambda: not is_alive(supervisor), "platform stopped")
    if tree.runtime is not None and tree.runtime.is_dir():
        tree.runtime.rmdir()  # left by a supervisor that was killed; empty, since its engines have stopped by now
    shutil.rmtree(root)


OURS = {"sandbox", "smtp", "returns", "web", "worker", "beat"}
FORKER = {"forker"} if sys.platform == "linux" else set()
ALL = {"postgres", "valkey", *FORKER, *OURS}


def is_up(state: dict[str, Any]) -> bool:
    try:
        with urllib.request.urlopen(f"{state['web_url']}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def came_back(tree: Tree, name: str, old: int) -> Callable[[], bool]:
    return lambda: tree.state()["children"].get(name) not in {None, old}


def test_platform_starts_says_where_it_is_and_stops_within_ten_seconds(tree: Tree) -> None:
    process = tree.up()
    state = tree.wait_ready(process)
    assert set(state["children"]) == ALL
    assert is_up(state)
    wait_for(lambda: "demonstration sent" in tree.log.read_text(), "demonstration")
    again = tree.up()
    assert again.wait(10) == 0
    assert f"PlugSend is already running: {state['web_url']}" in tree.log.read_text()
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert time.monotonic() - started < 10
    assert not any(is_alive(pid) for pid in state["children"].values())
    assert not (tree.root / "var/up.json").exists()
    assert "\x1b" not in tree.log.read_text()


def test_each_part_comes_back_after_kill_9(tree: Tree) -> None:
    process = tree.up("--no-demo", SMTP_PROCESSES="1")
    before = tree.wait_ready(process)["children"]
    for name, pid in before.items():
        os.kill(pid, signal.SIGKILL)
        wait_for(came_back(tree, name, pid), f"{name} back")
    wait_for(lambda: is_up(tree.state()), "web answers")
    assert set(tree.state()["children"]) == ALL
    assert "demonstration" not in tree.log.read_text()


def test_platform_killed_whole_starts_again_on_the_same_port(tree: Tree) -> None:
    process = tree.up("--no-demo")
    state = tree.wait_ready(process)
    for pid in (process.pid, *state["children"].values()):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    # What is left of the first one must not hold the port when the next one looks.
    port = state["web_url"].rpartition(":")[2]
    assert tree.wait_ready(tree.up("--no-demo", WEB_PORT=port))["web_url"] == state["web_url"]


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux'")
def test_killed_supervisor_takes_everything_with_it(tree: Tree) -> None:
    process = tree.up("--no-demo")
    state = tree.wait_ready(process)
    process.kill()
    process.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in state["children"].values()), "children gone", 10)
    wait_for(lambda: not is_up(state), "web gone", 5)


def test_preparation_that_fails_is_shown_and_nothing_is_left_running(tree: Tree) -> None:
    process = tree.up(PREPARE_EXIT="3")
    assert process.wait(60) == 1
    assert "`manage.py prepare` ended with exit code 3:\nprepared by a stand-in" in tree.log.read_text()
    assert not (tree.root / "var/engines/postgres/postmaster.pid").exists()


def test_a_failed_demonstration_is_told_and_the_platform_runs_on(tree: Tree) -> None:
    process = tree.up(DEMO_EXIT="1")
    tree.wait_ready(process)
    wait_for(lambda: "the demonstration failed (exit code 1)" in tree.log.read_text(), "told")
    assert is_up(tree.state())


def test_engines_of_ones_own_are_used_instead(tree: Tree) -> None:
    from plugsend.engines import scratch

    with scratch() as engines:
        env = {"DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url, "PLUGSEND_MODE": "live"}
        process = tree.up(**env)
        assert set(tree.wait_ready(process)["children"]) == {*FORKER, *OURS} - {"sandbox"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert not (tree.root / "var/engines").exists()


def test_a_taken_web_port_is_told_and_the_next_one_used(tree: Tree) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        process = tree.up("--no-demo", WEB_PORT=str(taken))
        state = tree.wait_ready(process)
    chosen = int(state["web_url"].rpartition(":")[2])
    assert chosen > taken
    assert f"port {taken} (WEB_PORT) is taken: using {chosen}" in tree.log.read_text()
