"""How the harsh exchangers misbehave: a table, each entry a mail domain `<name>.harsh.test` of the sandbox. No I/O.

Most are a phase of the conversation and a kind of trouble, named `<phase>-<kind>`; the rest have a manner of their own.
"""

from dataclasses import dataclass
from enum import StrEnum

HARSH_DOMAIN = "harsh.test"


class Phase(StrEnum):
    """What the exchanger has just heard when it misbehaves."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    FINAL = "final"
    RSET = "rset"
    IDLE = "idle"


class Kind(StrEnum):
    SILENT = "silent"
    DROP = "drop"
    CUT = "cut"
    CLOSING = "421"
    GARBAGE = "garbage"
    WRONG = "wrong"
    DRIP = "drip"
    LINES = "lines"
    LINE = "line"
    TEMPORARY = "4xx"
    PERMANENT = "5xx"


class Manner(StrEnum):
    """Of the whole conversation."""

    USUAL = "usual"
    SPLIT = "split"
    LATE = "late"
    SYNCHRONOUS = "synchronous"
    SEVEN_BIT = "seven-bit"
    EAGER = "eager"
    DEAF = "deaf"
    PAIRS = "pairs"


PHASES = {
    Phase.GREETING: "When the client connects",
    Phase.EHLO: "At EHLO",
    Phase.STARTTLS: "At STARTTLS",
    Phase.HANDSHAKE: "In the TLS handshake",
    Phase.MAIL: "At MAIL",
    Phase.RCPT: "At RCPT",
    Phase.DATA: "At DATA",
    Phase.CONTENT: "While the message flows in",
    Phase.FINAL: "After the final dot",
    Phase.RSET: "At RSET (mail `bounce@` first: a refusal is what the client resets after)",
    Phase.IDLE: "When a message is done and the client keeps the connection",
}

KINDS = {
    Kind.SILENT: "says nothing and reads no more",
    Kind.DROP: "closes the connection",
    Kind.CUT: "closes the connection in the middle of its answer",
    Kind.CLOSING: "says 421 and closes the connection",
    Kind.GARBAGE: "says something that is not SMTP",
    Kind.WRONG: "answers 354 where 250 is due, and 250 where 354 is",
    Kind.DRIP: "answers one octet at a time, without end",
    Kind.LINES: "answers with lines without end",
    Kind.LINE: "answers with one line without end",
    Kind.TEMPORARY: "refuses for now",
    Kind.PERMANENT: "refuses for good",
}

ANSWERED = (Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL)
_SOME = {
    Phase.STARTTLS: (Kind.SILENT, Kind.DROP, Kind.CLOSING, Kind.GARBAGE, Kind.TEMPORARY, Kind.PERMANENT),
    Phase.HANDSHAKE: (Kind.SILENT, Kind.DROP, Kind.CUT, Kind.GARBAGE),
    Phase.CONTENT: (Kind.SILENT, Kind.DROP, Kind.CLOSING, Kind.PERMANENT),
    Phase.RSET: (Kind.SILENT, Kind.DROP, Kind.CLOSING, Kind.GARBAGE, Kind.PERMANENT),
    Phase.IDLE: (Kind.DROP, Kind.CLOSING, Kind.GARBAGE),
}


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """`does`: in words. `tls`: STARTTLS is offered, and the trouble begins once it is on (or with it)."""

    name: str
    does: str
    phase: Phase | None = None
    kind: Kind | None = None
    manner: Manner = Manner.USUAL
    tls: bool = False

    @property
    def domain(self) -> str:
        return f"{self.name}.{HARSH_DOMAIN}"

    @property
    def host(self) -> str:
        return f"mx.{self.domain}"

    @property
    def address(self) -> str:
        """One of loopback's: all of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3)."""
        return _ADDRESSES[self.name]


def _at(phase: Phase, kind: Kind) -> Misbehaviour:
    name, does = f"{phase}-{kind}", f"{PHASES[phase]}, {KINDS[kind]}."
    return Misbehaviour(name, does, phase, kind, tls=phase in {Phase.STARTTLS, Phase.HANDSHAKE})


