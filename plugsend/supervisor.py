"""Keeps a set of child processes running: their logs on one screen, restarts with back-off, an orderly stop.

It knows nothing of PlugSend or Django; `plugsend.up` says what runs. Everything happens in one thread: a child asks for
its death signal (below) against the *thread* that forked it, so only a thread that lives as long as we do may fork.
"""

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import TextIO

from plugsend.children import Process, Program, describe_exit, end, signal_group, spawn

RESTART_FIRST_S, RESTART_MAX_S = 0.2, 5.0
STEADY_AFTER_S = 10.0  # a child that ran this long has earned a fresh back-off
FAILURES_AT_START = 3  # so often may a child die while somebody waits for it to become ready

_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # mail content reaches logs: it must not steer the terminal
_LINE_LIMIT = 64 * 1024  # octets after which a line without an end is shown all the same


class StartFailed(Exception):
    """Something did not become ready; the text says what."""


class StopRequested(Exception):
    """A signal asked us to stop while we were waiting for something."""


class Screen:
    """Lines of many processes on one output, each with its aligned name before it."""

    def __init__(self, out: TextIO, width: int = 8) -> None:
        self._out = out
        self._width = width
        self._colour = out.isatty() and "NO_COLOR" not in os.environ
        self._colours: dict[str, int] = {}

    def line(self, name: str, text: str) -> None:
        label = f"{name:<{self._width}} |"
        if self._colour:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            label = f"\x1b[{colour}m{label}\x1b[0m"
        self.plain(f"{label} {_CONTROL.sub('', text)}")

    def plain(self, text: str) -> None:
        # A closed terminal or pipe costs us the log, not the platform.
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text + "\n")
            self._out.flush()


@dataclass
class _Child:
    program: Program
    show: Callable[[str], None]
    restart: bool = True
    process: Process | None = None
    started_at: float = 0.0
    delay_s: float = RESTART_FIRST_S
    due_at: float | None = None
    failures: int = 0
    exit_code: int | None = None
    rest: bytes = field(default=b"", repr=False)


