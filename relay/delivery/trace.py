"""What happened in one attempt: transcript lines, and the milliseconds spent in each phase."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from events.log import Tls

TRANSCRIPT_LINES = 200


@dataclass(slots=True)
class Trace:
    """`about` in a line: the recipient that it concerns; other recipients' transcripts do without it."""

    lines: list[tuple[str, str]] = field(default_factory=list)  # about whom (empty: all), text
    phases_ms: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    tls: Tls | None = None  # of the last connection, also when it was refused for it

    def note(self, text: str) -> None:
        self.lines.append(("", f"-- {text}"))

    def client(self, text: str, about: str = "") -> None:
        self.lines.append((about, f"C: {text}"))

    def server(self, text: str, about: str = "") -> None:
        self.lines.append((about, f"S: {text}"))

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            spent = self.phases_ms.get(name, 0.0) + (time.monotonic() - start) * 1000
            self.phases_ms[name] = round(spent, 2)

    @property
    def transcript(self) -> str:
        return "\n".join(text for _, text in self.lines)

    def transcript_for(self, recipient: str) -> str:
        """The conversation as far as it concerns a recipient."""
        lines = [text for about, text in self.lines if not about or about == recipient]
        if len(lines) > TRANSCRIPT_LINES:
            lines[TRANSCRIPT_LINES // 2 : -TRANSCRIPT_LINES // 2] = ["-- …"]
        return "\n".join(lines)

    @property
    def duration_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 2)