_OWN = [
    Misbehaviour("tls-cut-ehlo", "Over TLS, closes the TCP connection (no close_notify) in the middle of its answer to EHLO.",
                 Phase.EHLO, Kind.CUT, tls=True),
    Misbehaviour("tls-cut-final", "Over TLS, closes the TCP connection (no close_notify) in the middle of its last answer.",
                 Phase.FINAL, Kind.CUT, tls=True),
    Misbehaviour("tls-silent-final", "Over TLS, says nothing after the final dot.", Phase.FINAL, Kind.SILENT, tls=True),
    Misbehaviour("mixed", "Does all right, so the local parts decide: bounce@ 550, defer@ 451, full@ 452, others are taken."),
    Misbehaviour("split", "Does all right, but sends each octet of its answers in a packet of its own.", manner=Manner.SPLIT),
    Misbehaviour("late", "Does all right, but answers pipelined commands late and all in one packet.", manner=Manner.LATE),
    Misbehaviour("synchronous", "Offers no PIPELINING, and hangs up on a client that does not wait for each answer.",
                 manner=Manner.SYNCHRONOUS),
    Misbehaviour("seven-bit", "Offers no 8BITMIME, and refuses 8-bit content after the final dot: 554 5.6.3.",
                 manner=Manner.SEVEN_BIT),
    Misbehaviour("eager", "Says that it has taken the message (250) together with 354, before any of it was sent.",
                 manner=Manner.EAGER),
    Misbehaviour("deaf", "Refuses every recipient, answers 354 to DATA all the same, and 250 to the final dot.",
                 manner=Manner.DEAF),
    Misbehaviour("pairs", "Takes two recipients in a transaction, and answers 452 4.5.3 to any further.", manner=Manner.PAIRS),
]  # fmt: skip

MISBEHAVIOURS = {
    one.name: one
    for one in [
        *(_at(phase, kind) for phase in ANSWERED for kind in KINDS),
        *(_at(phase, kind) for phase, kinds in _SOME.items() for kind in kinds),
        *_OWN,
    ]
}
_ADDRESSES = {name: f"127.0.1.{number}" for number, name in enumerate(MISBEHAVIOURS, 1)}


def misbehaviour_at(name: str) -> Misbehaviour | None:
    """Of a mail domain or of its exchanger's host, in lower case."""
    labels = name.removesuffix("." + HARSH_DOMAIN)
    return MISBEHAVIOURS.get(labels.removeprefix("mx.")) if labels != name else None


# RFC 3463: x.3.0 mail system, x.3.2 takes no messages, x.5.1 command, x.7.x policy.
_TEMPORARY = {Phase.STARTTLS: "454 4.7.0 TLS is not available now"}  # RFC 3207, 4
_PERMANENT = {
    Phase.GREETING: "554 5.3.2 No mail service here",
    Phase.EHLO: "502 5.5.1 EHLO is not known here",  # RFC 5321, 3.2: the client then says HELO
    Phase.STARTTLS: "502 5.5.1 STARTTLS is not known here",
    Phase.MAIL: "550 5.7.1 This sender is refused by policy",
    Phase.RCPT: "550 5.1.1 No such mailbox here",
    Phase.CONTENT: "552 5.3.4 The message is larger than the limit",
    Phase.FINAL: "554 5.7.1 The message looks like spam",
    Phase.RSET: "500 5.5.2 RSET is not known here",
}


def refusal(phase: Phase, kind: Kind) -> str:
    """The reply of the kinds 4xx, 5xx and 421."""
    if kind is Kind.CLOSING:
        return "421 4.3.2 Shutting down"
    if kind is Kind.TEMPORARY:
        return _TEMPORARY.get(phase, "451 4.3.0 Try again later")
    return _PERMANENT.get(phase, "554 5.3.0 Transaction failed")