class Supervisor:
    """Use as a context manager in the main thread: leaving it stops every child, whatever happened inside."""

    def __init__(
        self,
        *,
        out: TextIO = sys.stdout,
        on_change: Callable[[Mapping[str, int]], None] = lambda pids: None,
    ) -> None:
        self.screen = Screen(out)
        self._on_change = on_change
        self._children: dict[str, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._stop_signals = 0
        self._stopping = False

    # ---- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> "Supervisor":
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._old_wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._old_handlers = {number: signal.signal(number, self._on_signal) for number in self._signals()}
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.stop()
        finally:
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._old_wakeup)
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    @staticmethod
    def _signals() -> Iterator[signal.Signals]:
        yield from (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup stays nohup
            yield signal.SIGHUP

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._stop_signals += 1

    # ---- what a caller does ---------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.screen.line("plugsend", text)

    def start(self, program: Program) -> None:
        """Starts a child that is to run until `stop`."""
        child = _Child(program, lambda line: self._show(program, line))
        self._children[program.name] = child
        self._launch(child)

    def run(self, program: Program, *, attached: bool = False) -> tuple[int, str]:
        """Runs a command to its end while the others run on; returns exit code and output.

        An attached command writes to our own output instead. Raises StopRequested.
        """
        lines: list[str] = []
        child = _Child(program, lines.append, restart=False)
        self._children[program.name] = child
        self._launch(child, attached=attached)
        try:
            while child.exit_code is None:
                self._turn(0.5)
                self._raise_when_stopped()
        finally:
            if child.exit_code is not None:
                del self._children[program.name]
        return child.exit_code, "\n".join(lines)

    def wait_until(self, probe: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Waits for `probe`; raises StartFailed after `timeout_s` or when a child keeps dying, or StopRequested."""
        deadline = time.monotonic() + timeout_s
        while not probe():
            self._turn(0.02)
            self._raise_when_stopped()
            for child in self._children.values():
                if child.failures >= FAILURES_AT_START:
                    raise StartFailed(f"{child.program.name} keeps stopping; its last lines are above.")
            if time.monotonic() > deadline:
                raise StartFailed(f"{what} was not ready after {timeout_s:g} s.")

    def serve(self) -> None:
        """Runs until a signal asks us to stop."""
        for child in self._children.values():
            child.failures = 0
        while not self._stop_signals:
            self._turn(1.0)

    def stop(self) -> None:
        """Stops children rank by rank. A rank may use what earlier ones left of their budgets; then it is killed.

        Another stop signal meanwhile cuts all budgets short.
        """
        self._stopping = True
        signals_before = self._stop_signals
        deadline = time.monotonic()
        for rank in sorted({child.program.stop_rank for child in self._children.values()}):
            group = [child for child in self._children.values() if child.program.stop_rank == rank]
            deadline += max(child.program.stop_budget_s for child in group)
            for child in group:
                if child.process is not None:
                    child.process.send_signal(child.program.stop_signal)
            while any(child.process for child in group) and time.monotonic() < deadline:
                self._turn(0.1)
                if self._stop_signals > signals_before:
                    break
            for child in group:
                if child.process is not None:
                    self.screen.line("plugsend", f"{child.program.name} did not stop in time: killed")
                    end(child.process, child.program.kill_signal, timeout_s=0.5)
                    self._reap(child)
        self._children.clear()

    def _show(self, program: Program, line: str) -> None:
        if line.strip() and not any(text in line for text in program.hidden):
            self.screen.line(program.name, line)

    # ---- the turn of the wheel ------------------------------------------------------------------------------------

    def _turn(self, timeout_s: float) -> None:
        """Waits for something to happen, at most `timeout_s`, and does what is due."""
        now = time.monotonic()
        due = [child.due_at - now for child in self._children.values() if child.due_at is not None]
        for key, _ in self._selector.select(max(0.0, min([timeout_s, *due]))):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                self._pump(key.data)
        for child in list(self._children.values()):
            if child.process is not None and child.process.poll() is not None:
                self._reap(child)
            if child.due_at is not None and child.due_at <= time.monotonic() and not self._stopping:
                self._launch(child)

    def _raise_when_stopped(self) -> None:
        if self._stop_signals:
            raise StopRequested

    def _launch(self, child: _Child, *, attached: bool = False) -> None:
        child.due_at = None
        child.started_at = time.monotonic()
        try:
            if child.program.before_start is not None:
                child.program.before_start()
            child.process = spawn(child.program, stdout=None if attached else subprocess.PIPE)
        except OSError as error:
            child.show(f"cannot start: {error}")
            self._lost(child, 127)
            return
        if child.process.stdout is not None:
            os.set_blocking(child.process.stdout.fileno(), False)
            self._selector.register(child.process.stdout, selectors.EVENT_READ, child)
        self._report_pids()

    def _pump(self, child: _Child) -> None:
        pipe = child.process.stdout if child.process else None
        if pipe is None:
            return
        try:
            data = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(pipe)
            return
        *lines, child.rest = (child.rest + data).split(b"\n")
        if len(child.rest) > _LINE_LIMIT:
            lines, child.rest = [*lines, child.rest], b""
        for line in lines:
            child.show(line.decode(errors="replace").rstrip("\r"))

    def _reap(self, child: _Child) -> None:
        """A child has ended: shows its last words, clears away what it left behind, plans its return."""
        process = child.process
        assert process is not None
        code = process.wait()
        # What a killed child had started would hold its port against the successor.
        signal_group(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            while process.stdout in self._selector.get_map() and self._selector_ready(process.stdout.fileno()):
                self._pump(child)
            with contextlib.suppress(KeyError):
                self._selector.unregister(process.stdout)
            process.stdout.close()
        if child.rest:
            child.show(child.rest.decode(errors="replace"))
        child.process, child.rest = None, b""
        self._lost(child, code)

    @staticmethod
    def _selector_ready(descriptor: int) -> bool:
        with selectors.DefaultSelector() as one:
            one.register(descriptor, selectors.EVENT_READ)
            return bool(one.select(0))

    def _lost(self, child: _Child, code: int) -> None:
        child.exit_code = code
        self._report_pids()
        if self._stopping or not child.restart:
            return
        if time.monotonic() - child.started_at >= STEADY_AFTER_S:
            child.delay_s, child.failures = RESTART_FIRST_S, 0
        child.failures += 1
        child.due_at = time.monotonic() + child.delay_s
        self.say(f"{child.program.name} {describe_exit(code)}; starting it again in {child.delay_s:g} s")
        child.delay_s = min(child.delay_s * 2, RESTART_MAX_S)

    def _report_pids(self) -> None:
        children = self._children.values()
        self._on_change({c.program.name: c.process.pid for c in children if c.process is not None and c.restart})
