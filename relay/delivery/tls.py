"""What rules the encryption of a conversation with an exchanger: the organization's wish, MTA-STS, DANE.

policy = await TlsPolicies(router, …).policy(route, hop, organization.outgoing_tls)
conversation = await Conversation.open(hop, …, policy=policy)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from accounts.models import OutgoingTls
from relay.delivery.dane import Dane, DaneState, Tlsa, look_up, matches_chain
from relay.delivery.mta_sts import Mode, StsPolicy
from relay.delivery.mta_sts_policies import Connect, StsPolicies
from relay.delivery.routing import Hop, Route, Router
from relay.delivery.verdict import IN_WORDS, Chain, Verdict, judge


class Source(StrEnum):
    """Who asks for what is asked for."""

    OPPORTUNISTIC = "opportunistic"  # nobody: RFC 7435, encrypted where the exchanger offers it
    ORGANIZATION = "organization"
    MTA_STS = "mta-sts"
    MTA_STS_TESTING = "mta-sts-testing"
    DANE = "dane"


class Verification(StrEnum):
    NONE = "none"
    PKIX = "pkix"  # an authority of the web, and the exchanger's name
    DANE = "dane"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing is said to this exchanger at all. `reason`: of `events.reasons`."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What rules one exchanger's conversation."""

    source: Source = Source.OPPORTUNISTIC
    required: bool = False
    verification: Verification = Verification.NONE
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()  # that a certificate vouched for by DANE-TA may have
    refusal: Refusal | None = None
    testing: StsPolicy | None = None  # asks for nothing; where it would have failed, that is noted


OPPORTUNISTIC = TlsPolicy()


def rule(wish: str, sts: StsPolicy | None, dane: Dane, hop: Hop, destination: str) -> TlsPolicy:
    """The policy for one exchanger; `wish` is of `accounts.models.OutgoingTls`.

    DANE comes first (RFC 8461, 2: MTA-STS must not override it), then an enforced MTA-STS policy, then the wish.
    """
    if dane.state == DaneState.FAILED:
        # RFC 7672, 2.1.2: else who suppresses the answer would switch DANE off.
        return TlsPolicy(Source.DANE, required=True, refusal=Refusal("dns_failure", dane.error))
    if dane.state == DaneState.USABLE:
        # RFC 7672, 3.2.2: the exchanger's names and the destination's.
        names = tuple(dict.fromkeys((dane.base, hop.host, destination)))
        return TlsPolicy(Source.DANE, True, Verification.DANE, dane.records, names)
    if sts and sts.mode == Mode.ENFORCE:
        refusal = None if sts.covers(hop.host) else Refusal("tls_not_verified", _not_listed(hop, sts))
        return TlsPolicy(Source.MTA_STS, True, Verification.PKIX, refusal=refusal)
    testing = sts if sts and sts.mode == Mode.TESTING else None
    if wish == OutgoingTls.VERIFIED:
        return TlsPolicy(Source.ORGANIZATION, True, Verification.PKIX, testing=testing)
    if dane.state == DaneState.UNUSABLE:
        return TlsPolicy(Source.DANE, required=True, testing=testing)  # RFC 7672, 2.2: encrypted, not authenticated
    if wish == OutgoingTls.ENCRYPTED:
        return TlsPolicy(Source.ORGANIZATION, required=True, testing=testing)
    return TlsPolicy(Source.MTA_STS_TESTING if testing else Source.OPPORTUNISTIC, testing=testing)


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a connection stands to a policy. `note`: where a policy under test would have failed."""

    verdict: Verdict | None  # None: not encrypted
    refusal: Refusal | None = None
    note: str = ""


def assess(policy: TlsPolicy, hop: Hop, chain: Chain | None) -> Assessment:
    """`chain`: what the exchanger sent in the handshake; None: the connection is not encrypted."""
    if chain is None:
        refusal = (
            Refusal("tls_required", f"{hop.host} ({hop.address}) offers no encryption.") if policy.required else None
        )
        return Assessment(None, refusal, _tested(policy, hop, None))
    if policy.verification == Verification.DANE:
        matched = matches_chain(chain, policy.tlsa, policy.names)
        verdict = Verdict.DANE_VERIFIED if matched else Verdict.DANE_MISMATCH
    else:
        verdict = judge(chain, hop.host)
    refusal = None
    if policy.verification != Verification.NONE and verdict not in (Verdict.VERIFIED, Verdict.DANE_VERIFIED):
        refusal = Refusal("tls_not_verified", f"{hop.host} ({hop.address}): {IN_WORDS[verdict]}.")
    return Assessment(verdict, refusal, _tested(policy, hop, verdict))


def _tested(policy: TlsPolicy, hop: Hop, verdict: Verdict | None) -> str:
    """RFC 8461, 5: in testing mode a failure changes nothing."""
    sts = policy.testing
    if sts is None:
        return ""
    if not sts.covers(hop.host):
        failure = _not_listed(hop, sts)
    elif verdict is None:
        failure = "no encryption"
    elif verdict != Verdict.VERIFIED:
        failure = IN_WORDS[verdict]
    else:
        return ""
    return f"MTA-STS policy of {sts.domain} (testing) would have failed: {failure}"


def _not_listed(hop: Hop, sts: StsPolicy) -> str:
    return f"{hop.host} is not among the exchangers of the MTA-STS policy of {sts.domain} ({', '.join(sts.mx)})."


class TlsPolicies:
    """Finds the policy for a hop. For one event loop."""

    def __init__(self, router: Router, connect: Connect | None = None, sts: StsPolicies | None = None) -> None:
        """`connect` gives a database connection, such as a pool's `connection`, to keep MTA-STS policies by."""
        self._resolver = router.resolver
        self._sts = sts or StsPolicies(router.resolver, connect)

    async def policy(self, route: Route, hop: Hop, wish: str) -> TlsPolicy:
        """Cheap where it was asked lately: answers are kept."""
        if hop.is_smarthost:  # what the destination publishes is for its own exchangers
            return rule(wish, None, Dane(), hop, route.destination)
        sts, dane = await asyncio.gather(self._sts.policy_for(route.destination), look_up(self._resolver, hop))
        return rule(wish, sts, dane, hop, route.destination)

    async def close(self) -> None:
        await self._sts.close()
