"""A mail transaction (RFC 5321, 3.3): one message for some recipients at one exchanger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from relay.delivery.replies import Reply
from relay.delivery.trace import Trace
from relay.delivery.wire import ConversationFailed, Rejected, Timeouts, Wire

BLOCK_OCTETS = 64 * 1024  # of a message, written at once


async def _nothing() -> bytes:
    return b""


async def _it_may() -> None:
    pass


@dataclass(slots=True)
class Transaction:
    """What is to be handed over, and what became of it: `results` is filled in as the replies come.

    A `Reply` says that the recipient's mail was taken, a `Rejected` that it was not; None is left where the conversation
    broke before there was an answer.
    """

    sender: str
    recipients: list[str]
    smtputf8: bool
    octets: int = 0  # of the message, or not much more (RFC 1870, 5)
    is_8bit: bool = False
    message: Callable[[], Awaitable[bytes]] = _nothing  # made while the exchanger thinks about the envelope
    may_leave: Callable[[], Awaitable[None]] = _it_may  # raises, before the final dot, if it must not any more
    results: list[Reply | Rejected | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        self.results = [None] * len(self.recipients)

    def answer_all(self, answer: Reply | Rejected) -> None:
        """All that have no answer yet."""
        self.results = [answer if result is None else result for result in self.results]

    @property
    def is_answered(self) -> bool:
        return None not in self.results


@dataclass(slots=True)
class Handover:
    """A transaction on a connection. `is_dismissed`: a 421 has ended the connection. `is_in_doubt`: the final dot is on its
    way and its reply is not here. `is_clean`: nothing of the transaction is left to be reset."""

    wire: Wire
    extensions: dict[str, str]
    timeouts: Timeouts
    transaction: Transaction
    trace: Trace
    is_dismissed: bool = False
    is_in_doubt: bool = False
    is_clean: bool = False
    message: bytes = b""

    async def run(self, *, resets: bool) -> None:
        """`resets`: what an earlier transaction left behind. Raises `ConversationFailed`."""
        if self.transaction.smtputf8 and "SMTPUTF8" not in self.extensions:
            reply = Reply(553, "5.6.7", "The exchanger does not offer SMTPUTF8 (RFC 6531)")
            self.transaction.answer_all(Rejected(reply, "mail"))
            self.is_clean = not resets
            return
        if "PIPELINING" in self.extensions:
            await self._envelope_at_once(resets)
        else:
            await self._envelope_step_by_step(resets)
        if not self.transaction.is_answered:
            with self.trace.phase("data"):
                await self._content()

    # ---- Envelope ----------------------------------------------------------------------------------------------------

    async def _envelope_at_once(self, resets: bool) -> None:
        """RFC 2920, 3.1: up to DATA in one packet."""
        wire, trace, transaction = self.wire, self.trace, self.transaction
        commands = [("RSET", "")] if resets else []
        commands.append((self._mail(), ""))
        commands += [(f"RCPT TO:<{recipient}>", recipient) for recipient in transaction.recipients]
        wire.commands([*commands, ("DATA", "")], trace)
        self.message = await transaction.message()
        with trace.phase("mail"):
            if resets:
                await self._reset()
            self._heed_mail(await wire.reply(trace, self.timeouts.mail, "mail"))
        with trace.phase("rcpt"):
            for number, recipient in enumerate(transaction.recipients):
                if self.is_dismissed:  # RFC 5321, 3.8: it closes the connection, and no other reply follows
                    return
                self._heed_rcpt(number, await wire.reply(trace, self.timeouts.rcpt, "rcpt", recipient))
        if self.is_dismissed:
            return
        with trace.phase("data"):
            data = await wire.reply(trace, self.timeouts.data, "data")
            if data.code == 354 and transaction.is_answered:
                # RFC 2920, 3.1: it waits for a content that nobody is to get.
                trace.client(".")
                await wire.write(b".\r\n", self.timeouts.block, trace)
                await wire.reply(trace, self.timeouts.final, "data")
            else:
                self._heed_data(data)

    async def _envelope_step_by_step(self, resets: bool) -> None:
        wire, trace, transaction = self.wire, self.trace, self.transaction
        with trace.phase("mail"):
            if resets:
                wire.command("RSET", trace)
                await self._reset()
            wire.command(self._mail(), trace)
            self.message = await transaction.message()
            self._heed_mail(await wire.reply(trace, self.timeouts.mail, "mail"))
        with trace.phase("rcpt"):
            for number, recipient in enumerate(transaction.recipients):
                if transaction.is_answered:
                    return
                wire.commands([(f"RCPT TO:<{recipient}>", recipient)], trace)
                self._heed_rcpt(number, await wire.reply(trace, self.timeouts.rcpt, "rcpt", recipient))
        if not transaction.is_answered:
            with trace.phase("data"):
                wire.command("DATA", trace)
                self._heed_data(await wire.reply(trace, self.timeouts.data, "data"))

    def _mail(self) -> str:
        parameters = ""
        if "SIZE" in self.extensions:
            parameters += f" SIZE={self.transaction.octets}"
        if "8BITMIME" in self.extensions and self.transaction.is_8bit:
            parameters += " BODY=8BITMIME"
        if self.transaction.smtputf8:
            parameters += " SMTPUTF8"
        return f"MAIL FROM:<{self.transaction.sender}>{parameters}"

    async def _reset(self) -> None:
        try:
            reply = await self.wire.reply(self.trace, self.timeouts.reset)
        except ConversationFailed as failed:
            raise ConversationFailed("connection_lost", failed.text, phase="mail") from None
        if reply.code // 100 != 2:
            # Something of the transaction before may be left: this one belongs on another connection.
            raise ConversationFailed("connection_lost", f"{self.wire.host} refused RSET: {reply}", phase="mail")

    def _heed_mail(self, reply: Reply) -> None:
        if rejected := self._refusal(reply, "mail"):
            self.transaction.answer_all(rejected)

    def _heed_rcpt(self, number: int, reply: Reply) -> None:
        if self.transaction.results[number] is not None:  # MAIL was refused already
            return
        if rejected := self._refusal(reply, "rcpt"):
            self.transaction.results[number] = rejected
            if self.is_dismissed:
                self.transaction.answer_all(rejected)

    def _heed_data(self, reply: Reply) -> None:
        if self.transaction.is_answered and reply.code >= 400:
            return
        if rejected := self._refusal(reply, "data", first_digit=3):
            self.transaction.answer_all(rejected)

    def _refusal(self, reply: Reply, phase: str, first_digit: int = 2) -> Rejected | None:
        try:
            self.wire.expect(reply, phase, first_digit)
        except Rejected as rejected:
            self.is_dismissed = self.is_dismissed or reply.code == 421
            return rejected
        return None

    # ---- Content -----------------------------------------------------------------------------------------------------

    async def _content(self) -> None:
        stuffed, self.message = self.message, b""
        if stuffed.rfind(b"\r\n.") >= 0:  # searched backwards for speed: most have none
            stuffed = stuffed.replace(b"\r\n.", b"\r\n..")  # RFC 5321, 4.5.2
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        ending = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        last_block = max(0, len(stuffed) - 1) // BLOCK_OCTETS * BLOCK_OCTETS
        self.trace.client(f"({len(stuffed)} octets)")
        if not await self._all_but_the_last_block(stuffed, last_block):
            return
        await self.transaction.may_leave()
        self.trace.client(".")
        self.is_in_doubt = True
        try:
            # With the dot in one write: a small last segment would wait for an ACK.
            await self.wire.write(stuffed[last_block:] + ending, self.timeouts.block, self.trace)
            reply = await self.wire.reply(self.trace, self.timeouts.final)
            answer = self._refusal(reply, "final") or reply
        except ConversationFailed as failed:
            # RFC 5321, 4.5.3.2.6 and 6.1: the receiver may or may not have taken it.
            raise ConversationFailed("outcome_unknown", f"After the final dot: {failed.text}", in_doubt=True) from None
        self.is_in_doubt, self.is_clean = False, True
        self.transaction.answer_all(answer)

    async def _all_but_the_last_block(self, stuffed: bytes, last_block: int) -> bool:
        """Whether the exchanger waits for more. Raises without doubt: the final dot is yet to come.

        An exchanger may give up before it has heard all (RFC 5321, 3.8), and what it says then is the reason, even when it
        has closed the connection since.
        """
        wire, trace = self.wire, self.trace
        lost: ConversationFailed | None = None
        try:
            for at in range(0, last_block, BLOCK_OCTETS):
                if wire.has_spoken:
                    break
                await wire.write(stuffed[at : at + BLOCK_OCTETS], self.timeouts.block, trace)
        except ConversationFailed as failed:
            lost = failed
        if wire.has_spoken:
            if lost:
                wire.keep_what_was_said()
            trace.note("the exchanger spoke before the message's end")
            reply = await wire.reply(trace, self.timeouts.command)
            if reply.code < 400:
                raise ConversationFailed("protocol_error", f"{wire.host} answered out of turn: {reply}")
            self.is_dismissed = True
            self.transaction.answer_all(Rejected(reply, "data"))
            return False
        if lost:
            raise lost
        return True
