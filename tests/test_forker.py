"""The forker: programs run as if executed, as the supervisor's own children, and nothing depends on it."""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugsend.children import Program, command_line, is_alive
from plugsend.forker import Forker
from plugsend.supervisor import StartFailed, Supervisor

pytestmark = pytest.mark.skipif(not Forker.is_possible, reason="the forker is Linux' only")

REPO = Path(__file__).resolve().parent.parent
BALLAST_MIB = 64
UP_AND_SLEEP = "import os, sys, time; print('up', sys.argv[1:], flush=True); time.sleep(60)"


class Scene:
    """A supervisor with a forker that has imported a module of ballast."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.out = io.StringIO()
        self.pids: dict[str, int] = {}
        self.supervisor = Supervisor(out=self.out, on_change=self._changed)
        self.forker = Forker()
        self.env = {"PYTHONPATH": f"{REPO}:{place}", "PYTHONUNBUFFERED": "1"}

    def start_forker(self, preload: str = f"memory = b'x' * {BALLAST_MIB << 20}") -> None:
        (self.place / "ballast.py").write_text(preload)
        command = [sys.executable, "-m", "plugsend.forker", "ballast"]
        self.supervisor.start(Program("forker", command, self.env, self.place, stdin=self.forker.open))
        self.supervisor.wait_until(self.forker.is_ready, "the forker", 20)

    def program(self, name: str, code: str, *arguments: str, forked: bool = True) -> Program:
        (self.place / f"{name}.py").write_text(code)
        command = [sys.executable, str(self.place / f"{name}.py"), *arguments]
        return Program(name, command, self.env, self.place, forker=self.forker if forked else None)

    def start(self, name: str, code: str = UP_AND_SLEEP, *, forked: bool = True) -> int:
        self.supervisor.start(self.program(name, code, forked=forked))
        self.wait(lambda: f"{name:<8} | up" in self.out.getvalue(), f"{name} is up")
        return self.pids[name]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        self.supervisor.wait_until(condition, what, 20)

    def came_back(self, name: str, old: int) -> Callable[[], bool]:
        return lambda: self.pids.get(name, old) != old

    def _changed(self, pids: Mapping[str, int]) -> None:
        self.pids = dict(pids)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    with scene.supervisor:
        yield scene


def private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1024


REPORT = """
import atexit, os, signal, sys
print(__name__, sys.argv[1:], sys.path[0] == os.path.dirname(__file__), "ballast" in sys.modules)
print(os.getppid(), os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
print(sys.stdin.read() == "", len(os.listdir("/proc/self/fd")) == 4)  # the listing itself is one
print("not lost", file=sys.stderr)
atexit.register(print, "at exit")
sys.exit(7)
"""


def test_a_forked_program_runs_as_if_executed(scene: Scene) -> None:
    scene.start_forker()
    code, output = scene.supervisor.run(scene.program("report", REPORT, "one", "two words"))
    assert output.splitlines() == [
        "__main__ ['one', 'two words'] True True",
        f"{os.getpid()} True True",
        "True True",
        "not lost",
        "at exit",
    ]
    assert code == 7


def test_a_module_and_an_error_are_as_with_python_itself(scene: Scene) -> None:
    scene.start_forker()
    (scene.place / "broken.py").write_text("import sys; print(sys.argv[1:]); raise ValueError('told')")
    program = Program("broken", [sys.executable, "-m", "broken", "-x"], scene.env, scene.place, forker=scene.forker)
    code, output = scene.supervisor.run(program)
    assert code == 1
    assert output.splitlines()[0] == "['-x']"
    assert output.splitlines()[-1] == "ValueError: told"


def test_forked_programs_share_what_was_imported_and_have_their_own_names(scene: Scene) -> None:
    scene.start_forker()
    forked = scene.start("smtp")
    assert private_mib(forked) < BALLAST_MIB / 4
    assert command_line(forked).strip(" ") == "plugsend smtp"
    assert Path(f"/proc/{forked}/comm").read_text() == "plugsend-smtp\n"


def test_a_forked_child_is_stopped_and_its_death_is_told(scene: Scene) -> None:
    scene.start_forker()
    pid = scene.start("smtp")
    os.kill(pid, signal.SIGKILL)
    scene.wait(scene.came_back("smtp", pid), "smtp is back")
    assert "smtp was killed by SIGKILL; starting it again" in scene.out.getvalue()
    scene.wait(lambda: scene.out.getvalue().count("| up") == 2, "up again")
    again = scene.pids["smtp"]
    assert command_line(again).startswith("plugsend smtp")
    scene.supervisor.stop()
    assert not is_alive(again)


def test_children_outlive_the_forker_and_start_without_it(scene: Scene) -> None:
    scene.start_forker()
    smtp, forker = scene.start("smtp"), scene.pids["forker"]
    os.kill(forker, signal.SIGKILL)
    web = scene.start("web")  # at once: the supervisor has not even noticed
    assert command_line(web).startswith(sys.executable)
    assert is_alive(smtp)
    scene.wait(scene.came_back("forker", forker), "forker is back")
    scene.wait(scene.forker.is_ready, "forker is ready")
    assert command_line(scene.start("worker")).startswith("plugsend worker")
    assert scene.pids["smtp"] == smtp


def test_a_forker_that_hangs_does_not_hold_up_the_rest(scene: Scene) -> None:
    scene.start_forker()
    forker = scene.pids["forker"]
    with stopped(forker):
        executed = scene.start("smtp")
        assert command_line(executed).startswith(sys.executable)
    # What it was asked for in vain it may still fork, but that child finds nobody waiting for it and ends.
    scene.wait(scene.came_back("forker", forker), "the forker is replaced")
    scene.wait(scene.forker.is_ready, "forker is ready")
    assert scene.out.getvalue().count("| up") == 1
    assert scene.pids["smtp"] == executed


def test_nothing_is_forked_beside_threads(scene: Scene) -> None:
    with pytest.raises(StartFailed, match="forker keeps stopping"):
        scene.start_forker(
            "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
        )
    assert "ballast starts threads" in scene.out.getvalue()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
