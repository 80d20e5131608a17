"""Charts as the numbers that an SVG is made of: templates/statistics/chart.html draws them. No I/O.

The drawing is stretched to the page's width, so texts stand beside it and lines keep their width by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 1000, 200, 6  # in the drawing's own units; the margin is for the width of lines at the top
GAP = 0.2  # of a bar's room
LEAST = 2.0  # what is there shows


@dataclass(frozen=True, slots=True)
class Series:
    """`tone`: of the stylesheet. None in `values`: there is nothing at that point."""

    name: str
    tone: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    tone: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """`paths`: of an SVG path's `d`, one for each stretch without a gap, or point that stands alone."""

    tone: str
    paths: list[str]


@dataclass(frozen=True, slots=True)
class Column:
    """The room of one point, whose text shows when it is pointed at."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`description` tells in words what is to be seen. `top`: what the upper edge stands for."""

    id: str
    title: str
    description: str
    series: list[Series]
    columns: list[Column]
    first: str
    last: str
    top: str
    bars: list[Bar]
    lines: list[Line]

    @property
    def box(self) -> str:
        return f"0 {-MARGIN} {WIDTH} {HEIGHT + MARGIN}"


Words = Callable[[float], str]


def bar_chart(id_: str, title: str, labels: Sequence[str], series: list[Series], words: Words) -> Chart:
    """The series above each other. There is a label for each point."""
    sums = [sum(filter(None, values)) for values in zip(*(one.values for one in series), strict=True)]
    top, room = max([*sums, 1]), WIDTH / len(labels)
    bars = []
    for number in range(len(labels)):
        y = float(HEIGHT)
        for one in series:
            if value := one.values[number]:
                height = max(LEAST, HEIGHT * value / top)
                y = max(0.0, y - height)
                bars.append(
                    Bar(one.tone, *(round(at, 2) for at in (room * (number + GAP / 2), y, room * (1 - GAP), height)))
                )
    return _chart(id_, title, labels, series, words, top if max(sums) else 0.0, bars=bars)


def line_chart(
    id_: str, title: str, labels: Sequence[str], series: list[Series], words: Words, top: float = 0
) -> Chart:
    """`top`: of the scale, where it does not follow from the values."""
    known = [value for one in series for value in one.values if value is not None]
    top = top or max([*known, 0.0])
    lines = [_line(one, top or 1) for one in series]
    return _chart(id_, title, labels, series, words, top, lines=lines)


def _line(series: Series, top: float) -> Line:
    room = WIDTH / len(series.values)
    stretches: list[list[str]] = [[]]
    for number, value in enumerate(series.values):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{room * (number + 0.5):.1f},{HEIGHT * (1 - value / top):.1f}")
    return Line(
        series.tone,
        ["M" + " L".join(points) if len(points) > 1 else _level(points[0], room) for points in stretches if points],
    )


def _level(point: str, room: float) -> str:
    """A point without neighbours, as wide as a bar would be: a dot would tell little, and a line to the next is not known."""
    x, y = point.split(",")
    return f"M{float(x) - room * (1 - GAP) / 2:.1f},{y} h{room * (1 - GAP):.1f}"


def _chart(
    id_: str, title: str, labels: Sequence[str], series: list[Series], words: Words, top: float,
    bars: Sequence[Bar] = (), lines: Sequence[Line] = (),
) -> Chart:  # fmt: skip
    room = WIDTH / len(labels)
    columns = [
        Column(
            round(room * number, 2),
            round(room, 2),
            f"{label}: " + ", ".join(f"{one.name} {_word(one.values[number], words)}" for one in series),
        )
        for number, label in enumerate(labels)
    ]
    description = f"{labels[0]} to {labels[-1]}. " + " ".join(_summary(one, labels, words) for one in series)
    return Chart(
        id_,
        title,
        description,
        series,
        columns,
        labels[0],
        labels[-1],
        words(top) if top else "",
        list(bars),
        list(lines),
    )


def _word(value: float | None, words: Words) -> str:
    return "nothing" if value is None else words(value)


def _summary(series: Series, labels: Sequence[str], words: Words) -> str:
    known = [(value, label) for value, label in zip(series.values, labels, strict=True) if value is not None]
    if not any(value for value, _ in known):
        return f"{series.name}: none."
    (low, at_low), (high, at_high) = min(known), max(known)
    return f"{series.name}: between {words(low)} ({at_low}) and {words(high)} ({at_high})."
