"""Probes: real connections to the doors, real questions to the engines. They leave nothing behind: no mail is sent, nobody is
signed in, and what refuses them does so before it stores anything.

Each takes some seconds at most, by the time-outs of its own sockets, and answers what it found; what it raises is a failure.
"""

from __future__ import annotations

import http.client
import os
import shutil
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import DatabaseError

from plugsend.status import facts
from plugsend.status.components import State
from relay.webhooks.queue import open_endpoints

NAME = "status.invalid"  # in EHLO; RFC 6761, 6.4
PATIENCE_S = 5.0  # of one step of a conversation
SLOW_S = 2.5
SOON_DOWN_S = 600.0  # mail that waits for so long without anybody at it is not late but stuck
WEBHOOKS_LATE_S, WEBHOOKS_STUCK_S = 60.0, 900.0
DISK_SHORT, DISK_FULL = 0.10, 0.02  # of the file system, free
DISK_LEAST_OCTETS = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """`words` are for operators: hosts, ports and errors stand in them."""

    state: State
    words: str = ""
    took_ms: float | None = None


class ProbeFailed(Exception):
    """What was answered is not what a component that works answers."""


# ---- The doors -------------------------------------------------------------------------------------------------------


def smtp() -> Found:
    """Each port of the door: its banner, EHLO, and the handshake of TLS. Nobody signs in."""
    host, port = _address(settings.STATUS_SMTP, settings.SMTP_HOST, settings.SMTP_PORT)
    ports: dict[str, Callable[[], None]] = {f"port {port}": lambda: _submission(host, port)}
    if not settings.STATUS_SMTP:
        ports[f"port {settings.SMTPS_PORT} (TLS)"] = lambda: _submissions(host, settings.SMTPS_PORT)
    return _all_of(ports)


def _submission(host: str, port: int) -> None:
    with smtplib.SMTP(host, port, NAME, PATIENCE_S) as client:
        _expect(client.ehlo(), 250, "EHLO")
        if not client.has_extn("starttls"):
            raise ProbeFailed("offers no STARTTLS")
        _expect(client.starttls(context=_any_certificate()), 220, "STARTTLS")
        _expect(client.ehlo(), 250, "EHLO after STARTTLS")
        if not client.has_extn("auth"):
            raise ProbeFailed("offers no AUTH")


def _submissions(host: str, port: int) -> None:
    with smtplib.SMTP_SSL(host, port, NAME, timeout=PATIENCE_S, context=_any_certificate()) as client:
        _expect(client.ehlo(), 250, "EHLO")


def returns() -> Found:
    """The banner and EHLO of the return-path server."""
    host, port = _address(settings.STATUS_RETURNS, settings.RETURNS_HOST, settings.RETURNS_PORT)

    def converse() -> None:
        with smtplib.SMTP(host, port, NAME, PATIENCE_S) as client:
            _expect(client.ehlo(), 250, "EHLO")

    return _all_of({f"port {port}": converse})


def rest() -> Found:
    """The door for emails refuses a request without a key, by its own rules."""
    status, body = _request("POST", "/api/v1/emails", b"{}")
    if status == 401 and b'"statusCode"' in body:
        return Found(State.OK)
    if status == 429:
        return Found(State.OK, "asks to slow down: others at this address ask much")
    raise ProbeFailed(f"POST /api/v1/emails without a key is answered with HTTP {status}")


def web() -> Found:
    """A page that everybody sees, and whether the web process finds its database."""
    status, body = _request("GET", "/accounts/login/")
    if status != 200 or b"<form" not in body:
        raise ProbeFailed(f"/accounts/login/ is answered with HTTP {status}")
    status, body = _request("GET", "/readyz")
    if status != 200:
        return Found(State.DEGRADED, f"/readyz: HTTP {status} {body[:200].decode(errors='replace')}")
    return Found(State.OK)


