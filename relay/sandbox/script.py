"""What the sandbox's exchanger answers: the local part of the recipient's address scripts it. No I/O.

`bounce@anything.test` and `bounce+anything@…` are the same.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

SentBack = Literal["bounce", "odd_bounce", "full", "delay", "complaint", "vacation"]


@dataclass(frozen=True, slots=True)
class Script:
    """`refusal`: the reply to RCPT, only the first time when `once`. `delay_s`: before the reply to the final dot.
    `drops`: the connection ends after the final dot without a reply, and the mail is not kept: nobody said that it was
    taken, so the sender must try again (RFC 5321, 4.1.1.4), and does so to the same end. `sends_back`: what is mailed back some
    seconds after it was taken (`relay.sandbox.returns`)."""

    refusal: str = ""
    once: bool = False
    delay_s: float = 0
    drops: bool = False
    sends_back: SentBack | None = None


ACCEPTS = Script()
SCRIPTS = {
    # RFC 3463: x.1.1 bad mailbox, x.2.2 mailbox full, x.3.0 mail system, x.7.1 policy.
    "bounce": Script(refusal="550 5.1.1 No such mailbox here"),
    "defer": Script(refusal="451 4.3.0 Try again later"),
    "greylist": Script(refusal="451 4.7.1 Greylisted, try again", once=True),  # RFC 6647
    "full": Script(refusal="452 4.2.2 Mailbox full"),
    "slow": Script(delay_s=5),
    "drop": Script(drops=True),
    "latebounce": Script(sends_back="bounce"),
    "odd-bounce": Script(sends_back="odd_bounce"),
    "latefull": Script(sends_back="full"),
    "delay": Script(sends_back="delay"),
    "complain": Script(sends_back="complaint"),
    "vacation": Script(sends_back="vacation"),
}


def script_for(address: str) -> Script:
    local_part = address.rpartition("@")[0].strip('"').lower()
    return SCRIPTS.get(local_part.partition("+")[0], ACCEPTS)


class Greylist:
    """Who was sent away once. The next try of the same envelope sender for the same recipient passes and is forgotten,
    so that the next message is sent away once again. PlugSend's return paths differ from message to message."""

    MOST = 10_000

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def passes(self, sender: str, recipient: str) -> bool:
        key = (sender.lower(), recipient.lower())
        if key in self._seen:
            del self._seen[key]
            return True
        self._seen[key] = None
        if len(self._seen) > self.MOST:
            self._seen.popitem(last=False)
        return False
