"""PlugSend beside Postfix with OpenDKIM and beside Haraka: the same mail on the same machine, one table.

    python -m benchmarks.compare [--rounds 3] [--systems plugsend,postfix,haraka] [--scenarios burst,single,…] [--save]

In each round each system is started, warmed up, put through the scenarios and stopped; the order turns from round to round.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dkim

from benchmarks import table
from benchmarks.measure import used
from benchmarks.sink import Account, Sink
from benchmarks.systems import USER, CannotRun, Keys, System, free_port, make_keys
from benchmarks.systems.haraka import Haraka
from benchmarks.systems.plugsend import PlugSend
from benchmarks.systems.postfix import Postfix

ARRIVE_WITHIN_S = 60.0
SETTLE_S = 0.7  # what is written after the last arrival belongs to the messages too
SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    load: dict[str, Any]
    sink: dict[str, Any] = field(default_factory=dict)
    optional: bool = False  # only when asked for by name


SCENARIOS = [
    Scenario("burst", "Burst: 20 connections, 100 messages each, 2 kB", {"connections": 20, "messages": 100}),
    Scenario("single", "One message a connection, 20 at once, 2 kB", {"connections": 20, "messages": 1, "total": 800}),
    Scenario("steady", "50 messages a second for 20 s on kept connections, 2 kB", {"rate": 50.0, "total": 1000}),
    Scenario("large", "Burst: 20 connections, 25 messages each, 100 kB", {"messages": 25, "size": 100_000}),
    Scenario("tls-out", "Burst as the first, delivered over STARTTLS", {}, {"starttls": True}),
    Scenario("domains", "Burst to 1,000 recipient domains, 2 kB", {"domains": 1000}, optional=True),
    Scenario("slow", "Burst, the exchanger takes 500 ms a message", {}, {"delay_ms": 500.0}, optional=True),
]
WARM_UP = Scenario("warm-up", "", {"connections": 20, "messages": 15})


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.compare", description="Compares mail servers on this machine.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default="plugsend,postfix,haraka")
    parser.add_argument("--scenarios", default=",".join(s.name for s in SCENARIOS if not s.optional))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of PlugSend's")
    parser.add_argument("--pipelining", action="store_true", help="the load sends MAIL, RCPT and DATA at once")
    parser.add_argument("--save", action="store_true", help="keep the figures in benchmarks/results")
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.set)
    wanted = options.scenarios.split(",")
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    makers: dict[str, Callable[[Path, Keys, int], System]] = {
        "plugsend": lambda directory, keys, port: PlugSend(directory, keys, port, settings),
        "postfix": Postfix,
        "haraka": Haraka,
    }
    systems = options.systems.split(",")
    root = Path(tempfile.mkdtemp(prefix="plugsend-bench-"))
    root.chmod(0o755)  # Postfix's and PostgreSQL's accounts have to get through
    keys = make_keys(root)
    sink = Sink(free_port(), keys.certificate, keys.tls_key)
    figures: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    try:
        for number in range(options.rounds):
            turn = number % len(systems)
            for name in systems[turn:] + systems[:turn]:
                directory = root / f"{name}-{number}"
                directory.mkdir()
                system = makers[name](directory, keys, sink.port)
                try:
                    system.start()
                    versions[name] = system.version()
                    run(system, sink, WARM_UP, f"w{number}", pipelining=options.pipelining)
                    for scenario in scenarios:
                        figure = run(system, sink, scenario, f"r{number}", pipelining=options.pipelining)
                        figures.append({"system": name, "scenario": scenario.name, "round": number, **figure})
                        print(table.line(figures[-1]), file=sys.stderr, flush=True)
                finally:
                    system.stop()
                shutil.rmtree(directory, ignore_errors=True)
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
        "pipelining": options.pipelining,
        "scenarios": {scenario.name: scenario.title for scenario in scenarios},
        "figures": figures,
    }
    print(table.whole(outcome))
    if options.save:
        save(outcome)
    return 0


def save(outcome: dict[str, Any], kind: str = "") -> None:
    place = Path(__file__).parent / "results" / time.strftime(f"%Y-%m-%d-%H%M{kind and f'-{kind}'}.json")
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(_rounded(outcome), indent=1) + "\n")
    print(f"kept in {place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place}")


def run(system: System, sink: Sink, scenario: Scenario, prefix: str, *, pipelining: bool) -> dict[str, Any]:
    """One scenario once. Returns its figures."""
    prefix = f"{prefix}-{scenario.name}"
    sink.begin(**{"keep": SAMPLES, "prefix": prefix, **scenario.sink})
    time.sleep(SETTLE_S)
    before = system.processes.read()
    report = _load(system, prefix, scenario.load, pipelining)
    account = sink.expect(len(report["sent"]), ARRIVE_WITHIN_S)
    time.sleep(SETTLE_S)
    after = system.processes.read()
    cpu_s, by_process = used(before, after)
    figures = summary(report, account)
    count = len(account.arrived) or 1
    memory = system.processes.memory_mib()
    return {
        **figures,
        "cpu_ms": cpu_s * 1000 / count,
        "cpu_ms_by_process": {name: seconds * 1000 / count for name, seconds in by_process.items()},
        "cpu_method": system.processes.method,
        "load_cpu_ms": report["cpu_s"] * 1000 / count,
        "memory_mib": sum(memory.values()),
        "memory_mib_by_process": memory,
        "flushes": (after.flushes - before.flushes) / count,
        "signed": sum(dkim.verify(sample.encode("latin-1"), dnsfunc=lambda name, **_: system.dkim_record(_text(name)))
                      for sample in account.samples) == len(account.samples) > 0,
    }  # fmt: skip


def _load(system: System, prefix: str, load: dict[str, Any], pipelining: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", "--json", "--port", str(system.port), "--run", prefix]
    command += ["--user", USER, "--password", system.password, *(["--pipelining"] if pipelining else [])]
    for name, value in load.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=180)
    return dict(json.loads(done.stdout))


def summary(report: dict[str, Any], account: Account) -> dict[str, Any]:
    """Rates, latencies (ms) and what went wrong, from the times of each message."""
    sent, arrived = report["sent"], account.arrived
    first, last_reply = report["started"], max((times[2] for times in sent.values()), default=0.0)
    last_arrival = max(arrived.values(), default=0.0)
    both = [mark for mark in sent if mark in arrived]
    return {
        "messages": len(sent),
        "accepted_s": len(sent) / max(1e-9, last_reply - first),
        "end_to_end_s": len(both) / max(1e-9, last_arrival - first),
        "final_ms": _percentiles([answered - content for _, content, answered in sent.values()]),
        "submit_ms": _percentiles([answered - begun for begun, _, answered in sent.values()]),
        "delivery_ms": _percentiles([arrived[mark] - sent[mark][0] for mark in both]),
        "after_250_ms": _percentiles([arrived[mark] - sent[mark][2] for mark in both]),
        "sink_connections": account.connections,
        "over_tls": account.over_tls,
        "lost": len(sent) - len(both),
        "twice": account.again,
        "refused": report["refused"],
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"p50": 0.0, "p99": 0.0}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value


def _text(name: bytes | str) -> str:
    return (name.decode() if isinstance(name, bytes) else name).rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
