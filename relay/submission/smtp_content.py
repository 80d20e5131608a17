"""The content of one message while it arrives: small ones in memory, large ones in a file that has no name."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

IN_MEMORY = 256 * 1024  # octets
DOT_LINE = b"\r\n."


class Arriving:
    """Octets of a message, appended as they come. More than `limit` are counted, not kept."""

    def __init__(self, limit: int, directory: Path) -> None:
        self.octets = 0
        self._limit, self._directory = limit, directory
        self._first = b""  # most messages come in one piece, which is kept as it is
        self._kept = bytearray()
        self._file: IO[bytes] | None = None
        self.is_lost = False  # there was no place for it
        self.has_dots = False  # transparency dots are still to be taken out

    @property
    def is_too_large(self) -> bool:
        return self.octets > self._limit

    def add(self, octets: bytes | bytearray | memoryview) -> None:
        """`octets` may change afterwards."""
        is_first = not self.octets
        self.octets += len(octets)
        if self.is_too_large or self.is_lost:
            self.close()
            return
        if is_first:
            self._first = bytes(octets)
        else:
            self._kept += octets
        if len(self._first) + len(self._kept) > IN_MEMORY:
            try:
                self._spill()
            except OSError as error:
                logger.error("A message cannot wait in %s: %s", self._directory, error)
                self.is_lost = True

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
            self._file.write(self._first)
            self._first = b""
        self._file.write(self._kept)
        self._kept.clear()

    def take(self) -> bytes:
        """The message as it was meant, which is no longer held here."""
        if self._file is None:
            whole = self._first + self._kept if self._kept else self._first
        else:
            self._file.seek(0)
            whole = self._file.read() + self._kept
        self.close()
        return without_dots(whole) if self.has_dots else whole

    def parts(self, octets: int) -> Iterator[bytes]:
        """The same in parts of so many, which need not be in memory together; dots stay in."""
        if self._file is None:
            yield self.take()
            return
        self._file.write(self._kept)
        self._kept.clear()
        self._file.seek(0)
        while self._file and (part := self._file.read(octets)):
            yield part
        self.close()

    def close(self) -> None:
        self._first = b""
        self._kept.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


def without_dots(content: bytes) -> bytes:
    """RFC 5321, 4.5.2: the first dot of a line that begins with one was added for transparency."""
    content = content.replace(DOT_LINE, b"\r\n")
    return content[1:] if content.startswith(b".") else content
