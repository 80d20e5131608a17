"""How hard a group of exchangers may be used: connections, rate, and a circuit breaker. No I/O; the caller brings the time.

Connections grow with success (by one for each message at first, later by one for each round, as TCP's window does) and are
halved when the receiver asks us to slow down (421, 4.7.x) or cannot be reached. Some failures in a row suspend the group;
when the pause is over one probe decides. Times are `time.monotonic()` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

CUT_PAUSE_S = 1.0  # what fails together counts once
WINDOW_S = 10.0  # over which the rate is measured
RATE_FLOOR = 0.2  # messages a second
RATE_GROWTH = 1.5  # for each window without complaint
RATE_FORGET = 100.0  # a limit above this is none


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    first_connections: int = 5
    most_connections: int = 100
    failures_to_suspend: int = 5
    first_pause_s: float = 30.0
    longest_pause_s: float = 900.0


@dataclass(slots=True)
class Standing:
    """What is kept about a group while there is trouble (`relay.models.ExchangerGroup`)."""

    connections: int
    messages_per_second: float | None
    suspended_for_s: float | None
    failures: int
    reason: str = ""
    last_reply: str = ""
    suspended_since_s: float | None = None  # how long ago the first pause began


class Throttle:
    def __init__(self, limits: ThrottleLimits) -> None:
        self.limits = limits
        self.connections = limits.first_connections
        self.rate: float | None = None
        self.suspended_until: float | None = None
        self.suspended_since: float | None = None
        self.failures = 0
        self.reason = self.last_reply = ""
        self.is_changed = False  # since `standing` was taken last
        self._ceiling = limits.most_connections  # up to here growth is quick
        self._successes = 0
        self._pauses = 0
        self._cut_at = float("-inf")
        self._rate_cut_at = 0.0
        self._window_start = 0.0
        self._window_count = 0
        self._last_window_rate = 0.0
        self._free_at = 0.0

    # ---- What may be done --------------------------------------------------------------------------------------------

    def is_suspended(self, now: float) -> bool:
        return self.suspended_until is not None and now < self.suspended_until

    @property
    def is_probing(self) -> bool:
        """Suspended, and what happens next decides."""
        return self.suspended_until is not None

    def allowed(self, now: float) -> int:
        """Connections at once."""
        if self.is_suspended(now):
            return 0
        return 1 if self.is_probing else self.connections

    def wait_s(self, now: float) -> float:
        """How long the next message must wait for its turn; the turn is taken."""
        if self.rate is None:
            return 0.0
        turn = max(now, self._free_at)
        self._free_at = turn + 1 / self.rate
        return turn - now

    # ---- What happened -----------------------------------------------------------------------------------------------

    def succeeded(self, now: float) -> None:
        """The exchanger took a message, or judged a recipient: it is there and speaks to us."""
        if now - self._window_start >= WINDOW_S:
            self._last_window_rate = self._window_count / WINDOW_S
            self._window_start, self._window_count = now, 0
        self._window_count += 1
        if self.failures or self.is_probing:
            self.failures = self._pauses = 0
            self.suspended_until = self.suspended_since = None
            self.is_changed = True
        self._successes += 1
        if self.connections < self.limits.most_connections:
            step = 1 if self.connections < self._ceiling else self.connections
            if self._successes >= step:
                self._successes = 0
                self.connections += 1
        if self.rate is not None and now - self._rate_cut_at >= WINDOW_S:
            self._rate_cut_at = now
            self.rate *= RATE_GROWTH
            self.is_changed = True
            if self.rate > RATE_FORGET:
                self.rate = None
        if self.rate is None and self.connections >= self.limits.first_connections and self.reason:
            self.reason = self.last_reply = ""
            self.is_changed = True

    def slow_down(self, now: float, reason: str, reply: str) -> None:
        """The receiver asked for less (RFC 5321, 3.8: 421; RFC 3463: 4.7.x)."""
        measured = max(self._last_window_rate, self._window_count / max(1.0, now - self._window_start))
        if self._cut(now, reason, reply) and measured:  # one that lets us in for nothing has no rate
            self.rate = max(RATE_FLOOR, min(self.rate or measured, measured) / 2)
            self._rate_cut_at = now
        self._count_failure(now)

    def unreachable(self, now: float, reason: str, text: str) -> None:
        """No connection, or it broke before anything could be said."""
        self._cut(now, reason, text)
        self._count_failure(now)

    def _cut(self, now: float, reason: str, text: str) -> bool:
        self.reason, self.last_reply = reason, text
        self.is_changed = True
        if now - self._cut_at < CUT_PAUSE_S:
            return False
        self._cut_at = now
        self.connections = self._ceiling = max(1, self.connections // 2)
        self._successes = 0
        return True

    def _count_failure(self, now: float) -> None:
        self.failures += 1
        was_probe = self.is_probing and not self.is_suspended(now)
        if was_probe or (self.failures >= self.limits.failures_to_suspend and not self.is_probing):
            pause = min(self.limits.first_pause_s * 2**self._pauses, self.limits.longest_pause_s)
            self._pauses += 1
            self.suspended_until = now + pause
            self.suspended_since = self.suspended_since or now
            self.connections = self._ceiling = min(self.connections, self.limits.first_connections)

    # ---- What others know --------------------------------------------------------------------------------------------

    @property
    def is_troubled(self) -> bool:
        return bool(self.reason) or self.rate is not None or self.is_probing or self.failures > 0

    def standing(self, now: float) -> Standing:
        self.is_changed = False
        left = max(0.0, self.suspended_until - now) if self.suspended_until is not None else None
        since = now - self.suspended_since if self.suspended_since is not None else None
        return Standing(self.connections, self.rate, left, self.failures, self.reason, self.last_reply, since)

    def adopt(self, standing: Standing, now: float) -> None:
        """Another worker's experience, or an operator's word."""
        self.connections = max(1, min(standing.connections, self.limits.most_connections))
        self.rate = standing.messages_per_second
        self.suspended_until = now + standing.suspended_for_s if standing.suspended_for_s is not None else None
        since = standing.suspended_since_s
        self.suspended_since = now - since if since is not None else None
        self.failures = standing.failures
        self.reason, self.last_reply = standing.reason, standing.last_reply
        if self.suspended_until is None:
            self._pauses = 0
        self.is_changed = False
