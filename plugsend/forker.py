"""Starts Python programs by fork from a process that has imported the platform once, so that all share those pages.

`python -m plugsend.forker <module>` imports the module and waits on its standard input, a socket, for command lines: each
runs in a fork of its own, as `python …` would run it. `Forker` is the other end. Linux only, and nobody depends on it:
where it is missing or fails, the same command lines are executed as usual, and only memory and time are lost.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_REQUEST_LIMIT = 64 * 1024
_ANSWER_WITHIN_S = 5.0
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ForkFailed(Exception):
    """No fork was made, and none will be."""


class Forker:
    """The supervisor's end. All of it in the supervisor's main thread, the parent of whatever is forked."""

    is_possible = sys.platform == "linux"

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._is_ready = False

    def open(self) -> socket.socket:
        """What the next forker process is to have as its standard input; the caller closes it."""
        self.close()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        return theirs

    def close(self) -> None:
        """The forker process, if there is one, ends; what it has forked lives on."""
        self._is_ready = False
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def is_ready(self) -> bool:
        if self._channel is not None and not self._is_ready:
            with contextlib.suppress(OSError):
                self._is_ready = self._channel.recv(16) == b"ready"
        return self._is_ready

    def fork(self, name: str, command: Sequence[str], output: tuple[int, int], orphan_signal: int) -> int:
        """Runs `command` (Python's, without the interpreter) as our own child; returns its pid. Raises ForkFailed.

        The child writes to `output` (standard output and error), leads a session, and gets `orphan_signal` when we die.
        """
        if self._channel is None or not self.is_ready():
            raise ForkFailed("The forker is not ready.")
        request = json.dumps(
            {"name": name, "command": list(command), "parent": os.getpid(), "orphan_signal": int(orphan_signal)}
        ).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.settimeout(_ANSWER_WITHIN_S)
            try:
                # The process between the forker and the child ends at once: its child becomes that of the nearest
                # "subreaper", us. Not for longer than that: we do not want to reap other orphans.
                _prctl(_PR_SET_CHILD_SUBREAPER, 1)
                socket.send_fds(self._channel, [request], [theirs.fileno(), *output])
                theirs.close()
                pid = int(ours.recv(16) or 0)
                if not pid:
                    raise ForkFailed("The forker could not fork.")
                ours.send(b"go")  # until it has read this, the child ends when we turn away
            except OSError as error:
                self.close()
                raise ForkFailed(f"The forker does not answer: {error}") from error
            finally:
                _prctl(_PR_SET_CHILD_SUBREAPER, 0)
        return pid


# ---- the forker process ----------------------------------------------------------------------------------------------


def main(preload: str) -> None:
    channel = socket.socket(fileno=os.dup(0))
    _connect_standard(os.open(os.devnull, os.O_RDONLY), 0)
    importlib.import_module(preload)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise SystemExit(f"{preload} starts threads ({threads}): a lock that one of them holds would be held forever.")
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so unshare its page
    channel.send(b"ready")
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, _REQUEST_LIMIT, 3)
        if not data:
            return
        request = json.loads(data)
        answer = socket.socket(fileno=descriptors[0])
        if _is_child(answer, request):
            channel.close()
            for number, descriptor in enumerate(descriptors[1:], 1):
                _connect_standard(descriptor, number)
            _run(request["command"])
            return
        answer.close()
        for descriptor in descriptors[1:]:
            os.close(descriptor)


def _is_child(answer: socket.socket, request: dict[str, object]) -> bool:
    """Forks. True in the new process, once it is the supervisor's child and the supervisor knows of it."""
    try:
        between = os.fork()
    except OSError:
        return False
    if between:
        os.waitpid(between, 0)
        return False
    try:
        if os.fork():
            os._exit(0)
        os.setsid()
        _name_process(f"plugsend {request['name']}")
        parent = int(str(request["parent"]))
        _wait_for_parent(parent)
        _prctl(_PR_SET_PDEATHSIG, int(str(request["orphan_signal"])))
        answer.send(str(os.getpid()).encode())
        if os.getppid() != parent or answer.recv(16) != b"go":
            os._exit(1)
        answer.close()
    except OSError:
        os._exit(1)
    return True


def _wait_for_parent(parent: int) -> None:
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while os.getppid() != parent:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.0005)


def _run(command: Sequence[str]) -> None:
    """As `python <command>` would: `-m module arguments…` or `script arguments…`."""
    if command[0] == "-m":
        module, *arguments = command[1:]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        sys.path[0] = str(Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")


def _connect_standard(descriptor: int, number: int) -> None:
    os.dup2(descriptor, number)
    os.close(descriptor)


def _name_process(title: str) -> None:
    """What `ps` and `top` show, cut to the room that our own command line has (proc(5), fields 48 and 49 of stat)."""
    Path("/proc/self/comm").write_text(title.replace(" ", "-")[:15])
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    ctypes.memmove(start, title.encode()[: end - start - 1].ljust(end - start, b"\0"), end - start)


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1])
