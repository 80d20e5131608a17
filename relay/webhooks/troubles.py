"""Why an attempt failed, in words, and what to do about it: read from what was heard (`attempts.Attempt`). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """`heard`: the fact itself, as the network or the receiver told it."""

    what: str
    advice: str
    heard: str

    @property
    def in_words(self) -> str:
        return f"{self.what} {self.advice} ({self.heard})"


# The first that is found in the fact holds; what is caught stands in the words.
_TABLE = [
    (re.compile(pattern, re.I), what, advice)
    for pattern, what, advice in (
        (r"^the answer was 40[13]\b",
         "Your server wants a login for this address.",
         "Let the requests in without one: their signature tells that they are ours."),
        (r"^the answer was 40[45]\b",
         "There is nothing at this address that takes a POST.",
         "Compare its path with that of your program."),
        (r"^the answer was 410\b", "Your server says that the address is gone for good.", "Enable the endpoint to try again."),
        (r"^the answer was (?:408|504)\b",
         "Your program took too long.",
         "Answer with 200 first and do the work afterwards."),
        (r"^the answer was (?:413|414|431)\b",
         "The event is larger than your server takes.",
         "Let it take bodies of 64 KB at least."),
        (r"^the answer was 429\b", "Your server asked us to slow down.", "We wait as long as it said; nothing is to be done."),
        (r"^the answer was 50[23]\b",
         "The program behind your server does not answer.",
         "See whether it runs; its proxy answers in its place."),
        (r"^the answer was 5", "Your program failed at this event.", "Its own log tells why."),
        (r"^the answer was [1-9]", "Your program did not take the event.", "Any status from 200 to 299 says that it did."),
        (r"^the answer was “", "What answered does not speak HTTP.", "Check the port."),
        (r"^it redirects", "The address leads on to another, which is not followed.", "Give the final address."),
        (r"Errno 111|connection refused|connect call failed",
         "Nothing takes connections at this address.",
         "Start your program, and check the port and the firewall."),
        (r"has no address", "The name of the host was not found.", "Check how it is written, and its A or AAAA record."),
        (r"not a public address", "The address leads into a private network.", "Give one that the internet reaches."),
        (r"no route from here|Errno (?:101|113)\b|unreachable|no route to host",
         "There is no way from here to that address.",
         "Check the host’s A and AAAA records; one that has IPv6 only may need IPv4, too."),
        (r"did not answer|Errno 110\b|timed out",
         "No connection came about in time.",
         "See whether the host is up and its firewall lets us in."),
        (r"took more than", "Your program took too long.", "Answer with 200 first and do the work afterwards."),
        (r"certificate has expired", "The TLS certificate has expired.", "Renew it."),
        (r"hostname mismatch|not valid for", "The TLS certificate is for another name.", "Get one for this host."),
        (r"self[- ]signed|unable to get (?:local )?issuer|certificate.verify",
         "The TLS certificate cannot be trusted.",
         "Use one of a public authority, and serve its intermediate certificates with it."),
        (r"\bssl\b|\btls\b",
         "The encrypted connection did not come about.",
         "See whether the port takes HTTPS, with TLS 1.2 or later."),
        (r"Errno (?:32|104)\b|reset|bytes? read|closed|broken pipe|connection lost",
         "The connection ended before there was an answer.",
         "Your program’s log, or that of the proxy before it, tells why."),
        (r"^our own error", "PlugSend itself failed here.", "It is tried again; nothing is to be done."),
    )
]  # fmt: skip


def trouble_of(heard: str) -> Trouble | None:
    """None: nothing went wrong. `heard`: an attempt's error, or an endpoint's last result."""
    if not heard or re.match(r"[0-9]{3}, in ", heard):  # Outcome.in_words of what was taken
        return None
    for pattern, what, advice in _TABLE:
        if pattern.search(heard):
            return Trouble(what, advice, heard)
    return Trouble("The request did not get through.", "It is tried again.", heard)
