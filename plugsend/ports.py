"""Chooses ports to listen on: the wanted one if it is free, else the next; never one that another PlugSend holds."""

import contextlib
import errno
import hashlib
import random
import socket
import sys
from collections.abc import Iterable, Iterator

SUBMISSION, SUBMISSION_UNPRIVILEGED = 587, 2587  # RFC 6409 3.1 and its stand-in above 1024
SUBMISSIONS, SUBMISSIONS_UNPRIVILEGED = 465, 2465  # RFC 8314 3.3: TLS from the first octet
SUBMISSION_ALTERNATIVE = 2525  # no RFC's, and everybody's
RETURNS, RETURNS_UNPRIVILEGED = 25, 2526  # RFC 5321 4.5.4.2: where mail exchangers are asked
TRIES = 50
# Below Linux' ephemeral range (32768 and up): no outgoing connection can take such a port while its owner restarts.
_QUIET_RANGE = range(20000, 30000)
_LOOPBACK = {"127.0.0.1", "localhost", ""}


class Ports:
    """Remembers what it gave away. Keep it as long as the ports are in use."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._reservations: list[socket.socket] = []

    def choose(self, host: str, wanted: Iterable[int], *, udp: bool = False) -> int:
        """The first of `wanted` that can be listened on at `host`. Raises OSError if none is."""
        refusal: OSError | None = None
        for port in wanted:
            try:
                number = self._probe(host, port, udp)
            except OSError as error:
                refusal = error
                continue
            if number not in self._taken and self._reserve(number):
                self._taken.add(number)
                return number
        raise OSError(errno.EADDRINUSE, f"no free port to listen on at {host}") from refusal

    def choose_quiet(self, host: str, purpose: str, *, udp: bool = False) -> int:
        """A free port that nobody asked for by number; the same at each start for the same `purpose`, if it can be."""
        first = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")
        wanted = (_QUIET_RANGE[(first + step) % len(_QUIET_RANGE)] for step in range(TRIES))
        return self.choose(host, wanted, udp=udp)

    def _probe(self, host: str, port: int, udp: bool) -> int:
        """Listens for a moment, without SO_REUSEPORT, which would let us share the port of a stranger."""
        with contextlib.ExitStack() as stack:
            number = 0
            for family, address in _addresses(host):
                with contextlib.suppress(_NoSuchFamily):
                    number = _listen(stack, family, socket.SOCK_STREAM, address, number or port)
                    if udp:
                        _listen(stack, family, socket.SOCK_DGRAM, address, number)
            if not number:
                raise OSError(errno.EADDRNOTAVAIL, f"cannot listen at {host}")
            return number

    def _reserve(self, port: int) -> bool:
        """Keeps other supervisors off until our child listens (they may start in the same second)."""
        if sys.platform != "linux":
            return True
        # unix(7): an abstract name lives in the network namespace, as ports do, and goes when we go.
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0plugsend-port-{port}")
        except OSError:
            reservation.close()
            return False
        self._reservations.append(reservation)
        return True


class _NoSuchFamily(Exception):
    """The machine has no IPv6."""


def following(port: int) -> list[int]:
    """A port and those after it. Of 0, which is any, some by chance: the kernel would name one that it lends to outgoing
    connections, too, and one of these may take it while its owner starts."""
    return random.sample(_QUIET_RANGE, TRIES) if port == 0 else [n for n in range(port, port + TRIES) if n < 65536]


def _addresses(host: str) -> Iterator[tuple[socket.AddressFamily, str]]:
    if host in _LOOPBACK:
        # A browser may try ::1 first for "localhost" and would find whoever listens there.
        yield socket.AF_INET, "127.0.0.1"
        yield socket.AF_INET6, "::1"
    else:
        yield (socket.AF_INET6 if ":" in host else socket.AF_INET), host


def _listen(
    stack: contextlib.ExitStack, family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int
) -> int:
    try:
        probe = stack.enter_context(socket.socket(family, kind))
        if kind == socket.SOCK_STREAM:
            # Connections of our last run may linger in TIME_WAIT; on Linux this does not share with a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        if kind == socket.SOCK_STREAM:
            probe.listen(1)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise _NoSuchFamily from error
        raise
    return int(probe.getsockname()[1])
