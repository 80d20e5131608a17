"""The web process's entry: an ASGI application (`plugsend.web_server` serves it).

What sends emails goes to the REST door, which works on the event loop; everything else to Django, in threads that keep their
connections to the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from typing import Any

from a2wsgi import WSGIMiddleware
from django.conf import settings

from accounts.rest.rates import LoopLimiter, shared_limiter
from plugsend.wsgi import application as django
from relay.rest.door import Door, Receive, Scope, Send
from relay.submission.desk import Desk, open_desk_for_all
from relay.submission.spool import spool_directory

THREADS = 8  # they wait for the database most of the time
CLOSE_WITHIN_S = 0.8


class Application:
    def __init__(self) -> None:
        self._pages = WSGIMiddleware(in_own_context, workers=THREADS)
        self._door: Door | None = None
        self._in_hand = 0
        self._idle = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self._in_hand += 1
        try:
            if scope["type"] == "http":
                # WSGI cannot tell X_Forwarded_For from X-Forwarded-For, which a proxy sets.
                scope["headers"] = [pair for pair in scope["headers"] if b"_" not in pair[0]]
            if self._door and self._door.takes(scope):
                await self._door(scope, receive, send)
            else:
                whole = await self._door.body_for_django(scope, receive, send) if self._door else receive
                if whole is not None:
                    await self._pages(scope, whole, send)  # type: ignore[arg-type]
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan protocol. No connection is accepted any more when the server tells of the shutdown."""
        await receive()
        desk = await open_desk_for_all()
        limiter = LoopLimiter(settings.REDIS_URL, shared_limiter())
        self._door = Door(desk, limiter, spool_directory())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._close(desk, limiter)
        await send({"type": "lifespan.shutdown.complete"})

    async def _close(self, desk: Desk, limiter: LoopLimiter) -> None:
        """Whoever has been heard is answered, or not answered and nothing is stored."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                while self._in_hand:
                    self._idle.clear()
                    await self._idle.wait()
                await desk.close()
                await limiter.close()


_own = threading.local()


def in_own_context(environ: Any, start_response: Any) -> Any:
    """Django in a context that stays with its thread: what it keeps there, such as its connections to the cache, is kept from
    one request to the next."""
    context = getattr(_own, "context", None)
    if context is None:
        context = _own.context = contextvars.Context()
    return context.run(django, environ, start_response)


application = Application()
