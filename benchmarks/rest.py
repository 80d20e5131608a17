"""The REST door: what `POST /api/v1/emails` bears, and django-post_office's `mail.send` behind a plain DRF view beside it.

    python -m benchmarks.rest [--rounds 3] [--systems plugsend,accepting,post_office] [--scenarios burst,steady] [--save]

`plugsend` delivers while it accepts, as it always does. `accepting` is PlugSend without a worker: mail is taken and waits, as
it does in django-post_office's table. *Accepting* counts web and database processes of either, so compare `accepting` with
`post_office`; under `plugsend` the database's share is also that of delivery.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks import table
from benchmarks.compare import ARRIVE_WITHIN_S, SETTLE_S, save, summary
from benchmarks.measure import Processes, used
from benchmarks.sink import Account, Sink
from benchmarks.systems import CannotRun, free_port, make_keys
from benchmarks.systems.plugsend import PlugSend
from benchmarks.systems.post_office import PostOffice

UNLIMITED = {"API_KEY_RATE": "100000", "API_ORGANIZATION_RATE": "100000"}  # a second: counted, never reached
ACCEPTING = ("web", "postgres")
RIVAL = "post_office"


class RestSystem(Protocol):
    name: str
    processes: Processes

    @property
    def web_port(self) -> int: ...

    @property
    def authorization(self) -> str: ...

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RestScenario:
    name: str
    title: str
    load: dict[str, Any]


SCENARIOS = [
    RestScenario("burst", "Burst: 16 kept connections, 4,000 requests of 2 kB text and HTML", {"total": 4000}),
    RestScenario("steady", "50 requests a second for 20 s, 2 kB", {"rate": 50.0, "total": 1000}),
]
WARM_UP = RestScenario("warm-up", "", {"total": 400})
COLUMNS: list[tuple[str, Callable[[dict[str, Any]], float], str]] = [
    ("accepted/s", lambda f: f["accepted_s"], ".0f"),
    ("CPU ms/request, all", lambda f: f["cpu_ms"], ".2f"),
    ("accepting CPU ms/request", lambda f: f["accepting_cpu_ms"], ".2f"),
    ("accepted/accepting CPU s", lambda f: 1000 / f["accepting_cpu_ms"], ".0f"),
    ("answer p50 ms", lambda f: f["submit_ms"]["p50"], ".1f"),
    ("answer p99 ms", lambda f: f["submit_ms"]["p99"], ".1f"),
    ("delivery p50 ms", lambda f: f["delivery_ms"]["p50"], ".1f"),
    ("memory MiB", lambda f: f["memory_mib"], ".0f"),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.rest", description="Measures the REST door on this machine.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default="plugsend,accepting,post_office")
    parser.add_argument("--scenarios", default=",".join(scenario.name for scenario in SCENARIOS))
    parser.add_argument("--total", type=int, help="requests of the burst, for a quick look")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of PlugSend's")
    parser.add_argument("--save", action="store_true", help="keep the figures in benchmarks/results")
    options = parser.parse_args()
    settings = UNLIMITED | dict(pair.split("=", 1) for pair in options.set)
    wanted = options.scenarios.split(",")
    scenarios = [_sized(scenario, options.total) for scenario in SCENARIOS if scenario.name in wanted]
    root = Path(tempfile.mkdtemp(prefix="plugsend-rest-"))
    root.chmod(0o755)  # PostgreSQL's account has to get through
    keys = make_keys(root)
    sink = Sink(free_port(), keys.certificate, keys.tls_key)
    makers: dict[str, Callable[[Path], RestSystem]] = {
        "plugsend": lambda place: PlugSend(place, keys, sink.port, settings),
        "accepting": lambda place: PlugSend(place, keys, sink.port, settings | {"WORKER_PROCESSES": "0"}),
        RIVAL: PostOffice,
    }
    systems = options.systems.split(",")
    figures: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    try:
        for number in range(options.rounds):
            turn = number % len(systems)
            for name in systems[turn:] + systems[:turn]:
                place = root / f"{name}-{number}"
                place.mkdir()
                system = makers[name](place)
                takes_mail = sink if name == "plugsend" else None
                try:
                    system.start()
                    versions[system.name] = system.version()
                    run(system, takes_mail, WARM_UP, f"w{number}")
                    for scenario in scenarios:
                        figure = run(system, takes_mail, scenario, f"r{number}")
                        figures.append({"system": name, "scenario": scenario.name, "round": number, **figure})
                        print(_line(figures[-1]), file=sys.stderr, flush=True)
                finally:
                    system.stop()
                shutil.rmtree(place, ignore_errors=True)
    except CannotRun as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        sink.stop()
        shutil.rmtree(root, ignore_errors=True)
    outcome = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": table.machine(),
        "versions": versions,
        "settings": settings,
        "scenarios": {scenario.name: scenario.title for scenario in scenarios},
        "figures": figures,
    }
    print(_whole(outcome))
    if options.save:
        save(outcome, "rest")
    return 0


def run(system: RestSystem, sink: Sink | None, scenario: RestScenario, prefix: str) -> dict[str, Any]:
    """One scenario once; with a sink until all has arrived there. Returns its figures."""
    prefix = f"{prefix}-{scenario.name}"
    if sink:
        sink.begin(prefix=prefix)
    time.sleep(SETTLE_S)
    before = system.processes.read()
    report = _load(system, prefix, scenario)
    account = sink.expect(len(report["sent"]), ARRIVE_WITHIN_S) if sink else Account()
    time.sleep(SETTLE_S)
    cpu_s, by_process = used(before, system.processes.read())
    count = len(report["sent"]) or 1
    memory = system.processes.memory_mib()
    return {
        **summary(report, account),
        "lost": count - len(account.arrived) if sink else 0,
        "cpu_ms": cpu_s * 1000 / count,
        "cpu_ms_by_process": {name: seconds * 1000 / count for name, seconds in by_process.items()},
        "accepting_cpu_ms": sum(by_process.get(name, 0.0) for name in ACCEPTING) * 1000 / count,
        "cpu_method": system.processes.method,
        "load_cpu_ms": report["cpu_s"] * 1000 / count,
        "memory_mib": sum(memory.values()),
        "memory_mib_by_process": memory,
    }


def _load(system: RestSystem, prefix: str, scenario: RestScenario) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.rest_load", "--json", "--run", prefix]
    command += ["--port", str(system.web_port), "--authorization", system.authorization]
    for name, value in scenario.load.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=180)
    return dict(json.loads(done.stdout))


def _sized(scenario: RestScenario, total: int | None) -> RestScenario:
    if not total or scenario.load.get("rate"):
        return scenario
    title = f"Burst: 16 kept connections, {total:,} requests of 2 kB text and HTML"
    return RestScenario(scenario.name, title, scenario.load | {"total": total})


# ---- Telling -------------------------------------------------------------------------------------------------------------


def _line(figure: dict[str, Any]) -> str:
    values = ", ".join(f"{title} {format(value(figure), spec)}" for title, value, spec in COLUMNS)
    return f"{figure['system']:11} {figure['scenario']:7} {values}{_trouble(figure)}"


def _trouble(figure: dict[str, Any]) -> str:
    wrong = [f"{figure[name]} {name}" for name in ("lost", "twice") if figure[name]]
    wrong += [f"refused {figure['refused']}"] if figure["refused"] else []
    return f"  !! {', '.join(wrong)}" if wrong else ""


def _whole(outcome: dict[str, Any]) -> str:
    """Markdown: medians, smallest and largest in brackets; PlugSend's rows by django-post_office's; CPU by process."""
    parts = [f"{outcome['date']}, {outcome['machine']}; " + "; ".join(outcome["versions"].values()) + "."]
    for name, title in outcome["scenarios"].items():
        figures = [figure for figure in outcome["figures"] if figure["scenario"] == name]
        if figures:
            parts.append(_scenario(title, figures))
    return "\n\n".join(parts)


def _scenario(title: str, figures: list[dict[str, Any]]) -> str:
    of: dict[str, list[dict[str, Any]]] = {}
    for figure in sorted(figures, key=lambda f: ("plugsend", "accepting", RIVAL).index(f["system"])):
        of.setdefault(figure["system"], []).append(figure)
    heading = " | ".join(column for column, _, _ in COLUMNS)
    rows = [f"**{title}**", "", f"| | {heading} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for system, runs in of.items():
        cells = [table.spread([value(run) for run in runs], spec) for _, value, spec in COLUMNS]
        rows.append(f"| {system} | {' | '.join(cells)} |")
    for system in of if RIVAL in of else ():
        if system != RIVAL:
            rows.append(f"| {system} / {RIVAL} | {' | '.join(_ratio(of[system], of[RIVAL], c[1]) for c in COLUMNS)} |")
    for system, runs in of.items():
        rows += ["", f"{system}, CPU, ms a request: {table.by_process(runs, 'cpu_ms_by_process', '.2f')}."]
    wrong = [f"{figure['system']}, round {figure['round']}: {text}" for figure in figures if (text := _trouble(figure))]
    return "\n".join([*rows, *wrong])


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> str:
    rival = statistics.median(value(figure) for figure in theirs)
    return f"{statistics.median(value(figure) for figure in ours) / rival:.2f}" if rival else "-"


if __name__ == "__main__":
    sys.exit(main())
