"""The messages that the load generator sends and the sink recognizes: real-looking text of a wanted size, each with a mark."""

from __future__ import annotations

import base64
import random

MARK = b"X-Bench: "
BODIES = 64  # different ones, so that no compression on the way takes one message for another


class Writer:
    """Makes messages of about `size` octets; bodies are made once."""

    def __init__(self, size: int, sender: str) -> None:
        self._head = (
            f"From: Bench <{sender}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n".encode()
        )
        chance = random.Random(size)
        self._bodies = [_body(chance, max(0, size - len(self._head) - 170)) for _ in range(BODIES)]

    def write(self, mark: str, number: int, recipient: str) -> bytes:
        """The message with its transparency dots and final dot (RFC 5321, 4.5.2: no body line begins with one)."""
        own = f"To: {recipient}\r\nSubject: Order {number} is on its way\r\nMessage-ID: <{mark}@bench.test>\r\n"
        date = "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        return b"".join(
            (
                self._head,
                (own + date).encode(),
                MARK,
                mark.encode(),
                b"\r\n\r\n",
                self._bodies[number % BODIES],
                b".\r\n",
            )
        )


def _body(chance: random.Random, size: int) -> bytes:
    text = base64.b64encode(chance.randbytes(size * 3 // 4 + 57))
    lines = [text[at : at + 74] for at in range(0, max(74, size - size // 38), 74)]
    return b"\r\n".join(lines) + b"\r\n"


def mark_of(content: bytes | bytearray) -> str:
    """The mark of a message that arrived; empty when it has none."""
    start = content.find(b"\n" + MARK)
    if start < 0:
        return ""
    start += 1 + len(MARK)
    return content[start : content.index(b"\r", start)].decode()
