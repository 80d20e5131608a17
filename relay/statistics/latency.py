"""Times of delivery in buckets that grow by a constant factor, so that percentiles can be told from counts. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

# Upper bounds in milliseconds, from 10 ms to 3.6 days; each is 26 % above the one before. What is longer is in the last bucket.
BOUNDS_MS = [round(10 * 2 ** (number / 3)) for number in range(75)]


def bucket_of(milliseconds: float) -> int:
    """As PostgreSQL's width_bucket(milliseconds, BOUNDS_MS)."""
    return bisect_right(BOUNDS_MS, milliseconds)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The time in milliseconds within which so large a share (0 to 1) was delivered; None where nothing was.

    Within a bucket times are taken to be spread evenly by their logarithm. At worst it is off by a bucket's width, 26 %; with
    many times it is nearly always within a few percent.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            part = min(1.0, max(0.0, (wanted - below - 0.5) / count))
            upper = BOUNDS_MS[min(bucket, len(BOUNDS_MS) - 1)]
            if bucket == 0:
                return upper * part
            lower = BOUNDS_MS[bucket - 1]
            return float(lower * (upper / lower) ** part)
        below += count
    raise AssertionError("the counts do not add up")  # pragma: no cover


def added(one: Sequence[int], other: Sequence[int]) -> list[int]:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    return [count + (shorter[number] if number < len(shorter) else 0) for number, count in enumerate(longer)]
