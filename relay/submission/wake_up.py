"""Tells the workers which lanes have new mail: a Celery task that names lanes, never message contents.

While a lane is at work, a nudge (`relay.nudges`) does instead. kombu blocks, so a thread of its own sends. A
lost wake-up does no harm: `relay.tasks.wake_due` finds what is due.
"""

from __future__ import annotations

import logging
import queue
import threading
import time

from relay.lanes import Lane

logger = logging.getLogger(__name__)

TASK = "relay.tasks.deliver"
COMPLAIN_EVERY_S = 10
AWAKE_S = 8.0  # so long after a wake-up a lane is at work for certain (relay.delivery.engine.AWAKE_S)
RENEW_S = 5.0  # after which it is woken again, early enough that no message has to wait for Celery
REMEMBERED_MOST = 100_000


class WakeUps:
    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[set[Lane] | None] = queue.SimpleQueue()
        self._woken: dict[Lane, float] = {}
        self._complained_at = 0.0
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
        self._thread.start()

    def is_awake(self, lane: Lane) -> bool:
        """Whether a nudge will reach it."""
        return self._woken.get(lane, 0.0) > time.monotonic() - AWAKE_S

    def send(self, lanes: set[Lane]) -> set[Lane]:
        """Wakes a worker for those that were not woken just now; returns the ones that a nudge reaches. Does not wait."""
        now = time.monotonic()
        stale = {one: woken for one in lanes if (woken := self._woken.get(one, 0.0)) <= now - RENEW_S}
        if not stale:
            return lanes
        if len(self._woken) > REMEMBERED_MOST:
            self._woken.clear()
        self._woken.update(dict.fromkeys(stale, now))
        self._waiting.put(set(stale))
        return lanes - {one for one, woken in stale.items() if woken <= now - AWAKE_S}

    def stop(self) -> None:
        """Sends what waits, then ends."""
        self._waiting.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            lanes = set(waiting)
            ends = False
            while not self._waiting.empty():  # what gathered meanwhile goes with it
                more = self._waiting.get()
                if more is None:
                    ends = True
                    break
                lanes |= more
            self._send_now(sorted(map(str, lanes)))
            if ends:
                return

    def _send_now(self, lanes: list[str]) -> None:
        from celery import current_app

        try:
            current_app.send_task(TASK, (lanes,), ignore_result=True, retry=False, expires=60)
        except Exception as error:  # any transport error: the mail is safe in PostgreSQL, only the hint is lost
            if time.monotonic() - self._complained_at > COMPLAIN_EVERY_S:
                self._complained_at = time.monotonic()
                logger.warning("No wake-up could be sent, delivery waits for the next look at the queue: %s", error)
