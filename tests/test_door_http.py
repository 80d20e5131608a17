"""The web process over real sockets: slow and broken clients, what else it serves, and its end while requests are in hand."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import requests

from tests.platform import Platform, running_platform, wait_for

pytestmark = pytest.mark.xdist_group("platform")

LETTER = {"from": "Ada <ada@demo.test>", "to": ["bob@door.test"], "subject": "Hi", "text": "Hello"}
SLOW = 60  # connections with half a request, seven times as many as there are threads


def address(platform: Platform) -> tuple[str, int]:
    return "127.0.0.1", int(str(urlsplit(platform.web_url).port))


def head(platform: Platform, *fields: str, path: str = "/api/v1/emails") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {platform.demo['API_KEY']}"]
    return "\r\n".join([*lines, "Content-Type: application/json", *fields, "", ""]).encode()


def whole(platform: Platform, letter: dict[str, Any] = LETTER) -> bytes:
    body = json.dumps(letter).encode()
    return head(platform, f"Content-Length: {len(body)}") + body


def post(platform: Platform, letter: dict[str, Any] = LETTER) -> requests.Response:
    headers = {"Authorization": f"Bearer {platform.demo['API_KEY']}"}
    return requests.post(f"{platform.demo['API_URL']}/emails", json=letter, headers=headers, timeout=20)


def statuses(connection: socket.socket, count: int) -> list[int]:
    """Of the answers that come, until there are so many."""
    connection.settimeout(20)
    received = b""
    while received.count(b"HTTP/1.1 ") < count or not received.rstrip(b"\n").endswith((b"}", b"</html>")):
        part = connection.recv(65536)
        if not part:
            break
        received += part
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def is_stored(platform: Platform, message_id: str) -> bool:
    with platform.database() as connection:
        row = connection.execute("SELECT count(*) FROM relay_message WHERE id = %s", [UUID(message_id)]).fetchone()
        return row == (1,)


@pytest.mark.parametrize("path", ["/api/v1/emails", "/api/v1/domains", "/accounts/login/"])
def test_clients_that_are_slow_keep_nobody_else_waiting(platform: Platform, path: str) -> None:
    connections = []
    try:
        for number in range(SLOW):
            connection = socket.create_connection(address(platform))
            announced = "Transfer-Encoding: chunked" if number % 2 else "Content-Length: 20000000"
            connection.sendall(head(platform, announced, path=path) + b"7\r\n")
            connections.append(connection)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: post(platform).status_code, range(100)))
        assert answers == [202] * 100
        assert requests.get(f"{platform.web_url}/accounts/login/", timeout=20).status_code == 200
    finally:
        for connection in connections:
            connection.close()
    assert post(platform).status_code == 202


def test_a_body_that_comes_in_pieces_is_one(platform: Platform) -> None:
    body = json.dumps(LETTER).encode()
    with closing(socket.create_connection(address(platform))) as connection:
        connection.sendall(head(platform, "Transfer-Encoding: chunked"))
        for octet in body:
            connection.sendall(b"1\r\n%c\r\n" % octet)
        connection.sendall(b"0\r\n\r\n")
        assert statuses(connection, 1) == [202]


def test_requests_may_follow_without_waiting_for_answers(platform: Platform) -> None:
    with closing(socket.create_connection(address(platform))) as connection:
        connection.sendall(whole(platform) * 3 + whole(platform, LETTER | {"to": "nobody"}) + whole(platform))
        assert statuses(connection, 5) == [202, 202, 202, 422, 202]


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("is_at_once", [False, True])
def test_who_offers_another_protocol_is_served_in_this_one(
    platform: Platform, is_chunked: bool, is_at_once: bool
) -> None:
    """As `curl --http2` and Java's HttpClient offer h2c, RFC 9110, 7.8."""
    body = json.dumps(LETTER).encode()
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
    offer = head(platform, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", framing)
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
    with socket.create_connection(address(platform)) as connection:
        if is_at_once:
            connection.sendall(offer + sent + whole(platform))
        else:
            for piece in (offer, sent[:9], sent[9:] + whole(platform)):
                connection.sendall(piece)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert statuses(connection, 2) == [202, 202]
        look = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        connection.sendall(look + whole(platform))
        assert statuses(connection, 2) == [200, 202]


def test_who_waits_for_leave_to_send_gets_it_or_the_refusal(platform: Platform) -> None:
    body = json.dumps(LETTER).encode()
    with closing(socket.create_connection(address(platform))) as connection:
        connection.settimeout(20)
        connection.sendall(head(platform, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert statuses(connection, 1) == [202]
    with closing(socket.create_connection(address(platform))) as connection:
        connection.sendall(head(platform, "Content-Length: 900000000", "Expect: 100-continue"))
        assert statuses(connection, 1) == [413]


def test_a_client_that_sends_too_much_sees_the_refusal(platform: Platform) -> None:
    headers = {"Authorization": f"Bearer {platform.demo['API_KEY']}", "Content-Type": "application/json"}
    answer = requests.post(f"{platform.demo['API_URL']}/emails", data=b" " * 40_000_000, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("path", ["/api/v1/domains", "/accounts/login/"])
def test_what_no_page_needs_is_not_read(platform: Platform, path: str) -> None:
    """Bodies for Django wait in memory for a thread, and anyone may send one."""
    stranger = ("127.0.3.1", 0)  # of its own, as strangers are counted by address
    with closing(socket.create_connection(address(platform), source_address=stranger)) as connection:
        connection.sendall(head(platform, "Content-Length: 5000000", path=path))
        assert statuses(connection, 1) == [413]


def test_clients_that_turn_away_do_no_harm(platform: Platform) -> None:
    for request in (whole(platform), whole(platform)[:-5], head(platform, "Content-Length: 100"), b"POST /api/v1/em"):
        for _ in range(10):
            with closing(socket.create_connection(address(platform))) as connection:
                connection.sendall(request)
    static = platform.var / "static"
    largest = max((path for path in static.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    big = b"GET /static/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % str(largest.relative_to(static)).encode()
    for _ in range(20):  # more than there are threads
        with closing(socket.create_connection(address(platform))) as connection:
            connection.sendall(big)
            connection.recv(10)
    assert post(platform).status_code == 202
    assert requests.get(f"{platform.web_url}/accounts/login/", timeout=20).status_code == 200


def stylesheet(platform: Platform) -> str:
    page = requests.get(f"{platform.web_url}/accounts/login/", timeout=20).text
    found = re.search(r'href="/static/([^"]+\.css)"', page)
    assert found
    return found[1]


def test_everything_else_is_served_as_ever(platform: Platform) -> None:
    name = stylesheet(platform)
    answer = requests.get(f"{platform.web_url}/static/{name}", timeout=20)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, 'text/css; charset="utf-8"')
    assert int(answer.headers["Content-Length"]) > 1000
    assert "max-age=" in answer.headers["Cache-Control"]
    kept = {"If-Modified-Since": answer.headers["Last-Modified"]}
    assert requests.get(answer.url, headers=kept, timeout=20).status_code == 304
    api = platform.demo["API_URL"]
    key = {"Authorization": f"Bearer {platform.demo['API_KEY']}"}
    assert requests.get(f"{api}/emails", headers=key, timeout=20).json()["object"] == "list"
    assert requests.put(f"{api}/emails", headers=key, timeout=20).status_code == 405
    assert requests.post(f"{api}/emails/", headers=key, json={}, timeout=20).status_code == 404
    assert requests.head(f"{platform.web_url}/healthz", timeout=20).content == b""
    with closing(socket.create_connection(address(platform))) as connection:
        connection.settimeout(20)
        connection.sendall("GET /accounts/login/?next=/é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 400"  # RFC 9112, 3.2: no such octets stand in a request's line


def test_a_header_with_an_underscore_is_no_other_header(platform: Platform) -> None:
    """WSGI would take it for the one with a hyphen, which a proxy sets and vouches for."""
    headers = {"Authorization": f"Bearer {platform.demo['API_KEY']}", "Idempotency_Key": "a b"}
    answer = requests.post(f"{platform.demo['API_URL']}/emails", json=LETTER, headers=headers, timeout=20)
    assert answer.status_code == 202


# ---- Its end, and others' --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own() -> Iterator[Platform]:
    """A platform to be hurt."""
    with running_platform(WORKER_PROCESSES="0", API_KEY_RATE="0", API_ORGANIZATION_RATE="0") as running:
        yield running


def test_who_was_answered_before_the_end_is_stored_and_who_was_heard_is_answered(own: Platform) -> None:
    answered: list[str] = []
    cut_off: list[Exception] = []
    warm, ended = threading.Barrier(17), threading.Event()

    def send(number: int) -> None:
        connection = HTTPConnection(*address(own), timeout=20)
        headers = {"Authorization": f"Bearer {own.demo['API_KEY']}", "Content-Type": "application/json"}
        is_first = True
        while not ended.is_set():
            try:
                connection.request("POST", "/api/v1/emails", json.dumps(LETTER | {"subject": str(number)}), headers)
                answer = connection.getresponse()
                body = json.loads(answer.read())
            except ConnectionRefusedError:
                return
            except (OSError, HTTPException) as error:
                cut_off.append(error)
                return
            if answer.status == 202:
                answered.append(body["id"])
            if is_first:
                warm.wait(20)
                is_first = False

    old = own.children["web"]
    threads = [threading.Thread(target=send, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    warm.wait(20)
    wait_for(lambda: len(answered) > 100, "many are answered")
    os.kill(old, signal.SIGTERM)
    own.wait_restarted("web", old)
    ended.set()
    for thread in threads:
        thread.join()
    with own.database() as connection:
        stored = {str(row[0]) for row in connection.execute("SELECT id FROM relay_message").fetchall()}
    assert set(answered) <= stored
    # A connection that is closed between two requests cuts off nobody; every message that is stored was answered.
    assert len(stored) == len(answered), cut_off


def test_without_valkey_mail_is_taken(own: Platform) -> None:
    wait_for(lambda: is_up(own), "web is back")
    stopped = own.children["valkey"]
    os.kill(stopped, signal.SIGSTOP)  # it hangs, which is worse than to be gone
    try:
        answers = [post(own, LETTER | {"subject": str(number)}) for number in range(5)]
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert [answer.status_code for answer in answers] == [202] * 5
    assert all(is_stored(own, answer.json()["id"]) for answer in answers)


def test_without_a_database_it_is_told_and_later_all_is_well(own: Platform) -> None:
    key = str(uuid4())
    stopped = own.children["postgres"]
    os.kill(stopped, signal.SIGKILL)
    answer = post(own)
    if answer.status_code != 202:  # it may be back already
        assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    own.wait_restarted("postgres", stopped)
    wait_for(lambda: post(own, LETTER | {"subject": key}).status_code == 202, "mail is taken again")


def is_up(platform: Platform) -> bool:
    try:
        return requests.get(f"{platform.web_url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False
