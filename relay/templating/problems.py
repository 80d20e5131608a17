"""What is wrong with a template or a rendering, and where. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("subject", "html", "text")


@dataclass(frozen=True, slots=True)
class Problem:
    """`line` and `column` count from 1; 0 where there is no telling. `variable`: the one that is missing."""

    part: str  # of PARTS
    detail: str
    line: int = 0
    column: int = 0
    variable: str = ""

    def __str__(self) -> str:
        place = f", line {self.line}, column {self.column}" if self.line else ""
        return f"{self.part}{place}: {self.detail}"


def place_of(source: str, index: int) -> tuple[int, int]:
    """Line and column of a character, both from 1."""
    before = source[:index]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
