"""What travels between a press and whoever asks it: octets with their number in front."""

from __future__ import annotations

from typing import IO


def write_frame(to: IO[bytes], octets: bytes) -> None:
    to.write(len(octets).to_bytes(4) + octets)
    to.flush()


def read_frame(back: IO[bytes]) -> bytes | None:
    """None: the other side is gone."""
    head = back.read(4)
    if len(head) < 4:
        return None
    octets = back.read(int.from_bytes(head))
    return octets if len(octets) == int.from_bytes(head) else None
