"""Routes for the engine: looked up before anything is claimed, many at once, and kept for some seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from relay.delivery.fair import FairQueue
from relay.delivery.routing import Hop, Route, Router, RoutingFailed
from relay.lanes import Lane

logger = logging.getLogger(__name__)

LOOK_UPS = 500  # at once: each may take as long as a silent name server
KEPT_S = 30.0
FAILURE_KEPT_S = 10.0
KEPT_MOST = 20_000


class Routes:
    """`on_known` is told of each lane whose route was asked for and is there now."""

    def __init__(self, router: Router, on_known: Callable[[Lane], None]) -> None:
        self._router, self._on_known = router, on_known
        self._known: dict[str, tuple[float, Route | RoutingFailed]] = {}
        self._asking: dict[str, list[Lane]] = {}
        self._waiting: FairQueue[str] = FairQueue()  # destinations, in turn between organizations
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, lane: Lane) -> Route | RoutingFailed | None:
        """None: it is being asked for, and `on_known` will be told."""
        kept_until, known = self._known.get(lane.destination, (0.0, None))
        if known is not None and kept_until > time.monotonic():
            return known
        asking = self._asking.get(lane.destination)
        if asking is not None:
            asking.append(lane)
        else:
            self._asking[lane.destination] = [lane]
            self._waiting.push(lane.organization_id, lane.destination)
            self._ask_next()
        return None

    def group_of(self, destination: str) -> str | None:
        """The name of its group as it was last known."""
        _, known = self._known.get(destination, (0.0, None))
        return known.group if isinstance(known, Route) else None

    def hops(self, route: Route, source_address: str | None) -> AsyncIterator[Hop]:
        return self._router.hops(route, source_address=source_address)

    def _ask_next(self) -> None:
        while self._waiting and len(self._tasks) < LOOK_UPS:
            task = asyncio.create_task(self._ask(self._waiting.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ask_next()

    async def _ask(self, destination: str) -> None:
        known: Route | RoutingFailed
        try:
            known, kept_s = await self._router.route(destination), KEPT_S
        except RoutingFailed as failed:
            known, kept_s = failed, FAILURE_KEPT_S
        except Exception:
            logger.exception("Routing %s failed", destination)
            text = f"The exchangers of {destination} could not be found out."
            known, kept_s = RoutingFailed("temporary_failure", text, permanent=False), FAILURE_KEPT_S
        if len(self._known) > KEPT_MOST:
            self._known.clear()
        self._known[destination] = (time.monotonic() + kept_s, known)
        for lane in self._asking.pop(destination):
            self._on_known(lane)
