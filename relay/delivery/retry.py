"""When to try again: growing delays with jitter, until the horizon. No I/O; the caller brings the chance."""

from datetime import timedelta

HORIZON = timedelta(hours=72)

# Seconds before the first, second, … retry; the last repeats. RFC 5321 (4.5.4.1): 30 minutes as a rule, sooner at first.
_USUAL = [60, 300, 900, 1800, 3600, 7200, 14400]
_BY_REASON = {
    "greylisted": [60, 180, 300, 600, 1800, 3600],
    "mailbox_full": [1800, 3600, 7200, 14400, 28800],
    "rate_limited": [300, 900, 1800, 3600, 7200],
    "policy": [900, 3600, 7200, 14400],
}
JITTER = 0.2  # the delay is drawn from ±20 %, so that what failed together does not come back together


def retry_delay(attempt: int, reason: str, *, chance: float, scale: float = 1.0) -> timedelta:
    """The pause after attempt number `attempt` (1 is the first). `chance` is uniform in [0, 1)."""
    steps = _BY_REASON.get(reason, _USUAL)
    seconds = steps[min(attempt, len(steps)) - 1]
    return timedelta(seconds=seconds * scale * (1 + JITTER * (2 * chance - 1)))
