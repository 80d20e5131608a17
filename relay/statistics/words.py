"""Rates and durations as people read them. No I/O."""

from __future__ import annotations


def percent(rate: float | None) -> str:
    """100 % and 0 % are said only of what is exactly so."""
    if rate is None:
        return "–"
    value = rate * 100
    if value in (0, 100):
        return f"{value:.0f} %"
    if value < 1:
        return "< 0.01 %" if value < 0.01 else f"{value:.2f} %"
    return f"{min(value, 99.9):.1f} %" if value > 99 else f"{value:.1f} %"


def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    for limit, unit_ms, unit in ((60_000, 1000, "s"), (3_600_000, 60_000, "min"), (172_800_000, 3_600_000, "h")):
        if milliseconds < limit:
            amount = milliseconds / unit_ms
            return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"
    return f"{milliseconds / 86_400_000:.1f} d"
