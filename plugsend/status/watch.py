"""The watch: a thread of the beat process that probes every component, again and again.

Not a task: a task comes through the broker and waits behind others, both of which are among what is watched. The beat process
is there once in an installation, and the supervisor keeps it. What is known stands in this thread's memory, so that it goes on
while the database is away, and is written down (`record`) and told to the web processes (`published`) after each round.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import connections
from django.utils import timezone

from plugsend.status import probes, published, record, throughput
from plugsend.status.components import COMPONENTS, State
from plugsend.status.course import Standing, advance, by_day
from plugsend.status.probes import OF_DATABASE, Found

logger = logging.getLogger(__name__)

ROUND_MOST_S = 20.0  # a probe that is not done by then has failed
STALE_ROUNDS = 3  # of time that went by without a look, at most so many rounds' worth are counted


@dataclass
class Watch:
    """`run_probe`: as `probes.run`."""

    run_probe: Callable[[str], Found] = probes.run
    standings: dict[str, Standing] = field(default_factory=dict)
    tallies: dict[tuple[str, date, State], float] = field(default_factory=dict)  # seconds that are not written yet
    looked_at: datetime | None = None
    _running: dict[str, threading.Thread] = field(default_factory=dict)
    _found: dict[str, Found] = field(default_factory=dict)
    _is_loaded: bool = False
    _is_read_only: bool = False  # the last write failed
    _sampler: throughput.Sampler = field(default_factory=throughput.Sampler)

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`."""
        while True:
            began = time.monotonic()
            try:
                self.look()
            except Exception:
                logger.exception("A round of the watch failed")
            finally:
                connections.close_all()
            if stopping.wait(max(1.0, settings.STATUS_CHECK_SECONDS - (time.monotonic() - began))):
                return

    def look(self) -> None:
        """One round."""
        found = self._probe_all()
        has_database = found["database"].state != State.DOWN
        if has_database and self._is_read_only:
            found["database"] = Found(State.DOWN, "what is found cannot be written")
        if not has_database:
            found |= {code: Found(State.UNKNOWN, "the database does not answer") for code in OF_DATABASE}
        elif not self._is_loaded:
            self._load()
        now = timezone.now()
        self._count_time(now)
        for code, one in found.items():
            self.standings[code] = advance(self.standings.get(code), one.state, now, settings.STATUS_FAILURES)
        self.looked_at = now
        if has_database:
            self._write(found, now)
        published.publish({code: (one.state, one.since) for code, one in self.standings.items()}, now)

    def _probe_all(self) -> dict[str, Found]:
        """All at once. One that still hangs from an earlier round is not started again."""
        for code in COMPONENTS:
            if not (self._running.get(code) and self._running[code].is_alive()):
                self._found.pop(code, None)
                thread = threading.Thread(target=self._probe, args=(code,), name=f"probe {code}", daemon=True)
                self._running[code] = thread
                thread.start()
        until = time.monotonic() + ROUND_MOST_S
        for thread in self._running.values():
            thread.join(max(0.0, until - time.monotonic()))
        late = Found(State.DOWN, f"no answer within {ROUND_MOST_S:g} s")
        return {code: self._found.get(code, late) for code in COMPONENTS}

    def _probe(self, code: str) -> None:
        try:
            self._found[code] = self.run_probe(code)
        finally:
            connections.close_all()  # this thread's

    def _load(self) -> None:
        """What was known before this process began."""
        try:
            self.standings = record.load() | self.standings
            self._is_loaded = True
        except Exception as error:
            logger.warning("What was known of the components cannot be read: %s", error)

    def _count_time(self, now: datetime) -> None:
        if self.looked_at is None:
            return
        begin = max(
            self.looked_at, now - timedelta(seconds=STALE_ROUNDS * settings.STATUS_CHECK_SECONDS + ROUND_MOST_S)
        )
        for code, standing in self.standings.items():
            if standing.state != State.UNKNOWN:
                for day, seconds in by_day(begin, now).items():
                    key = code, day, standing.state
                    self.tallies[key] = self.tallies.get(key, 0.0) + seconds

    def _write(self, found: dict[str, Found], now: datetime) -> None:
        self._is_read_only = True
        try:
            record.write(self.standings, found, self.tallies, now)
            self.tallies = {}
            self._is_read_only = False
            self._sampler.sample(now)
        except Exception as error:  # it was there a moment ago
            logger.warning("What was found cannot be written: %s", error)


_started = threading.Lock()


def start() -> None:
    """In the process of beat, once."""
    if _started.acquire(blocking=False):
        threading.Thread(target=Watch().run, args=(threading.Event(),), name="status", daemon=True).start()
