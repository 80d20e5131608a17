"""The demonstration's three courses, told in advance as an example, with the states, replies and pauses of real messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """`after`: since the message was submitted. `facts`: name and value."""

    state: str
    words: str
    after: str
    reply: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """`local_part`: of the sandbox's recipient that makes a real message end so."""

    code: str
    title: str
    local_part: str
    address: str
    state: str
    steps: tuple[Step, ...]
    summary: str


_SUBMITTED = Step("submitted", "stored safely, then answered 250", "0 ms", "", (("Door", "SMTP, TLSv1.3"),))
_MX = ("Exchanger", "mx1.example.com")

SCRIPTS = {
    script.code: script
    for script in (
        Script(
            "greylisted", "Greylisted", "greylist", "ada@example.com", "delivered",
            (
                _SUBMITTED,
                Step("deferred", "the receiver greylists new senders", "62 ms",
                     "451 4.7.1 Greylisted, please try again", (("Attempt", "1"), _MX)),
                Step("delivered", "at the second attempt", "1 min 4 s", "250 2.0.0 Ok: queued as 4F1B72C09D",
                     (("Attempt", "2"), _MX, ("Encryption", "TLSv1.3"), ("DKIM", "yourdomain.com"))),
            ),
            "Nothing for you to do: it was tried again when the receiver wanted it.",
        ),
        Script(
            "delivered", "Delivered", "hello", "grace@example.com", "delivered",
            (
                _SUBMITTED,
                Step("delivered", "at the first attempt", "84 ms", "250 2.0.0 Ok: queued as 9C02E7A411",
                     (("Attempt", "1"), _MX, ("Encryption", "TLSv1.3"), ("DKIM", "yourdomain.com"))),
            ),
            "The receiver’s own words, its exchanger, the encryption and the signature stand in the timeline.",
        ),
        Script(
            "bounced", "Bounced", "bounce", "nobody@example.com", "bounced",
            (
                _SUBMITTED,
                Step("bounced", "hard: the address does not exist", "71 ms", "550 5.1.1 No such mailbox here",
                     (("Attempt", "1"), _MX)),
            ),
            "The address is suppressed, so your reputation stays whole. Your webhook knows the reason at once.",
        ),
    )
}  # fmt: skip
