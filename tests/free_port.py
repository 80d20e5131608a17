"""A port for who will listen on it in a moment."""

from __future__ import annotations

from plugsend.ports import Ports, following


def free_port(host: str = "127.0.0.1", *, udp: bool = False) -> int:
    """Not one that the kernel may lend to an outgoing connection meanwhile, as those are that it names itself."""
    return Ports().choose(host, following(0), udp=udp)
