"""What a system of many processes costs: CPU time of all of them, memory, flushes of the disk.

CPU time comes from a cgroup (version 2) of the system's own where we may make one: it counts every process that ever
was in it, to the microsecond. Elsewhere it is the sum over the live process tree, with the children that were waited for
(`/proc/<pid>/stat`, `cutime` and `cstime`); what an orphan used is then missing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
END_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment."""

    cpu_s: float
    by_process: dict[int, tuple[str, float]]  # pid: (name, seconds), of those alive
    flushes: int  # of all disks, whoever asked


class Processes:
    """All processes of one system: those started with `join` as their preexec_fn, and their descendants."""

    def __init__(self, name: str, name_process: Callable[[int], str]) -> None:
        self._name_process = name_process
        self._group = _make_group(f"plugsend-bench-{os.getpid()}-{name}")
        self._roots: list[int] = []

    @property
    def method(self) -> str:
        return "cgroup" if self._group else "process tree"

    def join(self) -> None:
        """In the child, before it executes its program."""
        if self._group:
            (self._group / "cgroup.procs").write_text(str(os.getpid()))

    def add(self, pid: int) -> None:
        self._roots.append(pid)

    def pids(self) -> list[int]:
        if self._group:
            return [int(line) for line in (self._group / "cgroup.procs").read_text().split()]
        return _descendants(self._roots)

    def read(self) -> Reading:
        stats = {pid: stat for pid in self.pids() if (stat := _stat(pid))}
        by_process = {pid: (self._name_process(pid), own) for pid, (own, _) in stats.items()}
        if self._group:
            usage = (self._group / "cpu.stat").read_text().split()
            cpu_s = int(usage[usage.index("usage_usec") + 1]) / 1e6
        else:
            cpu_s = sum(own + waited for own, waited in stats.values())
        return Reading(cpu_s, by_process, _flushes())

    def memory_mib(self) -> dict[str, float]:
        """Proportional set size by process name: pages that are shared count once, divided among those who share them."""
        sizes: Counter[str] = Counter()
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        sizes[self._name_process(pid)] += int(line.split()[1])
        return {name: round(kib / 1024, 1) for name, kib in sizes.most_common()}

    def close(self) -> None:
        """Ends what is left of them."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + END_WITHIN_S
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            while self.pids() and time.monotonic() < deadline:
                time.sleep(0.05)
        if self._group:
            deadline = time.monotonic() + END_WITHIN_S
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):  # busy until the last of them is reaped
                    self._group.rmdir()
                    return
                time.sleep(0.05)


def used(before: Reading, after: Reading) -> tuple[float, dict[str, float]]:
    """CPU seconds of all, and by process name; `(ended)` is of those that ended meanwhile."""
    total = after.cpu_s - before.cpu_s
    names: dict[str, float] = defaultdict(float)
    for pid, (name, seconds) in after.by_process.items():
        names[name] += seconds - before.by_process.get(pid, (name, 0.0))[1]
    names["(ended)"] = max(0.0, total - sum(names.values()))
    most_first = sorted(names.items(), key=lambda item: -item[1])
    return total, {name: seconds for name, seconds in most_first if seconds > 0.005}


def _make_group(name: str) -> Path | None:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    for _, place, kind, *_ in mounts:
        if kind == "cgroup2":
            group = Path(place) / name
            with contextlib.suppress(OSError):
                group.mkdir()
                if (group / "cpu.stat").exists():
                    return group
    return None


def _stat(pid: int) -> tuple[float, float] | None:
    """Seconds of the process itself and of its children that were waited for (proc(5), fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    own_user, own_system, waited_user, waited_system = (int(field) / TICKS_A_SECOND for field in fields[11:15])
    return own_user + own_system, waited_user + waited_system


def _descendants(roots: list[int]) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid for pid in roots if pid in parents]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _flushes() -> int:
    """Flush requests completed (kernel documentation, iostats, field 16)."""
    lines = (line.split() for line in Path("/proc/diskstats").read_text().splitlines())
    return sum(int(fields[18]) for fields in lines if len(fields) > 18)
