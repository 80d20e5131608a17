"""One envelope to one exchanger: sign, connect, hand over, and tell what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings

from domains.networks import is_ipv6
from relay.delivery.conversation import Conversation
from relay.delivery.groups import MESSAGES_PER_CONNECTION, Channel, Group
from relay.delivery.messages import Letter, Messages
from relay.delivery.outcome import (
    Attempt,
    CannotSign,
    Chances,
    Envelope,
    SenderGone,
    delivered,
    failed,
)
from relay.delivery.queue import Claimed, Outcome
from relay.delivery.replies import Reply, classify_reply, is_throttling
from relay.delivery.return_path import message_return_path, return_path
from relay.delivery.routes import Routes
from relay.delivery.routing import Hop, RoutingFailed
from relay.delivery.senders import LOSSES, Sender, Senders, Source, StandingUnknown
from relay.delivery.signing import Signer
from relay.delivery.tls import TlsPolicies, TlsPolicy
from relay.delivery.trace import Trace
from relay.delivery.transaction import Transaction
from relay.delivery.wire import ConversationFailed, Rejected, Timeouts

logger = logging.getLogger(__name__)

KNOWN_FAILURES = (RoutingFailed, Rejected, ConversationFailed, CannotSign, SenderGone)
# What a policy asked for in vain: others may do without. A handshake that fails is an error only where TLS is required.
POLICY_REASONS = frozenset({"tls_required", "tls_not_verified", "tls_failure", "dns_failure"})
ENVELOPE_PHASES = frozenset({"mail", "rcpt", "data"})  # a connection that breaks here broke not for the content's sake


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What makes connections alike."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Ears:
    """Whom the deliverer tells what."""

    settle: Callable[[Outcome], None]
    give_back: Callable[[list[Claimed]], None]  # not begun
    released: Callable[[Group, UUID, int], None]  # so many of an organization's recipients wait no longer
    suspended: Callable[[Group], None]
    is_ours: Callable[[Claimed], bool]  # its lease has not run out


class LeaseLost(Exception):
    """Somebody else may be at work on what is in hand: we stood still, or the database was away, for longer than a lease."""


class Deliverer:
    def __init__(
        self,
        routes: Routes,
        policies: TlsPolicies,
        senders: Senders,
        messages: Messages,
        ears: Ears,
        timeouts: Timeouts,
    ) -> None:
        self.policies, self.timeouts = policies, timeouts
        self.routes, self.senders, self.messages, self.ears = routes, senders, messages, ears
        self._farewells: set[asyncio.Task[None]] = set()

    def channel_key(self, claimed: Claimed) -> ChannelKey:
        sender = self.senders.get(claimed.domain_id)
        return ChannelKey(sender.sources if sender else ())

    async def deliver(self, envelope: Envelope, channel: Channel, kept: Conversation | None) -> Conversation | None:
        """Makes one attempt and settles it. Returns the connection when it is fit for the next."""
        if lapsed := [claimed for claimed in envelope.recipients if not self.ears.is_ours(claimed)]:
            # Somebody else may be at work on them.
            self.ears.give_back(lapsed)
            envelope.recipients = [claimed for claimed in envelope.recipients if claimed not in lapsed]
            if not envelope.recipients:
                return kept
        work = _Delivery(self, envelope, channel.group, kept)
        try:
            await work.run(channel)
        except asyncio.CancelledError:
            work.interrupted()
            raise
        except (StandingUnknown, LeaseLost):
            work.interrupted()  # what may not leave as far as we know waits for the database
        except Exception as error:
            if not isinstance(error, KNOWN_FAILURES):
                logger.exception("An attempt for message %s failed", envelope.message_id)
            work.failed(error)
        return work.usable_connection()

    def say_goodbye(self, conversation: Conversation) -> None:
        task = asyncio.create_task(conversation.quit())
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    def refuse(self, recipients: Iterable[Claimed], error: RoutingFailed) -> None:
        """There is no way to their destination."""
        for claimed in recipients:
            attempt = Attempt()
            attempt.trace.note(error.text)
            self.ears.settle(failed(attempt, claimed, error, chances()))


class _Delivery:
    """An envelope on its way."""

    def __init__(self, deliverer: Deliverer, envelope: Envelope, group: Group, kept: Conversation | None) -> None:
        self._deliverer, self._envelope, self._group = deliverer, envelope, group
        self._conversation = kept
        self._attempt = Attempt()
        self._transaction: Transaction | None = None

    async def run(self, channel: Channel) -> None:
        senders, domain_id = self._deliverer.senders, self._envelope.domain_id
        await senders.check(domain_id)
        sender = senders.get(domain_id)
        if sender is None:
            raise SenderGone("sender_gone", LOSSES["sender_gone"])
        self._attempt.never_twice = sender.never_twice
        if sender.signer is None:
            raise CannotSign("The sending domain has no DKIM key.")
        if wait := self._group.throttle.wait_s(time.monotonic()):
            with self._attempt.trace.phase("wait"):
                await asyncio.sleep(wait)
        self._address(sender.signer)
        await self._hand_over(sender, sender.signer)
        self._settle_results(channel)

    def _address(self, signer: Signer) -> None:
        self._attempt.dkim = signer.facts()
        recipients = self._envelope.recipients
        # One transaction has one return path: a recipient alone has its own, several have the message's.
        self._attempt.return_path = (
            return_path(recipients[0].id, signer.domain)
            if len(recipients) == 1
            else message_return_path(self._envelope.message_id, signer.domain)
        )
        addresses = [claimed.on_the_wire for claimed in recipients]
        smtputf8 = not all(address.isascii() for address in addresses)
        self._transaction = Transaction(self._attempt.return_path, addresses, smtputf8)
        self._transaction.may_leave = self._check

    async def _check(self) -> None:
        """Raises `SenderGone`, `StandingUnknown`, `LeaseLost`."""
        await self._deliverer.senders.check(self._envelope.domain_id)
        if not all(map(self._deliverer.ears.is_ours, self._envelope.recipients)):
            raise LeaseLost

    async def _hand_over(self, sender: Sender, signer: Signer) -> None:
        if self._conversation and not await self._fits(self._conversation, sender):
            self._deliverer.say_goodbye(self._conversation)
            self._conversation, self._attempt.trace = None, Trace()
        if self._conversation:
            if await self._hand_over_on_kept(self._conversation, signer):
                return
            self._conversation = None
        self._conversation = await self._connect(sender)
        await self._send(self._conversation, signer)

    async def _hand_over_on_kept(self, conversation: Conversation, signer: Signer) -> bool:
        """Whether it served. One that the exchanger ended meanwhile says nothing about this message."""
        assert self._transaction is not None
        try:
            await self._send(conversation, signer)
        except ConversationFailed as error:
            if error.phase != "mail" or error.reason != "connection_lost":
                raise
        else:
            first = self._transaction.results[0]
            if not (isinstance(first, Rejected) and first.phase == "mail" and first.reply.code == 421):
                return True
        self._attempt.trace.note("the kept connection had been closed")
        conversation.abort()
        self._transaction.begin_anew()
        return False

    async def _send(self, conversation: Conversation, signer: Signer) -> None:
        assert self._transaction is not None
        messages, first = self._deliverer.messages, self._envelope.recipients[0]
        self._attempt.hop = conversation.hop
        letter = await messages.open(first)
        try:
            await self._describe(conversation, letter, signer)
            await conversation.send(self._transaction, self._attempt.trace)
        finally:
            messages.close(first)

    async def _describe(self, conversation: Conversation, letter: Letter, signer: Signer) -> None:
        """The message in a form that the exchanger takes, as far as there is one: it may take the other all the same."""
        assert self._transaction is not None
        messages, transaction = self._deliverer.messages, self._transaction
        if conversation.takes_8bit or letter.is_ascii:
            transaction.octets, transaction.is_8bit = letter.wire_octets, not letter.is_ascii
            first = self._envelope.recipients[0]
            if first.stream:
                transaction.message = partial(messages.signed_for, letter, first, signer)
            else:
                transaction.message = partial(messages.signed, letter, signer)
            return
        converted = await messages.signed_in_seven_bit(self._envelope.recipients[0], signer)
        rest = "" if converted.isascii() else "; what cannot be converted is sent as it is"
        self._attempt.trace.note(f"8BITMIME is not offered: converted to 7 bits and signed in that form{rest}")
        transaction.octets, transaction.message = len(converted), partial(_ready, converted)

    async def _fits(self, conversation: Conversation, sender: Sender) -> bool:
        """Whether a kept connection may serve for this message too: its exchanger, and what its policy asks of TLS."""
        if conversation.hop.host not in self._envelope.route.exchangers or conversation.sent >= MESSAGES_PER_CONNECTION:
            return False
        policy = await self._policy(conversation.hop, sender)
        try:
            conversation.resume(policy, self._attempt.trace)
        except ConversationFailed:
            return False
        return True

    async def _policy(self, hop: Hop, sender: Sender) -> TlsPolicy:
        return await self._deliverer.policies.policy(self._envelope.route, hop, sender.outgoing_tls)

    async def _connect(self, sender: Sender) -> Conversation:
        """To the first exchanger that answers. Raises what the last one raised."""
        last: Exception | None = None
        for source in _one_of_each_family(sender.sources):
            try:
                return await self._connect_from(source, sender)
            except (ConversationFailed, Rejected) as error:
                last = error
            except RoutingFailed as error:
                if error.permanent:
                    raise
                last = last or error
        assert last is not None
        raise last

    async def _connect_from(self, source: Source, sender: Sender) -> Conversation:
        trace = self._attempt.trace
        hops = self._deliverer.routes.hops(self._envelope.route, source.address)
        last: Exception | None = None
        while True:
            with trace.phase("dns"):
                hop = await anext(hops, None)
            if hop is None:
                raise last or RoutingFailed("no_mail_for_domain", "There is no exchanger.", permanent=True)
            self._attempt.hop = hop
            try:
                with trace.phase("policy"):
                    policy = await self._policy(hop, sender)
                return await Conversation.open(
                    hop,
                    hostname=source.ehlo_name,
                    trace=trace,
                    policy=policy,
                    source_address=source.address,
                    timeouts=self._deliverer.timeouts,
                )
            except (ConversationFailed, Rejected) as error:
                last = error

    # ---- What came of it ---------------------------------------------------------------------------------------------

    def _settle_results(self, channel: Channel) -> None:
        """Each recipient has an answer."""
        assert self._transaction is not None
        self._group.throttle.succeeded(time.monotonic())
        results = list(zip(self._envelope.recipients, self._transaction.results, strict=True))
        some_taken = any(isinstance(result, Reply) for _, result in results)
        again = []
        for claimed, result in results:
            if some_taken and isinstance(result, Rejected) and result.reply.enhanced == "4.5.3":
                again.append(claimed)  # RFC 5321, 4.5.3.1.10: too many for one transaction
            else:
                assert result is not None
                self._settle(claimed, result)
        if again:
            self._group.expect(self._envelope.organization_id, len(again), weight=1)
            channel.add(again, self._envelope.route, weight=1)
        refusals = [result.reply for _, result in results if isinstance(result, Rejected)]
        if throttling := next((reply for reply in refusals if is_throttling(reply)), None):
            self._slow_down(throttling)

    def failed(self, error: Exception) -> None:
        """Those without an answer share the failure."""
        results = self._transaction.results if self._transaction else [None] * len(self._envelope.recipients)
        for claimed, result in zip(self._envelope.recipients, results, strict=True):
            self._settle(claimed, result or error)
        if isinstance(error, (CannotSign, SenderGone)):
            if isinstance(error, SenderGone) and self._transaction:
                self._close_connection()  # which waits for the rest of the message
            return
        was_open = self._close_connection()
        if isinstance(error, Rejected):
            self._slow_down(error.reply)
        elif _is_of_the_exchanger(error, was_open=was_open):
            assert isinstance(error, ConversationFailed)
            self._group.throttle.unreachable(time.monotonic(), error.reason, error.text)
            self._heed_suspension()

    def _settle(self, claimed: Claimed, result: Reply | Exception) -> None:
        if isinstance(result, Reply):
            self._deliverer.ears.settle(delivered(self._attempt, claimed, result))
        else:
            self._deliverer.ears.settle(failed(self._attempt, claimed, result, chances()))

    def _close_connection(self) -> bool:
        """Whether there was one."""
        conversation, self._conversation = self._conversation, None
        if conversation:
            conversation.abort()
        return conversation is not None

    def interrupted(self) -> None:
        """We are to stop in the middle. Before the final dot the exchanger has nothing; after it nobody knows."""
        if self._conversation and self._conversation.is_in_doubt:
            self.failed(ConversationFailed("outcome_unknown", "We had to stop after the final dot.", in_doubt=True))
            return
        self._close_connection()
        self._deliverer.ears.give_back(self._envelope.recipients)

    def usable_connection(self) -> Conversation | None:
        if self._conversation and not self._conversation.is_usable:
            self._conversation.abort()
            return None
        return self._conversation

    def _slow_down(self, reply: Reply) -> None:
        self._group.throttle.slow_down(time.monotonic(), classify_reply(reply), str(reply))
        self._heed_suspension()

    def _heed_suspension(self) -> None:
        if self._group.throttle.is_suspended(time.monotonic()):
            self._group.await_for(self._envelope.destination)
            self._deliverer.ears.suspended(self._group)


async def _ready(message: bytes) -> bytes:
    return message


def _is_of_the_exchanger(error: Exception, *, was_open: bool) -> bool:
    """Whether it tells that the exchanger cannot be used, rather than that this message may not go there."""
    if not isinstance(error, ConversationFailed) or error.is_ours or error.reason in POLICY_REASONS:
        return False
    return not was_open or error.phase in ENVELOPE_PHASES


def _one_of_each_family(sources: tuple[Source, ...]) -> list[Source]:
    """By chance and in any order. Exchangers that have IPv4 only cannot be reached from an IPv6 address, and vice versa."""
    if not sources:
        return [Source(None, settings.HOSTNAME)]
    drawn = random.sample(sources, len(sources))
    return list({is_ipv6(one.address): one for one in drawn if one.address}.values())


def chances() -> Chances:
    return Chances(random.random, settings.RETRY_SCALE)
