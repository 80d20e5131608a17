"""Files at addresses that customers chose: fetched where they are public, and never from our own network."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from domains.guarded_fetch import FILES_AT_ONCE, Answer, FetchFailed, TooLarge, fetch_files, read_url
from tests.dns_zone import Zone
from tests.file_hosts import HOST, FileHost, file, running_hosts

FILES = {
    "/a.pdf": file(b"%PDF", "Content-Type: application/pdf; x=y"),
    "/early": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + file(b"late"),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
    "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"190\r\n%b\r\n" % (b"x" * 400) * 3
    + b"0\r\n\r\n",
    "/open": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "/moved": b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
    "/gzip": file(b"\x1f\x8b", "Content-Encoding: gzip"),
    "/%C3%BC?a=%20b": file(b"quoted"),
    "/large": file(b"x" * 1001),
    "/long": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "/ssh": b"SSH-2.0-hello\r\n\r\n",
    **{f"/{number}": file(str(number).encode() * 300) for number in range(5)},
}


@pytest.fixture
def hosts(tmp_path: Path, settings: Settings) -> Iterator[tuple[Zone, FileHost]]:
    """In live mode, where only this host's address is let through."""
    settings.SANDBOX = False
    settings.ALLOWED_NETWORKS = [ip_network("127.0.0.1/32")]
    with running_hosts(tmp_path, settings, FILES) as running:
        yield running


def fetch(*urls: str, most_octets: int = 1000, within_s: float = 5.0) -> list[Answer | FetchFailed]:
    return fetch_files(urls, most_octets=most_octets, within_s=within_s)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/a.pdf", b"%PDF"),
        ("/early", b"late"),
        ("/chunked", b"abcde"),
        ("/open", b"until the end"),
        ("/ü?a= b", b"quoted"),
    ],
)
def test_a_file_is_fetched(hosts: tuple[Zone, FileHost], path: str, content: bytes) -> None:
    zone, host = hosts
    (answer,) = fetch(f"https://{HOST}:{host.port}{path.replace(' ', '%20')}")
    assert isinstance(answer, Answer), answer
    assert answer.body == content
    # Asked for once: the address that was checked is the one that was connected to.
    assert sorted(zone.asked) == [f"{HOST} A", f"{HOST} AAAA"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/moved", "redirects"),
        ("/missing", "404"),
        ("/gzip", "encoded as gzip"),
        ("/large", "room"),
        ("/long", "room"),
        ("/chunks", "room"),
        ("/short", "10"),
        ("/ssh", "SSH"),
        ("/drip", "took more than"),
    ],
)
def test_what_is_no_file_is_told(hosts: tuple[Zone, FileHost], path: str, why: str) -> None:
    (failure,) = fetch(f"https://{HOST}:{hosts[1].port}{path}", within_s=0.5 if path == "/drip" else 5)
    assert isinstance(failure, FetchFailed)
    assert why in str(failure)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://{host}:{port}/a.pdf", "must begin with https://"),
        ("file:///etc/passwd", "must begin with"),
        ("//{host}/a.pdf", "must begin with"),
        ("https://ada:secret@{host}:{port}/a.pdf", "user name"),
        ("https://{host}:{port}/a b", "character"),
        ("https://{host}:{port}/a\r\nHost: evil.test", "character"),
        ("https://{host}:{port}\\@evil.test/", "character"),
        ("https://{host}:99999/", "cannot be read"),
        ("https://{host}:25/", "port 25"),
        ("https://{host}:0/", "port 0"),
        ("https:///a.pdf", "names no host"),
        ("https://a..b/", "names no host"),
        ("https://" + "a" * 2100, "longer"),
        ("https://other.example.test:{port}/a.pdf", "certificate"),
        ("https://unknown.example.test/", "no address"),
        ("https://2130706433:{port}/", "no address"),
        ("https://0x7f.1:{port}/", "no address"),
        ("https://0177.0.0.1:{port}/", "no address"),
        ("https://127.1:{port}/", "no address"),
        ("https://127.0.0.2:{port}/", "not a public address"),
        ("https://0.0.0.0:{port}/", "not a public address"),
        ("https://１２７.0.0.2:{port}/", "not a public address"),
        ("https://[::]:{port}/", "not a public address"),
        ("https://[::127.0.0.2]:{port}/", "not a public address"),
        ("https://[64:ff9b::a9fe:a9fe]/", "not a public address"),
        ("https://[2002:7f00:2::]/", "not a public address"),
        ("https://[fe80::1%25lo]/", "not a public address"),
        ("https://[fd00::1]/", "not a public address"),
        ("https://100.64.0.1/", "not a public address"),
        ("https://[::1]:{port}/", "not a public address"),
        ("https://[::ffff:10.0.0.1]/", "not a public address"),
        ("https://169.254.169.254/latest/meta-data", "not a public address"),
        ("https://localhost.:{port}/", "not a public address"),
        ("https://inner.example.test/", "10.0.0.1, not a public address"),
    ],
)
def test_nothing_else_is_connected_to(hosts: tuple[Zone, FileHost], settings: Settings, url: str, why: str) -> None:
    zone, host = hosts
    zone.rows["inner.example.test A"] = ["10.0.0.1"]
    if "localhost" in url:
        settings.ALLOWED_NETWORKS = []
    (failure,) = fetch(url.format(host=HOST, port=host.port))
    assert isinstance(failure, FetchFailed)
    assert why in str(failure)
    assert host.requests == []


