"""Child processes that do not outlive us, and how to find and end those of a predecessor that did."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from plugsend.forker import Forker, ForkFailed

MARK = "PLUGSEND_SUPERVISED_BY"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PROC = Path("/proc")
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """One long-running command, and how it likes to be stopped."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None
    owner: tuple[int, int] | None = None  # uid and gid to run as; only root can ask for it
    stdin: bytes | Callable[[], socket.socket] = b""  # octets: few (a pipe holds them); keep secrets out of `ps`
    stop_rank: int = 0  # lower stops earlier
    stop_budget_s: float = 2.0
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL  # when the budget is used up
    orphan_signal: signal.Signals = signal.SIGKILL  # sent by the kernel when we die
    hidden: tuple[str, ...] = ()  # log lines that contain one of these tell nobody anything
    before_start: Callable[[], None] | None = None  # runs before every (re)start
    forker: Forker | None = None  # may run the command (Python's) instead of executing it; it has the same environment


class Process(Protocol):
    """A child of ours, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


def spawn(program: Program, *, stdout: int | IO[bytes] | None) -> Process:
    """Starts a program in a session of its own, so that Ctrl-C reaches only us. Raises OSError."""
    if program.forker is not None and stdout in {None, subprocess.PIPE} and program.forker.is_ready():
        with contextlib.suppress(ForkFailed):
            return _fork(program, program.forker, piped=stdout is not None)
    return _execute(program, stdout)


def _fork(program: Program, forker: Forker, *, piped: bool) -> Process:
    command = program.command[1:]  # without the interpreter
    if not piped:
        pid = forker.fork(program.name, command, (1, 2), program.orphan_signal)
        return _Forked(pid, None)
    read, write = os.pipe()
    try:
        pid = forker.fork(program.name, command, (write, write), program.orphan_signal)
    except ForkFailed:
        os.close(read)
        raise
    finally:
        os.close(write)
    return _Forked(pid, os.fdopen(read, "rb"))


def _execute(program: Program, stdout: int | IO[bytes] | None) -> subprocess.Popen[bytes]:
    uid, gid = program.owner or (None, None)
    channel = program.stdin() if callable(program.stdin) else None
    with channel or contextlib.nullcontext():
        process = subprocess.Popen(
            program.command,
            env=dict(program.env),
            cwd=program.cwd,
            stdin=channel.fileno() if channel else subprocess.PIPE if program.stdin else subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout is not None else None,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=[] if program.owner else None,
            preexec_fn=_die_with_parent(program.orphan_signal),
        )
    if process.stdin is not None and isinstance(program.stdin, bytes):
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(program.stdin)
            process.stdin.close()
    return process


class _Forked:
    """A child that the forker made for us."""

    def __init__(self, pid: int, stdout: IO[bytes] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("", timeout or 0)
            time.sleep(0.005)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    # prctl(2): the signal comes when the *thread* that forked ends; from a passing thread it would come too early.
    if _libc is None or threading.current_thread() is not threading.main_thread():
        return None
    libc, parent = _libc, os.getpid()

    def ask_for_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return ask_for_death_signal


def end(process: Process, number: signal.Signals, *, timeout_s: float) -> None:
    """Ends a child with the given signal; after `timeout_s`, its whole group with SIGKILL."""
    process.send_signal(number)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"stopped with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def end_strays(mark: str, *, timeout_s: float = 3.0) -> list[int]:
    """Ends what a killed predecessor left running: processes that carry `MARK=mark` in their environment.

    The caller must hold the lock that the predecessor held. Without /proc (macOS) nothing is found.
    """
    strays = list(_marked(f"{MARK}={mark}".encode()))
    for pid in strays:
        _signal(pid, signal.SIGTERM)
    wait_gone(strays, timeout_s)
    for pid in strays:
        _signal(pid, signal.SIGKILL)
    wait_gone(strays, 1.0)
    return strays


def wait_gone(pids: Sequence[int], timeout_s: float) -> bool:
    """Whether all of these processes, not necessarily our children, have ended within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not, even where (in containers) nobody ever reaps it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if _PROC.exists():
        with contextlib.suppress(OSError):
            # proc(5): the state letter follows the command's name, which stands in parentheses and may hold any.
            return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True


def command_line(pid: int) -> str:
    """The command line of any process, arguments separated by blanks; empty when it is gone."""
    if _PROC.exists():
        with contextlib.suppress(OSError):
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def _marked(wanted: bytes) -> Iterator[int]:
    for entry in _PROC.glob("[0-9]*") if _PROC.exists() else ():
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
