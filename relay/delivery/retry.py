"""When to try again: growing delays with jitter, until the message expires. No I/O; the caller brings the chance."""

from datetime import timedelta

HORIZON = timedelta(hours=72)  # unless the message has its own end; RFC 5321 (4.5.4.1): generally 4 to 5 days

# Seconds before the first, second, … retry; the last repeats. RFC 5321 (4.5.4.1): 30 minutes as a rule, sooner at first.
_USUAL = [60, 300, 900, 1800, 3600, 7200, 14400]
# RFC 6647 (3): most let the second try pass after some minutes; 300 s is the commonest, so the second falls behind it.
_SOON = [60, 330, 600, 900, 1800, 3600, 7200]
_SLOW = [1800, 3600, 7200, 14400, 28800]  # a person must make room, or a name must come back
_LESS_MAIL = [600, 1800, 3600, 7200, 14400]  # who asked for less mail is not asked again at once
_MUCH_SLOWER = [900, 3600, 7200, 14400, 21600]  # somebody must mend something; trying on harms our name
# At least 5 minutes with any jitter: an exchanger that took the message may be at work on it yet (RFC 1047).
_IN_DOUBT = [400, 1200, 3600, 7200, 14400]

_BY_REASON = {
    "greylisted": _SOON,
    "outcome_unknown": _IN_DOUBT,
    **dict.fromkeys(
        ["mailbox_full", "no_such_address", "mailbox_disabled", "mailbox_moved", "no_such_domain", "no_mail_for_domain"],
        _SLOW,
    ),
    **dict.fromkeys(["rate_limited", "sender_limited", "mailbox_busy", "too_many_recipients"], _LESS_MAIL),
    **dict.fromkeys(
        ["policy", "ip_listed", "domain_listed", "spam_suspected", "virus_suspected", "content_rejected",
         "message_malformed", "message_too_large", "authentication_failed", "sender_rejected", "our_name_rejected",
         "relay_denied", "recipient_restricted", "tls_required_by_receiver", "mail_loop"],
        _MUCH_SLOWER,
    ),
}  # fmt: skip
JITTER = 0.2  # the delay is drawn from ±20 %, so that what failed together does not come back together


def retry_delay(attempt: int, reason: str, *, chance: float, scale: float = 1.0) -> timedelta:
    """The pause after attempt number `attempt` (1 is the first). `chance` is uniform in [0, 1)."""
    steps = schedule(reason)
    seconds = steps[min(attempt, len(steps)) - 1]
    return timedelta(seconds=seconds * scale * (1 + JITTER * (2 * chance - 1)))


def schedule(reason: str) -> list[int]:
    """The middles of the pauses in seconds; the last repeats."""
    return _BY_REASON.get(reason, _USUAL)
