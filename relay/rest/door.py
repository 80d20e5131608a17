"""The fast way in: `POST /api/v1/emails` and `/emails/batch` on the web process's event loop, from the socket to the commit.

An ASGI application that answers as the views of these addresses do, from the same functions; only Django's handler, DRF and the
hops between threads are left out. Everything else that the web process serves goes to Django.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.http import HttpResponse
from django.template.loader import render_to_string
from rest_framework.exceptions import NotAcceptable, NotAuthenticated, UnsupportedMediaType

from accounts.catalogue import Refused
from accounts.client import client_address
from accounts.credentials import Credential
from accounts.rest.bodies import announced_octets, read_json, too_large
from accounts.rest.loop_shell import LoopShell
from accounts.rest.negotiation import JSON, is_acceptable, media_type_of
from accounts.rest.rates import LoopLimiter
from accounts.rest.shell import DISCARD_WITHIN_S, DISCARDED_MOST, ApiRequest, may_discard
from relay.rest.auth import bearer_secret
from relay.rest.sending import LIGHT_OCTETS, Order, Sent, in_thread, send_batch, send_email
from relay.submission.desk import Desk
from relay.submission.smtp_content import Arriving
from relay.submission.smtp_limits import Room

Scope = MutableMapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EMAILS, BATCH = "/api/v1/emails", "/api/v1/emails/batch"
SILENT_S = 30.0  # a client that has begun its body and sends nothing more
BODY_WITHIN_S = 600.0
PAGE_OCTETS = 4 * 1024 * 1024  # of a body for Django: they are in memory while they wait for a thread
# But for a list of addresses, which waits in a file and is handed on in parts.
LIST_PATH, LIST_OCTETS, PART_OCTETS = "/suppressions/import/", 41 * 1024 * 1024, 256 * 1024
REFUSAL_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
MEMORY_OCTETS = 64 * 1024 * 1024  # of large bodies that are worked off at the same time


class Door:
    """Use it on the desk's loop."""

    def __init__(self, desk: Desk, limiter: LoopLimiter, spool: Path) -> None:
        self._desk, self._spool = desk, spool
        self._shell = LoopShell(limiter)
        self._room = Room(MEMORY_OCTETS)

    @staticmethod
    def takes(scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in (EMAILS, BATCH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        body = Body(request.META, receive, settings.API_BODY_LIMIT, self._spool)
        try:
            response = await self._shell.answer(request, lambda request: self._serve(request, body))
            if may_discard(request):
                await body.discard(DISCARDED_MOST, DISCARD_WITHIN_S)
        finally:
            body.close()
        await _send(response, send)

    async def body_for_django(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """What gives a request's whole body at once, so that no thread waits for a slow client. None: it was refused."""
        request = request_of(scope)
        is_list = request.path == LIST_PATH
        limit = LIST_OCTETS if is_list else min(settings.API_BODY_LIMIT, PAGE_OCTETS)
        body = Body(request.META, receive, limit, self._spool)
        if body.is_none:
            return receive
        try:
            await body.arrive()
            parts = body.parts(PART_OCTETS) if is_list else iter([body.take()])
        except Refused as refused:
            response = await self._shell.refuse(request, refused)
            is_told_as_page = response.status_code >= 400 and not request.path.startswith("/api/")
            await _send(_as_page(response) if is_told_as_page else response, send)
            body.close()
            return None
        except BaseException:
            body.close()
            raise
        is_told = False

        async def receive_arrived() -> Message:
            nonlocal is_told
            if is_told:
                return await receive()
            part = next(parts, b"")
            is_told = not (is_list and part)
            return {"type": "http.request", "body": part, "more_body": not is_told}

        return receive_arrived

    async def _serve(self, request: ApiRequest, body: Body) -> HttpResponse:
        meta, is_batch = request.META, request.path == BATCH
        if not is_acceptable(meta.get("HTTP_ACCEPT", "")):
            raise NotAcceptable
        order = Order.of(await self._credential(request), meta, is_batch=is_batch)
        send = send_batch if is_batch else send_email
        if body.is_none:
            sent = await send(order, {}, self._desk, is_light=True)
            return _response(sent)
        if media_type_of(meta.get("CONTENT_TYPE", "")) != JSON:
            raise UnsupportedMediaType(meta.get("CONTENT_TYPE", ""))
        octets = await body.arrive()
        if octets <= LIGHT_OCTETS:
            sent = await send(order, read_json(body.take()), self._desk, is_light=True)
        else:
            async with self._room.of(octets):
                data = await in_thread(lambda: read_json(body.take()))
                sent = await send(order, data, self._desk, is_light=False)
        return _response(sent)

    async def _credential(self, request: ApiRequest) -> Credential:
        secret = bearer_secret(request.META)
        if secret is None:
            raise NotAuthenticated
        credential = await self._desk.api_credential(secret) if secret else None
        if credential is None:
            raise Refused("invalid_credentials")
        await self._shell.charge(request, credential)
        client = client_address(request.META)
        credential.check_may_enter(client)
        self._desk.note_use(credential, client)
        return credential


class Body:
    """What a request brings along, as ASGI gives it. Large ones wait in a file, so that slow clients hold no memory."""

    def __init__(self, meta: Mapping[str, Any], receive: Receive, limit: int, spool: Path) -> None:
        self._announced = announced_octets(meta)
        self._receive, self._limit = receive, limit
        self._arriving = Arriving(limit, spool)
        self._is_ended = self.is_none

    @property
    def is_none(self) -> bool:
        return self._announced == 0

    @property
    def is_announced_too_large(self) -> bool:
        return self._announced is not None and self._announced > self._limit

    async def arrive(self) -> int:
        """Waits for all of it; returns the number of octets. Raises `Refused`."""
        arriving = self._arriving
        if self.is_announced_too_large:
            raise too_large(self._limit)
        deadline = time.monotonic() + BODY_WITHIN_S
        while not self._is_ended:
            if time.monotonic() > deadline:
                raise Refused("timed_out")
            arriving.add(await self._more())
            if arriving.is_too_large:
                raise too_large(self._limit)
            if arriving.is_lost:
                raise Refused("insufficient_storage")
        return arriving.octets

    def take(self) -> bytes:
        return self._arriving.take()

    def parts(self, octets: int) -> Iterator[bytes]:
        return self._arriving.parts(octets)

    def close(self) -> None:
        self._arriving.close()

    async def discard(self, most: int, within_s: float) -> None:
        """A client whose connection ends while it still sends never sees the answer (RFC 9112, 9.6): let it finish."""
        if self._is_ended or (self._announced or 0) > most:
            return
        with contextlib.suppress(Refused, TimeoutError):
            async with asyncio.timeout(within_s):
                while not self._is_ended and most > 0:
                    most -= len(await self._more())

    async def _more(self) -> bytes:
        try:
            async with asyncio.timeout(SILENT_S):
                message = await self._receive()
        except TimeoutError:
            self._is_ended = True
            raise Refused("timed_out") from None
        if message["type"] == "http.disconnect":
            self._is_ended = True
            raise Refused("bad_request", problem="its body ended early")
        part = cast(bytes, message.get("body", b""))
        self._is_ended = not message.get("more_body", False)
        return part


def request_of(scope: Scope) -> ApiRequest:
    request = ApiRequest()
    request.method, request.path, request.path_info = scope["method"], scope["path"], scope["path"]
    request.META = meta = {
        "REQUEST_METHOD": scope["method"],
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.url_scheme": scope.get("scheme", "http"),
    }
    if server := scope.get("server"):
        meta["SERVER_NAME"], meta["SERVER_PORT"] = server[0], str(server[1] or 0)
    if client := scope.get("client"):
        meta["REMOTE_ADDR"] = client[0]
    for name, value in scope["headers"]:
        name, value = meta_name(name), value.decode("latin-1")
        meta[name] = f"{meta[name]},{value}" if name in meta else value
    return request


@lru_cache(maxsize=1000)
def meta_name(name: bytes) -> str:
    """A header field's name as WSGI has it (PEP 3333; RFC 3875, 4.1.18)."""
    text = name.decode("latin-1").upper().replace("-", "_")
    return text if text in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{text}"


def _response(sent: Sent) -> HttpResponse:
    body = json.dumps(sent.body, ensure_ascii=False, separators=(",", ":")).encode()
    return HttpResponse(body, content_type=JSON, status=sent.status, headers=sent.headers)


def _as_page(response: HttpResponse) -> HttpResponse:
    """The same refusal for people."""
    name = f"{response.status_code}.html" if response.status_code in {408, 413} else "400.html"
    response.content = render_to_string(name).encode()
    response["Content-Type"], response["Content-Length"] = "text/html; charset=utf-8", str(len(response.content))
    response["Content-Security-Policy"] = REFUSAL_POLICY
    return response


async def _send(response: Any, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
