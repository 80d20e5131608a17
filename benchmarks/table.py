"""Figures as text: a line for each run, and at the end one table for each scenario with medians and ratios."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figure = dict[str, Any]

COLUMNS: list[tuple[str, Callable[[Figure], float], str]] = [
    ("accepted/s", lambda f: f["accepted_s"], ".0f"),
    ("end to end/s", lambda f: f["end_to_end_s"], ".0f"),
    ("CPU ms/msg", lambda f: f["cpu_ms"], ".2f"),
    ("250 p50 ms", lambda f: f["final_ms"]["p50"], ".1f"),
    ("250 p99 ms", lambda f: f["final_ms"]["p99"], ".1f"),
    ("delivery p50 ms", lambda f: f["delivery_ms"]["p50"], ".1f"),
    ("delivery p99 ms", lambda f: f["delivery_ms"]["p99"], ".1f"),
    ("flushes/msg", lambda f: f["flushes"], ".2f"),
    ("memory MiB", lambda f: f["memory_mib"], ".0f"),
]


def line(figure: Figure) -> str:
    values = ", ".join(f"{title} {format(value(figure), spec)}" for title, value, spec in COLUMNS)
    return f"{figure['system']:9} {figure['scenario']:8} {values}{trouble(figure)}"


def trouble(figure: Figure) -> str:
    wrong = [f"{figure[name]} {name}" for name in ("lost", "twice") if figure[name]]
    wrong += [f"refused {figure['refused']}"] if figure["refused"] else []
    wrong += [] if figure["signed"] else ["NOT SIGNED"]
    return f"  !! {', '.join(wrong)}" if wrong else ""


def whole(outcome: dict[str, Any]) -> str:
    """Markdown: medians, smallest and largest in brackets; then PlugSend against each and where its time goes."""
    parts = [f"{outcome['date']}, {outcome['machine']}; " + "; ".join(outcome["versions"].values()) + "."]
    if outcome["settings"]:
        parts.append("Settings: " + ", ".join(f"{name}={value}" for name, value in outcome["settings"].items()) + ".")
    for name, title in outcome["scenarios"].items():
        figures = [figure for figure in outcome["figures"] if figure["scenario"] == name]
        if figures:
            parts.append(_scenario(title, figures))
    return "\n\n".join(parts)


def _scenario(title: str, figures: list[Figure]) -> str:
    systems = list(
        dict.fromkeys(figure["system"] for figure in sorted(figures, key=lambda f: f["system"] != "plugsend"))
    )
    of = {system: [figure for figure in figures if figure["system"] == system] for system in systems}
    rows = [f"**{title}**", "", "| | " + " | ".join(column for column, _, _ in COLUMNS) + " |", "|---" * 10 + "|"]
    for system in systems:
        cells = [spread([value(figure) for figure in of[system]], spec) for _, value, spec in COLUMNS]
        rows.append(f"| {system} | " + " | ".join(cells) + " |")
    if "plugsend" in of:
        for system in systems[1:]:
            ratios = [_median(of["plugsend"], value) / (_median(of[system], value) or 1e-9) for _, value, _ in COLUMNS]
            rows.append(f"| plugsend / {system} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
        rows += ["", "PlugSend's CPU, ms a message: " + by_process(of["plugsend"], "cpu_ms_by_process", ".2f") + "."]
        rows += ["", "PlugSend's memory, MiB: " + by_process(of["plugsend"], "memory_mib_by_process", ".0f") + "."]
    wrong = [f"{figure['system']}, round {figure['round']}: {text}" for figure in figures if (text := trouble(figure))]
    return "\n".join([*rows, *wrong])


def spread(values: list[float], spec: str) -> str:
    middle = format(statistics.median(values), spec)
    return middle if len(values) == 1 else f"{middle} ({format(min(values), spec)}-{format(max(values), spec)})"


def _median(figures: list[Figure], value: Callable[[Figure], float]) -> float:
    return statistics.median(value(figure) for figure in figures)


def by_process(figures: list[Figure], what: str, spec: str) -> str:
    names = list(dict.fromkeys(name for figure in figures for name in figure[what]))
    medians = {name: statistics.median(figure[what].get(name, 0.0) for figure in figures) for name in names}
    return ", ".join(f"{name} {format(value, spec)}" for name, value in sorted(medians.items(), key=lambda i: -i[1]))


def machine() -> str:
    processor = next(
        (text.partition(": ")[2] for text in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in text),
        "?",
    )
    return f"{os.cpu_count()} cores of {processor}, Linux {platform.release()}, Python {platform.python_version()}"
