"""Where a PlugSend process spends its time under one of the scenarios, seen from outside by py-spy.

    pip install py-spy && python -m benchmarks.spy worker --scenario burst [--native] [--flame worker.svg]
    python -m benchmarks.spy web --scenario rest

Prints milliseconds of CPU a message: by place (the innermost function of PlugSend's own on the stack, with all that it calls
in libraries; where there is none, the library), then for each function by itself, then with callees. What uvloop, OpenSSL,
psycopg's C part and the kernel use shows under the Python function that called them, or by name with `--native`. The load is
made longer than in `compare` so that the samples suffice. But for `--native` py-spy does not stop the process: stopping it
250 times a second multiplies what it uses; a few stacks come out garbled instead.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import rest
from benchmarks.compare import SCENARIOS, WARM_UP, run
from benchmarks.sink import Sink
from benchmarks.systems import free_port, make_keys
from benchmarks.systems.plugsend import REPO, PlugSend

LONGER = {
    "burst": {"messages": 400},
    "single": {"total": 4000},
    "large": {"messages": 100},
    "tls-out": {"messages": 400},
}
TOP = 45
OURS = re.compile(r"\((?:relay|events|domains|accounts|plugsend)/")
PLUMBING = re.compile(
    r"\((?:asyncio/(?:runners|events|base)|threading|manage|django|<frozen runpy|relay/management|contextlib)"
)
SITE_PACKAGES = re.compile(r"\S*/(?:site-packages|lib/python3\.\d+)/")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.spy", description="Profiles one of PlugSend's processes.")
    parser.add_argument("process", help="as the supervisor names it: smtp, worker, web, beat")
    parser.add_argument("--scenario", default="burst", choices=[*(scenario.name for scenario in SCENARIOS), "rest"])
    parser.add_argument("--native", action="store_true", help="with the functions of C extensions; slower")
    parser.add_argument(
        "--gil", action="store_true", help="only threads that hold the GIL; for processes with many that wait"
    )
    parser.add_argument("--rate", type=int, default=250, help="samples a second")
    parser.add_argument("--flame", type=Path, help="write a flame graph (SVG) instead")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of PlugSend's")
    options = parser.parse_args()
    if not shutil.which("py-spy"):
        print("py-spy is not installed: pip install py-spy", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="plugsend-spy-"))
    root.chmod(0o755)
    keys = make_keys(root)
    sink = Sink(free_port(), keys.certificate, keys.tls_key)
    settings = rest.UNLIMITED | dict(pair.split("=", 1) for pair in options.set)
    system = PlugSend(root / "plugsend", keys, sink.port, settings)
    (root / "plugsend").mkdir()
    try:
        system.start()
        text = record(system, *load_of(system, sink, options.scenario), options, root / "stacks")
    finally:
        system.stop()
        sink.stop()
        shutil.rmtree(root, ignore_errors=True)
    print(text)
    return 0


def load_of(system: PlugSend, sink: Sink, name: str) -> tuple[str, Callable[[], dict[str, Any]]]:
    """Warms the system up; returns the scenario's title and what runs it and returns its figures."""
    if name == "rest":
        rest.run(system, sink, rest.WARM_UP, "w")
        burst = replace(rest.SCENARIOS[0], load={"total": 8000})
        return "POST /api/v1/emails over 16 connections, 2 kB", lambda: rest.run(system, sink, burst, "r")
    run(system, sink, WARM_UP, "w", pipelining=False)
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    scenario = replace(scenario, load=scenario.load | LONGER.get(name, {}))
    return scenario.title, lambda: run(system, sink, scenario, "r", pipelining=False)


def record(
    system: PlugSend, title: str, load: Callable[[], dict[str, Any]], options: argparse.Namespace, raw: Path
) -> str:
    """Runs the load under py-spy's eyes; returns what is to be told."""
    command = ["py-spy", "record", "--pid", str(system.children[options.process]), "--rate", str(options.rate)]
    command += ["--native" if options.native else "--nonblocking"]  # it knows no way to have both
    command += ["--gil"] if options.gil else []
    command += ["--threads", "--duration", "600", "--format", "flamegraph" if options.flame else "raw"]
    command += ["--output", str(options.flame or raw)]
    spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        figures = load()
    finally:
        spy.send_signal(2)  # SIGINT: it writes what it has
        spy.wait(60)
    of = ", ".join(f"{name} {ms:.2f}" for name, ms in figures["cpu_ms_by_process"].items())
    told = f"{title}: {figures['end_to_end_s']:.0f}/s while watched; CPU, ms a message: {of}\n"
    if options.flame:
        return told
    return told + tops(raw.read_text(), figures["cpu_ms_by_process"].get(options.process, 0.0))


def tops(stacks: str, cpu_ms: float) -> str:
    """`cpu_ms` is what the process used a message; the samples say where."""
    places: Counter[str] = Counter()
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = [_short(frame) for frame in stack.split(";")]
        places[_place(thread, frames)] += int(count)
        own[frames[-1] if frames else thread] += int(count)
        whole.update(dict.fromkeys([thread, *frames], int(count)))
    total = own.total() or 1
    rows = [f"{total} samples; CPU, ms a message: {cpu_ms:.2f}"]
    for title, counts, most in (("by place", places, TOP), ("by itself", own, TOP), ("with callees", whole, 2 * TOP)):
        rows += ["", title]
        rows += [f"{count / total * cpu_ms:8.3f}  {name}" for name, count in counts.most_common(most)]
    return "\n".join(rows)


def _place(thread: str, frames: list[str]) -> str:
    thread = thread.partition(": ")[2] or re.sub(r" \(\d+\)$", "", thread)  # those of a pool together
    ours = next((frame for frame in reversed(frames) if OURS.search(frame)), "")
    if ours and not ours.endswith("commands/smtp.py)"):
        return f"{thread}: {ours}"
    foreign = [frame for frame in frames if not PLUMBING.search(frame)]
    library = foreign[-1] if foreign else "(event loop)"
    entry = next((frame for frame in foreign if "aiosmtpd" in frame and "smtp_" in frame), "")
    return f"{thread}: {f'{entry} > ' if entry and entry != library else ''}{library}"


def _short(frame: str) -> str:
    """`function (module path)`, lines of one function together."""
    frame = re.sub(r":\d+\)$", ")", frame)
    return SITE_PACKAGES.sub("", frame.replace(f"{REPO}/", ""))


if __name__ == "__main__":
    sys.exit(main())
