"""Checks templates and fills them in, in processes apart: none can hold, crash or look into the one that asks.

A *press* is such a process (`worker.py`): it has no environment, may open nothing, and the kernel ends it when one request
takes more than `CPU_SECONDS` or it grows too large. There are a few for each of our processes, started when they are needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounts.catalogue import Refused
from relay.templating.frames import read_frame, write_frame
from relay.templating.problems import Problem

CPU_SECONDS = 0.4  # of one request
MEMORY_OCTETS = 512 * 1024 * 1024  # of address space
PRESSES = 2
WAIT_SECONDS = 10  # for a press to be free
HOME = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """What a template says. An empty part is not there; an absent text is made from the HTML."""

    subject: str = ""
    html: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """Where a variable is first asked for."""

    name: str
    part: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Checked:
    problems: tuple[Problem, ...]
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """`html` and `text` are None where the template has none."""

    subject: str
    html: str | None
    text: str | None


class TooCostly(Exception):
    """The request took too much time or memory, and its process was ended."""


class Unfit(Exception):
    """The template cannot be filled in with these variables."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def check(source: Source) -> Checked:
    """All that is wrong with a template, and which variables it uses. Raises `TooCostly`, `Refused`."""
    answer = _ask({"do": "check", **_parts(source)})
    return Checked(
        tuple(Problem(**problem) for problem in answer["problems"]), tuple(Use(**use) for use in answer["uses"])
    )


def render(source: Source, variables: Mapping[str, Any]) -> Rendered:
    """Raises `Unfit`, `TooCostly`, `Refused`."""
    answer = _ask({"do": "render", **_parts(source), "variables": dict(variables)})
    if "problem" in answer:
        raise Unfit(Problem(**answer["problem"]))
    return Rendered(answer["subject"], answer["html"], answer["text"])


def _parts(source: Source) -> dict[str, str]:
    return {"subject": source.subject, "html": source.html, "text": source.text}


class Press:
    """One process. It ends when its standard input does, so it cannot outlive us."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relay.templating.worker", str(CPU_SECONDS), str(MEMORY_OCTETS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=HOME,
            env={"TZ": "UTC", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_gone(self) -> bool:
        """Something ended it while it had nothing to do."""
        return self._process.poll() is not None

    def ask(self, request: bytes) -> bytes:
        """Raises `TooCostly`; the press is of no use any more then."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        try:
            write_frame(to, request)
            answer = read_frame(back)
        except OSError:
            answer = None
        if answer is None:
            self.close()
            raise TooCostly
        return answer

    def close(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was still to be written
                    pipe.close()
        self._process.wait()


class _Presses:
    """Those of this process."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self._free: queue.LifoQueue[Press | None] = queue.LifoQueue()
        for _ in range(PRESSES):
            self._free.put(None)  # started when it is first needed

    def ask(self, request: bytes) -> bytes:
        try:
            press = self._free.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            raise Refused("temporarily_unavailable") from None
        try:
            if press and press.is_gone:
                press.close()
                press = None
            press = press or Press()
            return press.ask(request)
        except BaseException:
            press = None
            raise
        finally:
            self._free.put(press)


_lock = threading.Lock()
_presses: _Presses | None = None


def _ask(request: dict[str, Any]) -> Any:
    global _presses
    with _lock:
        if _presses is None or _presses.process_id != os.getpid():  # a forked child has its own
            _presses = _Presses()
        presses = _presses
    return json.loads(presses.ask(json.dumps(request).encode()))
