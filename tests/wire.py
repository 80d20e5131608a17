"""A client that says what it is told to, octet for octet."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.platform import Platform

GOOD = b"From: admin@demo.test\r\nTo: ada@example.test\r\nSubject: Hi\r\n\r\nHello\r\n"


class Wire:
    def __init__(self, port: int, *, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        if tls:
            self._socket = tls.wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")

    def read(self) -> str:
        """One reply, its lines joined; empty when the server has closed the connection."""
        lines = []
        while True:
            line = self._file.readline().decode()
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def say(self, octets: bytes) -> str:
        self.send(octets)
        return self.read()

    def command(self, text: str) -> str:
        return self.say(text.encode() + b"\r\n")

    def commands(self, *texts: str) -> list[str]:
        """Several commands in one packet, and their replies."""
        self.send("".join(f"{text}\r\n" for text in texts).encode())
        return [self.read() for _ in texts]

    def start_tls(self) -> None:
        assert self.command("STARTTLS").startswith("220")
        self.wrap()

    def wrap(self) -> None:
        self._socket = trusting().wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")

    @property
    def certificate(self) -> bytes:
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket.getpeercert(binary_form=True) or b""

    def sign_in(self, platform: Platform) -> str:
        """EHLO, STARTTLS, EHLO, AUTH; the reply to the last."""
        self.command("EHLO client.test")
        self.start_tls()
        self.command("EHLO client.test")
        return self.command(f"AUTH PLAIN {plain(platform)}")

    def envelope(self, recipient: str = "ada@example.test", parameters: str = "") -> None:
        answers = self.commands(f"MAIL FROM:<admin@demo.test>{parameters}", f"RCPT TO:<{recipient}>")
        assert [answer[:3] for answer in answers] == ["250", "250"], answers

    def deliver(self, content: bytes, recipient: str = "ada@example.test") -> str:
        """The final reply to a content, given as it goes over the wire but for the end of data."""
        self.envelope(recipient)
        assert self.command("DATA").startswith("354")
        return self.say(content + b".\r\n")

    def is_closed(self) -> bool:
        try:
            return self._file.readline() == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def patience(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._socket.close()


def trusting() -> ssl.SSLContext:
    return ssl._create_unverified_context()


@contextmanager
def wire(platform: Platform, port: int = 0, *, source: str = "127.0.0.1") -> Iterator[Wire]:
    """`port`: of another process than the platform's own."""
    opened = Wire(port or platform.smtp_port, source=source)
    try:
        assert opened.read().startswith("220 ")
        yield opened
    finally:
        opened.close()


@contextmanager
def signed_in(platform: Platform, port: int = 0, *, source: str = "127.0.0.1") -> Iterator[Wire]:
    with wire(platform, port, source=source) as client:
        assert client.sign_in(platform).startswith("235 2.7.0")
        yield client


def plain(platform: Platform, password: str = "") -> str:
    demo = platform.demo
    return encoded(f"\0{demo['SMTP_USER']}\0{password or demo['SMTP_PASSWORD']}")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def count_messages(platform: Platform) -> int:
    with platform.database() as connection:
        row = connection.execute("SELECT count(*) FROM relay_message").fetchone()
        assert row
        return int(row[0])
