"""Identifiers. A UUIDv7 (RFC 9562, 5.7) carries its millisecond, so ids sort by time and name their partition."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH, _MILLISECOND = datetime.fromtimestamp(0, UTC), timedelta(milliseconds=1)
_lock = threading.Lock()
_last = 0  # the 60 leading bits (48 of milliseconds, 12 of a counter) given out last


def uuid7() -> UUID:
    """A new UUIDv7, greater than every one that this process made before (RFC 9562, 6.2, method 1)."""
    global _last
    with _lock:
        _last = max(_last + 1, (time.time_ns() // 1_000_000) << 12)
        milliseconds, counter = _last >> 12, _last & 0xFFF
    tail = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | tail)


def time_of(identifier: UUID) -> datetime:
    """The moment at which a UUIDv7 was made."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def first_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 of a moment: a bound for partitions and for pages by time. Before 1970 nothing was."""
    return UUID(int=max(0, (moment - _EPOCH) // _MILLISECOND) << 80)