def test_files_are_fetched_side_by_side_and_share_their_room(hosts: tuple[Zone, FileHost]) -> None:
    host = hosts[1]
    host.together = 5
    urls = [f"https://{HOST}:{host.port}/{number}" for number in range(5)]
    answers = fetch(*urls, most_octets=1500)
    assert [answer.body[:1] for answer in answers if isinstance(answer, Answer)] == [b"0", b"1", b"2", b"3", b"4"]
    host.requests.clear()
    assert sum(isinstance(answer, TooLarge) for answer in fetch(*urls, most_octets=1499)) == 1


def test_one_that_fails_leaves_the_others(hosts: tuple[Zone, FileHost]) -> None:
    port = hosts[1].port
    answers = fetch(f"https://{HOST}:{port}/drip", f"https://{HOST}:{port}/a.pdf", "nonsense", within_s=1.0)
    assert [type(answer) for answer in answers] == [FetchFailed, Answer, FetchFailed]


def test_files_that_wait_for_others_are_held_to_the_same_deadline(hosts: tuple[Zone, FileHost]) -> None:
    port = hosts[1].port
    answers = fetch(*[f"https://{HOST}:{port}/drip"] * FILES_AT_ONCE, f"https://{HOST}:{port}/a.pdf", within_s=0.5)
    assert [str(answer).startswith("it took") for answer in answers[FILES_AT_ONCE:]] == [True]


def test_the_sandbox_takes_plain_http_from_this_machine(tmp_path: Path, settings: Settings) -> None:
    assert settings.SANDBOX
    with running_hosts(tmp_path, settings, FILES, is_encrypted=False) as (_, host):
        answers = fetch(f"http://localhost:{host.port}/a.pdf", f"http://127.0.0.1:{host.port}/a.pdf")
    assert [answer.body for answer in answers if isinstance(answer, Answer)] == [b"%PDF", b"%PDF"]


@pytest.mark.parametrize(
    ("url", "authority", "target", "filename"),
    [
        ("https://Example.test", "example.test", "/", ""),
        (
            "https://bücher.test/Grüße%20.pdf?x=1/y#z",
            "xn--bcher-kva.test",
            "/Gr%C3%BC%C3%9Fe%20.pdf?x=1/y",
            "Grüße .pdf",
        ),
        ("https://[2001:db8::1]:8443/a/b.png", "[2001:db8::1]:8443", "/a/b.png", "b.png"),
        ("https://example.test:443/100%/x", "example.test", "/100%/x", "x"),
    ],
)
def test_addresses_are_taken_as_people_write_them(url: str, authority: str, target: str, filename: str) -> None:
    read = read_url(url)
    assert (read.authority, read.target, read.filename) == (authority, target, filename)