def _request(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    url = urlsplit(settings.STATUS_WEB or f"http://{_reachable(settings.WEB_HOST)}:{settings.WEB_PORT}")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    client = kind(url.hostname or "", url.port, timeout=PATIENCE_S)
    headers = {"Host": urlsplit(settings.WEB_URL).netloc, "User-Agent": "PlugSend-status", "Accept": "*/*"}
    if settings.BEHIND_PROXY:
        headers["X-Forwarded-Proto"] = urlsplit(settings.WEB_URL).scheme
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        client.request(method, path, body, headers)
        answer = client.getresponse()
        return answer.status, answer.read(256 * 1024)
    finally:
        client.close()


# ---- The way of mail -------------------------------------------------------------------------------------------------


def delivery() -> Found:
    """Engines that ask the database for work, and no mail that is due for long while nobody is at it."""
    with facts.bounded() as cursor:
        engines, queue = facts.engines(cursor), facts.queue(cursor)
    alive = sum(engine.is_alive for engine in engines)
    words = f"{alive} engine{'s' if alive != 1 else ''} at work; oldest due {queue.oldest_due_s:.0f} s"
    if not alive:
        return Found(State.DOWN, f"no engine is at work ({len(engines)} silent); oldest due {queue.oldest_due_s:.0f} s")
    if queue.neglected_s > SOON_DOWN_S:
        return Found(State.DOWN, f"{words}; mail is stuck: {queue.neglected_s:.0f} s with nobody at it")
    if queue.neglected_s > 0:
        return Found(State.DEGRADED, f"{words}; mail is late: {queue.neglected_s:.0f} s with nobody at it")
    return Found(State.OK, words)


def webhooks() -> Found:
    """The oldest delivery that is due at an endpoint that takes what it is sent."""
    now = time.time()
    late_s = [now - one.first_due_at.timestamp() for one in open_endpoints() if one.may_send and not one.is_in_trouble]
    longest_s = max([0.0, *late_s])
    words = f"{len(late_s)} endpoints with open deliveries; oldest due {longest_s:.0f} s"
    if longest_s > WEBHOOKS_STUCK_S:
        return Found(State.DOWN, words)
    return Found(State.DEGRADED if longest_s > WEBHOOKS_LATE_S else State.OK, words)


# ---- What it stands on -----------------------------------------------------------------------------------------------


def database() -> Found:
    """A connection of its own, made anew."""
    with facts.bounded() as cursor:
        known = facts.database(cursor)
    words = (
        f"{known.connections} of {known.most_connections} connections, longest transaction {known.longest_transaction_s:.0f} s,"
        f" {known.slow} slow statements, {known.lock_waits} waiting for locks"
    )
    is_short = known.connections >= 0.9 * known.most_connections
    return Found(State.DEGRADED if is_short else State.OK, words)


def broker() -> Found:
    """Whether it takes a write, and what waits in it."""
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
    ) as client:
        client.set("status:probe", "1", ex=60)
        waiting = client.llen("celery")
    return Found(State.OK, f"{waiting} tasks wait")


def disk() -> Found:
    """Where everything generated lies: spool, and data of embedded engines."""
    total, _, free = shutil.disk_usage(settings.VAR)
    nodes = os.statvfs(settings.VAR)
    share = min(free / total, nodes.f_favail / nodes.f_files if nodes.f_files else 1.0)
    words = f"{free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free"
    if share < DISK_FULL or free < DISK_LEAST_OCTETS:
        return Found(State.DOWN, words)
    return Found(State.DEGRADED if share < DISK_SHORT else State.OK, words)


PROBES: dict[str, Callable[[], Found]] = {
    "smtp": smtp, "rest": rest, "web": web, "delivery": delivery, "returns": returns, "webhooks": webhooks,
    "database": database, "broker": broker, "disk": disk,
}  # fmt: skip
OF_DATABASE = frozenset({"delivery", "webhooks"})  # which say nothing while it is away


def run(code: str) -> Found:
    """What the component's probe finds, with the time that it took."""
    began = time.monotonic()
    try:
        found = PROBES[code]()
    except Exception as error:
        # A look at the queue that the database does not answer says nothing of the queue.
        is_blind = code in OF_DATABASE and isinstance(error, DatabaseError)
        found = Found(State.UNKNOWN if is_blind else State.DOWN, _in_words(error))
    took_s = time.monotonic() - began
    if found.state == State.OK and took_s > SLOW_S:
        found = Found(State.DEGRADED, f"{found.words} after {took_s:.1f} s".strip())
    return Found(found.state, found.words, round(took_s * 1000, 1))


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError | socket.timeout):
        return f"no answer within {PATIENCE_S:g} s"
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _all_of(steps: dict[str, Callable[[], None]]) -> Found:
    failed = {}
    for name, step in steps.items():
        try:
            step()
        except Exception as error:
            failed[name] = _in_words(error)
    words = "; ".join(f"{name}: {what}" for name, what in failed.items())
    return Found(State.OK if not failed else State.DOWN if len(failed) == len(steps) else State.DEGRADED, words)


def _expect(reply: tuple[int, bytes], code: int, step: str) -> None:
    if reply[0] != code:
        raise ProbeFailed(f"{step}: {reply[0]} {reply[1][:200].decode(errors='replace')}")


def _any_certificate() -> ssl.SSLContext:
    """Whether it is the right one is for those to judge who connect by its name; here its host is an address of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _address(given: str, host: str, port: int) -> tuple[str, int]:
    """`given`: host:port, of the setting."""
    if given:
        name, _, number = given.rpartition(":")
        return name.strip("[]"), int(number)
    return _reachable(host), port


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - an address that is listened at
