"""What is said to an exchanger, and what is not, as the policy has it: real handshakes, on asyncio's loop and on uvloop's."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pytest_django.fixtures import Settings

from relay.delivery.conversation import Conversation
from relay.delivery.dane import Tlsa
from relay.delivery.mta_sts import Mode
from relay.delivery.routing import Hop, Router, RoutingFailed
from relay.delivery.tls import OPPORTUNISTIC, Refusal, Source, TlsPolicies, TlsPolicy, Verification
from relay.delivery.trace import Trace
from relay.delivery.wire import ConversationFailed, Rejected
from tests.dns_zone import Zone
from tests.pki import Signed, authority, leaf
from tests.policies import sts_policy, tlsa
from tests.tls_peer import TlsPeer

HOST = "mx.peer.test"
ENCRYPTED = TlsPolicy(Source.ORGANIZATION, required=True)
VERIFIED = TlsPolicy(Source.ORGANIZATION, required=True, verification=Verification.PKIX)
STS = TlsPolicy(Source.MTA_STS, required=True, verification=Verification.PKIX)

ROOT = authority()
GOOD = leaf(authority("Intermediate", ROOT), HOST)
SELF_SIGNED = leaf(None, HOST)
OTHER_NAME = leaf(ROOT, "mx.other.test")


@pytest.fixture(autouse=True)
def trusting_our_root(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_bytes(ROOT.pem)
    settings.TLS_CA_FILE = str(file)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    made: Callable[[], asyncio.AbstractEventLoop] = request.param
    return made


class Opened:
    """What came of opening a conversation."""

    def __init__(self, conversation: Conversation | None, trace: Trace, error: Exception | None) -> None:
        self.conversation, self.trace, self.error = conversation, trace, error

    @property
    def reason(self) -> str:
        return getattr(self.error, "reason", "")


def opened(
    peer: TlsPeer,
    policy: TlsPolicy = OPPORTUNISTIC,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    *,
    host: str = HOST,
    source_address: str | None = None,
    is_smarthost: bool = False,
    then: Callable[[Conversation, Trace], Coroutine[Any, Any, None]] | None = None,
) -> Opened:
    async def main() -> Opened:
        trace = Trace()
        hop = Hop(host, "127.0.0.1", peer.port, is_smarthost=is_smarthost)
        try:
            conversation = await Conversation.open(
                hop, hostname="out.plugsend.test", trace=trace, policy=policy, source_address=source_address
            )
        except (ConversationFailed, Rejected, RoutingFailed) as error:
            return Opened(None, trace, error)
        if then:
            await then(conversation, trace)
        await conversation.quit()
        return Opened(conversation, trace, None)

    with peer.running(), asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


def peer_with(signed: Signed, tmp_path: Path, **how: Any) -> TlsPeer:
    return TlsPeer(signed.server_context(tmp_path), **how)


@pytest.mark.parametrize(
    ("signed", "verdict"), [(GOOD, "verified"), (SELF_SIGNED, "self_signed"), (OTHER_NAME, "name_mismatch")]
)
def test_every_encrypted_connection_has_a_verdict_on_its_certificate(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop], signed: Signed, verdict: str
) -> None:
    peer = peer_with(signed, tmp_path).heed_sni()
    result = opened(peer, new_loop=new_loop)
    assert result.conversation is not None
    assert result.trace.tls == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "verdict": verdict,
        "policy": "opportunistic",
    }
    assert peer.said == [
        ["EHLO out.plugsend.test", "STARTTLS", f"(encrypted for {HOST})", "EHLO out.plugsend.test", "QUIT"]
    ]
    assert "policy: opportunistic" in result.trace.transcript


@pytest.mark.parametrize("policy", [VERIFIED, STS])
@pytest.mark.parametrize("signed", [SELF_SIGNED, OTHER_NAME, leaf(authority("Unknown"), HOST)])
def test_where_verification_is_asked_for_nothing_is_said_to_an_exchanger_that_fails_it(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop], policy: TlsPolicy, signed: Signed
) -> None:
    peer = peer_with(signed, tmp_path)
    result = opened(peer, policy, new_loop)
    assert result.reason == "tls_not_verified"
    assert len(peer.said) == 1
    assert peer.said[0][:2] == ["EHLO out.plugsend.test", "STARTTLS"]
    assert peer.said[0][3:] == []
    assert result.trace.tls is not None
    assert result.trace.tls["policy"] == policy.source
    assert result.trace.tls["verdict"] in {"self_signed", "name_mismatch", "untrusted"}
    assert "refused by policy" in result.trace.transcript


def test_a_verified_exchanger_is_spoken_to(tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    result = opened(peer_with(GOOD, tmp_path), STS, new_loop)
    assert result.conversation is not None
    assert result.trace.tls is not None
    assert (result.trace.tls["verdict"], result.trace.tls["policy"]) == ("verified", "mta-sts")


def test_an_expired_certificate_is_seen_as_such(tmp_path: Path) -> None:
    result = opened(peer_with(leaf(ROOT, HOST, starts=-9, ends=-1), tmp_path), VERIFIED)
    assert result.reason == "tls_not_verified"
    assert result.trace.tls is not None
    assert result.trace.tls["verdict"] == "expired"


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (tlsa(3, 1, 1, SELF_SIGNED), "dane_verified"),
        (tlsa(3, 0, 2, SELF_SIGNED), "dane_verified"),
        (tlsa(3, 1, 1, GOOD), "dane_mismatch"),
    ],
)
def test_dane_rules_over_names_and_authorities(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop], record: Tlsa, verdict: str
) -> None:
    base = "canonical.peer.test"
    policy = TlsPolicy(Source.DANE, True, Verification.DANE, (record,), (base, HOST, "peer.test"))
    peer = peer_with(SELF_SIGNED, tmp_path).heed_sni()
    result = opened(peer, policy, new_loop)
    assert result.trace.tls is not None
    assert result.trace.tls["verdict"] == verdict
    assert result.reason == ("" if verdict == "dane_verified" else "tls_not_verified")
    if verdict == "dane_verified":  # else we have hung up, perhaps before the peer has seen the end of the handshake
        assert peer.said[0][2] == f"(encrypted for {base})"  # RFC 7672, 8.1


@pytest.mark.parametrize("policy", [ENCRYPTED, VERIFIED, STS])
def test_where_encryption_is_required_nothing_goes_out_without(policy: TlsPolicy) -> None:
    peer = TlsPeer()
    assert opened(peer, policy).reason == "tls_required"
    assert peer.said == [["EHLO out.plugsend.test"]]


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"502 5.5.1 never\r\n"])
def test_a_refused_starttls_goes_on_in_clear_text_or_not_at_all(tmp_path: Path, reply: bytes) -> None:
    result = opened(peer_with(GOOD, tmp_path, starttls_reply=reply))
    assert result.conversation is not None
    assert result.trace.tls is None
    assert opened(peer_with(GOOD, tmp_path, starttls_reply=reply), ENCRYPTED).reason == "tls_required"


def test_an_exchanger_that_shuts_down_at_starttls_is_taken_at_its_word(tmp_path: Path) -> None:
    result = opened(peer_with(GOOD, tmp_path, starttls_reply=b"421 4.3.2 shutting down\r\n"))
    assert isinstance(result.error, Rejected)


def _garbage(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"this is no handshake at all\r\n")


def _hang_up(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize("spoil", [_garbage, _hang_up])
def test_a_broken_handshake_falls_back_to_clear_text_where_nobody_asked_for_more(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop], spoil: Callable[[socket.socket], None]
) -> None:
    peer = peer_with(GOOD, tmp_path, spoil=spoil)
    result = opened(peer, new_loop=new_loop)
    assert result.conversation is not None
    assert result.trace.tls is None
    assert peer.said == [["EHLO out.plugsend.test", "STARTTLS"], ["EHLO out.plugsend.test", "QUIT"]]
    assert "again, without encryption" in result.trace.transcript
    strict = peer_with(GOOD, tmp_path, spoil=spoil)
    assert opened(strict, ENCRYPTED, new_loop).reason == "tls_failure"
    assert len(strict.said) == 1


def test_old_tls_is_better_than_none_but_not_where_more_is_asked_for(tmp_path: Path) -> None:
    old = GOOD.server_context(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    result = opened(TlsPeer(old))
    assert result.conversation is not None
    assert result.trace.tls is not None
    assert result.trace.tls["version"] == "TLSv1.1"
    assert opened(TlsPeer(old), ENCRYPTED).reason == "tls_failure"


@pytest.mark.parametrize(
    ("policy", "signed", "noted"),
    [
        (TlsPolicy(Source.MTA_STS_TESTING, testing=sts_policy(Mode.TESTING, HOST)), GOOD, ""),
        (TlsPolicy(Source.MTA_STS_TESTING, testing=sts_policy(Mode.TESTING, HOST)), SELF_SIGNED, "self-signed"),
        (TlsPolicy(Source.MTA_STS_TESTING, testing=sts_policy(Mode.TESTING, "no.test")), GOOD, "not among"),
        (TlsPolicy(Source.MTA_STS_TESTING, testing=sts_policy(Mode.TESTING, HOST)), None, "no encryption"),
    ],
)
def test_a_policy_under_test_is_noted_and_hinders_nothing(
    tmp_path: Path, policy: TlsPolicy, signed: Signed | None, noted: str
) -> None:
    result = opened(peer_with(signed, tmp_path) if signed else TlsPeer(), policy)
    assert result.conversation is not None
    assert ("would have failed" in result.trace.transcript) is bool(noted)
    assert noted in result.trace.transcript


def test_a_kept_connection_is_checked_against_the_next_messages_policy(tmp_path: Path) -> None:
    seen: list[str] = []

    async def then(conversation: Conversation, trace: Trace) -> None:
        tls = conversation.check(ENCRYPTED, trace)
        assert tls is not None
        seen.append(tls["policy"])
        with pytest.raises(ConversationFailed) as failed:
            conversation.check(VERIFIED, trace)
        seen.append(failed.value.reason)

    opened(peer_with(SELF_SIGNED, tmp_path), then=then)
    assert seen == ["organization", "tls_not_verified"]

    async def in_clear(conversation: Conversation, trace: Trace) -> None:
        assert conversation.check(OPPORTUNISTIC, trace) is None
        with pytest.raises(ConversationFailed) as failed:
            conversation.check(ENCRYPTED, trace)
        seen.append(failed.value.reason)

    opened(TlsPeer(), then=in_clear)
    assert seen[-1] == "tls_required"


def test_a_policy_that_refuses_the_exchanger_keeps_us_from_connecting() -> None:
    peer = TlsPeer()
    policy = TlsPolicy(Source.MTA_STS, True, Verification.PKIX, refusal=Refusal("tls_not_verified", "not listed"))
    result = opened(peer, policy)
    assert (result.reason, peer.said) == ("tls_not_verified", [])
    assert "not listed" in result.trace.transcript


@pytest.mark.parametrize("how", [{"greeting": "OUT.plugsend.test"}, {"name": "out.plugsend.test"}])
def test_an_exchanger_with_our_own_name_is_a_loop(how: dict[str, str]) -> None:
    result = opened(TlsPeer(**how))  # type: ignore[arg-type]
    assert isinstance(result.error, RoutingFailed)
    assert (result.error.reason, result.error.permanent) == ("loops_to_us", True)
    assert opened(TlsPeer(**how), is_smarthost=True).conversation is not None  # type: ignore[arg-type]


def test_the_source_address_is_the_one_asked_for(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    peer = TlsPeer()
    assert opened(peer, new_loop=new_loop, source_address="127.0.0.7").conversation is not None
    assert peer.sources == ["127.0.0.7"]
    assert opened(TlsPeer(), source_address="::1").reason == "unreachable"
    assert opened(TlsPeer(), source_address="198.41.0.4").reason == "unreachable"  # not this machine's


@pytest.mark.parametrize(
    ("signed", "record", "reason"),
    [(SELF_SIGNED, tlsa(3, 1, 1, SELF_SIGNED), ""), (SELF_SIGNED, tlsa(2, 1, 1, ROOT), "tls_not_verified")],
)
def test_from_signed_dns_to_the_handshake(
    tmp_path: Path,
    settings: Settings,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    signed: Signed,
    record: Tlsa,
    reason: str,
) -> None:
    settings.DNS_VALIDATES = True
    settings.RELAY_SMARTHOST = ""

    async def main(peer: TlsPeer) -> str:
        rows = {
            "peer.test MX": [f"10 {HOST}."],
            f"{HOST} A": ["127.0.0.1"],
            f"_{peer.port}._tcp.{HOST} TLSA": [f"{record.usage} 1 1 {record.data.hex()}"],
        }
        async with Zone({**rows}, {"test"}) as zone:
            router = Router(zone.resolver())
            policies = TlsPolicies(router)
            route = await router.route("peer.test")
            hop = await anext(router.hops(route))
            policy = await policies.policy(route, hop, "opportunistic")
            trace = Trace()
            try:
                conversation = await Conversation.open(hop, hostname="out.test", trace=trace, policy=policy)
            except ConversationFailed as failed:
                return failed.reason
            await conversation.quit()
            assert trace.tls is not None
            assert (trace.tls["verdict"], trace.tls["policy"]) == ("dane_verified", "dane")
            return ""

    with peer_with(signed, tmp_path).running() as peer, asyncio.Runner(loop_factory=new_loop) as runner:
        settings.EXCHANGER_PORT = peer.port
        assert runner.run(main(peer)) == reason
